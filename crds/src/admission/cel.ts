import { GROUP } from "../group.ts";
import { celString } from "../text.ts";
import { type NamedExpression, type Release, operatorUser } from "./policy.ts";

// Pieces of CEL that several policies share. Each is an expression as text; `…Cel` parameters are expressions too, not values.

/** The caller is the release's operator. */
export function isOperator(release: Release): string {
  return `request.userInfo.username == ${celString(operatorUser(release))}`;
}

/** The policy is about everybody but the operator. */
export function notTheOperator(release: Release): NamedExpression {
  return { name: "not-the-operator", expression: `!(${isOperator(release)})` };
}

/** The caller may do `verb` to one object of the request's namespace; `nameCel` undefined means to every one. */
export function mayCaller(verb: string, { group, resource }: { readonly group: string; readonly resource: string }, nameCel?: string): string {
  const name = nameCel === undefined ? "" : `.name(${nameCel})`;
  return `authorizer.group(${celString(group)}).resource(${celString(resource)}).namespace(request.namespace)${name}.check(${celString(verb)}).allowed()`;
}

/** What to ask for, as the end of a message: the right, and the command that shows whether one has it. */
export function askFor(verb: string, resource: string, nameCel?: string): string {
  if (nameCel === undefined) return `'ask for ${verb} on ${resource} in namespace ' + request.namespace + ' (kubectl auth can-i ${verb} ${resource} -n ' + request.namespace + ')'`;
  return `'ask for ${verb} on ${resource} ' + ${nameCel} + ' in namespace ' + request.namespace + ' (kubectl auth can-i ${verb} ${resource}/' + ${nameCel} + ' -n ' + request.namespace + ')'`;
}

/** A reference to another object, which its author must be allowed to `verb`: one authorizer check, for the API server bounds what one expression may cost. */
export interface Reference {
  /** Path of the field, for people. */
  readonly field: string;
  /** CEL that is true where the field is there. */
  readonly isThere: string;
  /** CEL for the name in it. */
  readonly name: string;
}

interface Target {
  readonly group: string;
  readonly resource: string;
  /** Singular, as people and kubectl write it. */
  readonly kind: string;
  readonly verb: string;
}

export const SECRET: Target = { group: "", resource: "secrets", kind: "secret", verb: "get" };
export const CONFIG_MAP: Target = { group: "", resource: "configmaps", kind: "configmap", verb: "get" };
export const ENVIRONMENT: Target = { group: GROUP, resource: "environments", kind: "environments.paddock.dev", verb: "use" };

/** The check of one reference. */
export function checkReference({ field, isThere, name }: Reference, { verb, kind, ...target }: Target) {
  const allowed = mayCaller(verb, target, name);
  return {
    expression: isThere === "true" ? allowed : `!(${isThere}) || ${allowed}`,
    message: `${field} names an object that you may not ${verb}: ask for ${verb} on the ${kind} that it names`,
    tell: `'${field} names ' + ${name} + ', which you may not ${verb}: ' + ${askFor(verb, kind, name)} + ', or name another one'`,
  };
}

/** The request makes the object or changes its spec. */
export const SPEC_CHANGES = "(request.operation == 'CREATE' || object.spec != oldObject.spec)";

/** Annotations or labels of the object as it would be and as it was, empty where there are none. */
export function metadataVariables(member: "labels" | "annotations"): readonly NamedExpression[] {
  const old = member === "labels" ? "oldLabels" : "oldAnnotations";
  return [
    { name: member, expression: `has(object.metadata.${member}) ? object.metadata.${member} : {}` },
    { name: old, expression: `oldObject != null && has(oldObject.metadata.${member}) ? oldObject.metadata.${member} : {}` },
  ];
}
