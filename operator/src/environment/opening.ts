import { GROUP } from "@paddock/api/group";
import { BASELINE_POLICY, LABELS, MANAGED_BY, environmentPolicyName, shorten } from "@paddock/api/names";
import type { PodView, PolicyView } from "../sources.ts";
import type { Obstacle } from "./claim.ts";
import { isEnvironment } from "./static-objects.ts";

// Network policies add up: one of somebody else's that selects a pod of ours and has a rule lets through what ours deny.

/** The pod has the label, and nobody knows here with which value. */
const ANY = Symbol("any value");
type Labels = ReadonlyMap<string, string | typeof ANY>;

/** What of the namespace decides whether pods of an Environment are open. */
export interface Neighbourhood {
  readonly environment: string;
  readonly policies: readonly PolicyView[];
  /** Pods of the Environment with labels that Paddock did not give them. */
  readonly labelledPods: readonly PodView[];
}

/** The foreign policies that open pods of the Environment, told with the fix; undefined when there is none. Pure. */
export function findOpening({ environment, policies, labelledPods }: Neighbourhood): Obstacle | undefined {
  const pods = [podLabels(environment, "runner"), podLabels(environment, "sandbox"), ...labelledPods.map(({ metadata }) => new Map(Object.entries(metadata.labels ?? {})))];
  const opening = policies
    .filter((policy) => !isOwn(policy, environment) && openedBy(policy).length > 0 && pods.some((labels) => maySelect(policy.spec["podSelector"], labels)))
    .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  const [first, ...others] = opening;
  return first === undefined ? undefined : { reason: "NetworkPolicyConflict", message: describe(first, others) };
}

// Ours, if perhaps changed (it is put right at once) or of an earlier Environment of this name (it is being collected). Who forges such an owner gains
// nothing: with our UID the policy is put right, with another one it is collected.
function isOwn({ metadata: { name, labels, ownerReferences = [] } }: PolicyView, environment: string): boolean {
  if (name === BASELINE_POLICY) return labels?.[LABELS.managedBy] === MANAGED_BY;
  const isNamed = name === environmentPolicyName(environment, "runner") || name === environmentPolicyName(environment, "sandbox");
  return isNamed && ownerReferences.some((owner) => isEnvironment(owner, environment));
}

function describe(policy: PolicyView, others: readonly PolicyView[]): string {
  const { namespace, name } = policy.metadata;
  const more = others.length === 0 ? "" : ` The same goes for ${others.slice(0, 8).map((other) => other.metadata.name).join(", ")}${others.length > 8 ? ` and ${others.length - 8} more` : ""}.`;
  return (
    `NetworkPolicy ${namespace}/${name} selects pods of this Environment and allows ${openedBy(policy).join(" and ").toLowerCase()}, so that they would not be isolated: nothing starts meanwhile. ` +
    `Leave Paddock's pods out with kubectl edit networkpolicy ${name} -n ${namespace}: add {key: ${LABELS.component}, operator: DoesNotExist} to spec.podSelector.matchExpressions.${more}`
  );
}

/**
 * The labels of a session's pod before it exists. Those of a session have some value; other labels of our prefix may be there or not; all else
 * is not given by Paddock, and pods that have it all the same are looked at one by one as soon as a cache shows them.
 */
function podLabels(environment: string, component: "runner" | "sandbox"): Labels {
  return new Map<string, string | typeof ANY>([
    [LABELS.managedBy, MANAGED_BY],
    [LABELS.component, component],
    [LABELS.environment, shorten(environment)],
    [LABELS.session, ANY],
    [LABELS.sessionUid, ANY],
    [LABELS.agent, ANY],
  ]);
}

/** Directions in which the policy lets something through. Rules for a direction that policyTypes does not name have no effect. */
function openedBy({ spec, opens }: PolicyView): readonly ("Ingress" | "Egress")[] {
  const hasRules = (rules: unknown): boolean => Array.isArray(rules) && rules.length > 0;
  const types = Array.isArray(spec["policyTypes"]) && spec["policyTypes"].length > 0 ? (spec["policyTypes"] as readonly string[]) : ["Ingress", "Egress"];
  const directions = opens ?? [...(hasRules(spec["ingress"]) ? (["Ingress"] as const) : []), ...(hasRules(spec["egress"]) ? (["Egress"] as const) : [])];
  return directions.filter((direction) => types.includes(direction));
}

interface Requirement {
  readonly key: string;
  readonly operator: string;
  readonly values?: readonly string[];
}

interface Selector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly Requirement[];
}

/**
 * Whether the selector could select a pod with these labels. Where a label is not known for sure each requirement is taken for met on its own, so
 * that this errs by refusing what is harmless, never by letting through. An absent or empty selector selects everything.
 */
function maySelect(selector: unknown, labels: Labels): boolean {
  const { matchLabels = {}, matchExpressions = [] } = (selector ?? {}) as Selector;
  const equal = Object.entries(matchLabels).map(([key, value]): Requirement => ({ key, operator: "In", values: [value] }));
  return [...equal, ...matchExpressions].every((requirement) => mayMeet(requirement, labels));
}

function mayMeet({ key, operator, values = [] }: Requirement, labels: Labels): boolean {
  const value = labels.get(key);
  if (value === undefined && key.startsWith(`${GROUP}/`)) return true;
  return OPERATORS.get(operator)?.(value, values) ?? true;
}

type Operator = (value: string | typeof ANY | undefined, values: readonly string[]) => boolean;
const OPERATORS: ReadonlyMap<string, Operator> = new Map<string, Operator>([
  ["In", (value, values) => value === ANY || (value !== undefined && values.includes(value))],
  ["NotIn", (value, values) => typeof value !== "string" || !values.includes(value)],
  ["Exists", (value) => value !== undefined],
  ["DoesNotExist", (value) => value === undefined],
]);
