import { ANNOTATIONS } from "../names.ts";
import { celString } from "../text.ts";
import { metadataVariables, notTheOperator } from "./cel.ts";
import { type Check, type MutatingDefinition, type NamedExpression, type Release, type ValidatingDefinition, ours } from "./policy.ts";

// Who created a Session, and who last changed the spec of a Schedule: stamped by the one policy, proven by the other. Where the API
// server does not serve mutating policies, people may write the annotations themselves, and the second policy holds all the same.

const USER = celString(ANNOTATIONS.createdBy);
const GROUPS = celString(ANNOTATIONS.createdByGroups);

const rules = [ours(["CREATE", "UPDATE"], ["sessions", "schedules"])];

const variables: readonly NamedExpression[] = [
  { name: "isAuthor", expression: "request.operation == 'CREATE' || (request.kind.kind == 'Schedule' && object.spec != oldObject.spec)" },
  // A group whose name holds a comma would read as two: it is left out, which can only take rights away.
  { name: "groups", expression: "has(request.userInfo.groups) ? request.userInfo.groups.filter(group, !group.contains(',')).join(',') : ''" },
  ...metadataVariables("annotations"),
];

/** Writes the annotations; on other updates from the object as it was, because `kubectl replace` drops what the file does not hold. */
export function creatorStamp(release: Release): MutatingDefinition {
  const add = (key: string, value: string) => `JSONPatch{op: 'add', path: '/metadata/annotations/' + jsonpatch.escapeKey(${key}), value: ${value}}`;
  const keep = (key: string) => `(${key} in variables.oldAnnotations ? [${add(key, `variables.oldAnnotations[${key}]`)}] : [])`;
  const place = "(has(object.metadata.annotations) ? [] : [JSONPatch{op: 'add', path: '/metadata/annotations', value: {}}])";
  const stamp = `[${add(USER, "request.userInfo.username")}, ${add(GROUPS, "variables.groups")}]`;
  return {
    name: "creator-stamp",
    rules,
    conditions: [notTheOperator(release)],
    variables,
    patch: `${place} + (variables.isAuthor ? ${stamp} : ${keep(USER)} + ${keep(GROUPS)})`,
  };
}

/** What is there is true: the caller where the caller is the author, else what was there before. The operator copies a Schedule's creator. */
export function creatorProof(release: Release): ValidatingDefinition {
  return {
    name: "creator-proof",
    rules,
    conditions: [notTheOperator(release)],
    variables,
    checks: [check(ANNOTATIONS.createdBy, "request.userInfo.username"), check(ANNOTATIONS.createdByGroups, "variables.groups")],
  };
}

function check(annotation: string, caller: string): Check {
  const key = celString(annotation);
  const same = `(${key} in variables.annotations) == (${key} in variables.oldAnnotations) && (!(${key} in variables.annotations) || variables.annotations[${key}] == variables.oldAnnotations[${key}])`;
  return {
    expression: `variables.isAuthor ? (!(${key} in variables.annotations) || variables.annotations[${key}] == ${caller}) : (${same})`,
    message: `the annotation ${annotation} says who wrote the object and can be written by nobody else: leave it out`,
    tell: `variables.isAuthor ? 'the annotation ${annotation} must be ' + ${caller} + ', who writes the object: leave it out, it is written for you' : 'the annotation ${annotation} says who wrote the object and stays as it is: keep it in your file or use kubectl apply'`,
  };
}
