import { GROUP, VERSION } from "../group.ts";
import { OPERATOR_NAME } from "../names.ts";
import { celString } from "../text.ts";

// What a policy of ours is, before it is an object for the API server: match, conditions, checks. Every field that the API server
// would fill in is written out, so that the operator can compare what is installed with what belongs there, field by field.

/** The release that policies are made for. A namespace holds one release at most, so its name tells releases apart. */
export interface Release {
  readonly namespace: string;
  /** CEL list of the namespaces the release serves; `[]` means all of them. */
  readonly watchedCel: string;
  /** Selector of the same namespaces, as bindings take it. */
  readonly namespaceSelector: unknown;
}

export type Operation = "CREATE" | "UPDATE" | "DELETE" | "CONNECT";

export interface ResourceRule {
  readonly group: string;
  readonly version: string;
  readonly operations: readonly Operation[];
  readonly resources: readonly string[];
}

export interface NamedExpression {
  readonly name: string;
  readonly expression: string;
}

/** One thing that must hold. `tell` is CEL for what people read: it names field and value and says what to write or to ask for. */
export interface Check {
  readonly expression: string;
  /** Used as it is when `tell` is absent, and when `tell` cannot be evaluated. */
  readonly message: string;
  readonly tell?: string;
}

export interface ValidatingDefinition {
  /** First part of the policy's name. */
  readonly name: string;
  readonly rules: readonly ResourceRule[];
  readonly conditions?: readonly NamedExpression[];
  readonly variables?: readonly NamedExpression[];
  readonly checks: readonly Check[];
  readonly audit?: readonly { readonly key: string; readonly valueExpression: string }[];
  /** A policy on the operator's own account holds wherever the operator writes; every other one in the release's namespaces. */
  readonly everywhere?: true;
}

export interface MutatingDefinition {
  readonly name: string;
  readonly rules: readonly ResourceRule[];
  readonly conditions: readonly NamedExpression[];
  readonly variables: readonly NamedExpression[];
  /** CEL for a list of JSONPatch. Not an apply configuration: that needs an object of the right types, and its error hides the schema's own. */
  readonly patch: string;
}

/** A cluster-wide object of `admissionregistration.k8s.io/v1`. */
export interface AdmissionObject {
  readonly apiVersion: "admissionregistration.k8s.io/v1";
  readonly kind: "ValidatingAdmissionPolicy" | "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicy" | "MutatingAdmissionPolicyBinding";
  readonly metadata: { readonly name: string };
  readonly spec: Readonly<Record<string, unknown>>;
}

const API = "admissionregistration.k8s.io/v1";

/** Name of a policy and of its binding: `<policy>.<release namespace>.paddock.dev`. Pure. */
export function policyName(name: string, release: Pick<Release, "namespace">): string {
  return `${name}.${release.namespace}.${GROUP}`;
}

/** User name of the release's operator. */
export function operatorUser(release: Pick<Release, "namespace">): string {
  return `system:serviceaccount:${release.namespace}:${OPERATOR_NAME}`;
}

/** The release of a running operator; an empty list means that it serves every namespace. Pure. */
export function releaseOf(namespace: string, watchNamespaces: readonly string[]): Release {
  return {
    namespace,
    watchedCel: `[${watchNamespaces.map(celString).join(", ")}]`,
    namespaceSelector: watchNamespaces.length === 0 ? {} : { matchExpressions: [{ key: "kubernetes.io/metadata.name", operator: "In", values: watchNamespaces }] },
  };
}

/** A rule for resources of Paddock's own group. */
export function ours(operations: readonly Operation[], resources: readonly string[]): ResourceRule {
  return { group: GROUP, version: VERSION, operations, resources };
}

/** A ValidatingAdmissionPolicy and its binding. Fails closed: a policy that cannot be evaluated refuses. Pure. */
export function buildValidating(definition: ValidatingDefinition, release: Release): readonly AdmissionObject[] {
  const { conditions = [], variables = [], audit = [], checks } = definition;
  const name = policyName(definition.name, release);
  const policy: AdmissionObject = {
    apiVersion: API,
    kind: "ValidatingAdmissionPolicy",
    metadata: { name },
    spec: {
      failurePolicy: "Fail",
      matchConstraints: matchConstraints(definition.rules),
      ...(conditions.length === 0 ? {} : { matchConditions: conditions }),
      ...(variables.length === 0 ? {} : { variables }),
      validations: checks.map(({ expression, message, tell }) => ({ expression, message, ...(tell === undefined ? {} : { messageExpression: tell }), reason: "Forbidden" })),
      ...(audit.length === 0 ? {} : { auditAnnotations: audit }),
    },
  };
  const binding: AdmissionObject = {
    apiVersion: API,
    kind: "ValidatingAdmissionPolicyBinding",
    metadata: { name },
    spec: { policyName: name, validationActions: ["Deny"], matchResources: bindingMatch(definition.everywhere === true ? {} : release.namespaceSelector) },
  };
  return [policy, binding];
}

/** A MutatingAdmissionPolicy and its binding. Fails closed as well. Pure. */
export function buildMutating({ name: part, rules, conditions, variables, patch }: MutatingDefinition, release: Release): readonly AdmissionObject[] {
  const name = policyName(part, release);
  return [
    {
      apiVersion: API,
      kind: "MutatingAdmissionPolicy",
      metadata: { name },
      spec: {
        failurePolicy: "Fail",
        reinvocationPolicy: "Never",
        matchConstraints: matchConstraints(rules),
        matchConditions: conditions,
        variables,
        mutations: [{ patchType: "JSONPatch", jsonPatch: { expression: patch } }],
      },
    },
    { apiVersion: API, kind: "MutatingAdmissionPolicyBinding", metadata: { name }, spec: { policyName: name, matchResources: bindingMatch(release.namespaceSelector) } },
  ];
}

function matchConstraints(rules: readonly ResourceRule[]) {
  return {
    matchPolicy: "Equivalent",
    namespaceSelector: {},
    objectSelector: {},
    resourceRules: rules.map(({ group, version, operations, resources }) => ({ apiGroups: [group], apiVersions: [version], operations, resources, scope: "Namespaced" })),
  };
}

function bindingMatch(namespaceSelector: unknown) {
  return { matchPolicy: "Equivalent", namespaceSelector, objectSelector: {} };
}
