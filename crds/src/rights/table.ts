import { type AdmissionObject, releaseOf } from "../admission/policy.ts";
import { buildAdmission } from "../admission/policies.ts";
import { GROUP } from "../group.ts";
import { GATEWAY_CA, OPERATOR_NAME } from "../names.ts";

// Every right that the chart gives to anybody, and what it is for. The chart's roles are generated from this table and a test compares
// what is installed with it: a verb that has no line here is not given.

/** One rule of a Role or ClusterRole, with its reason. */
export interface Right {
  readonly group: string;
  readonly resources: readonly string[];
  /** Only objects of these names. */
  readonly names?: readonly string[];
  readonly verbs: readonly string[];
  /** What would not work without it. */
  readonly why: string;
}

/** Kubernetes' own roles for people, which ours can be added to. */
export type AggregateTo = "view" | "edit" | "admin";

/** A ClusterRole for people, to be bound in namespaces. */
export interface UserRole {
  readonly name: string;
  readonly aggregateTo: AggregateTo;
  readonly purpose: string;
  readonly rights: readonly Right[];
}

const READ = ["get", "list", "watch"];
const WRITE = ["create", "update", "patch", "delete", "deletecollection"];
const ALL = [...READ, ...WRITE];

/** The operator where sessions run: a Role in each of watchNamespaces, or one ClusterRole when it serves them all. */
export const OPERATOR_TENANT: readonly Right[] = [
  { group: GROUP, resources: ["agents", "environments", "schedules"], verbs: ["list", "watch"], why: "Observed; their spec is never written." },
  { group: GROUP, resources: ["sessions"], verbs: [...READ, "create", "delete"], why: "Observed; read again before its log is ended; made for Schedules; taken away by history limits and ttlSecondsAfterFinished." },
  { group: GROUP, resources: ["approvals"], verbs: [...READ, "create"], why: "Asks people about a call that waits, and observes what they decide. No update, no delete: an Approval goes with its Session." },
  { group: GROUP, resources: ["agents/status", "environments/status", "sessions/status", "schedules/status", "approvals/status"], verbs: ["update"], why: "What became of each." },
  { group: "", resources: ["pods"], verbs: [...READ, "create", "delete"], why: "Runner and sandbox pods. No update: a pod is replaced." },
  { group: "", resources: ["persistentvolumeclaims"], verbs: [...READ, "create"], why: "The workspace of a session whose Environment keeps it. No update, no delete: a claim goes with its Session." },
  { group: "", resources: ["serviceaccounts"], verbs: [...READ, "create", "patch"], why: "The account paddock-pod, without rights, that pods run as." },
  { group: "networking.k8s.io", resources: ["networkpolicies"], verbs: [...READ, "create", "patch"], why: "Isolation of the pods; foreign policies are watched for those that open a pod. No delete: the baseline stays." },
  { group: "", resources: ["configmaps"], verbs: ["get"], why: "promptFrom, instructionsFrom and files, each read once when a session is bound. No list, no watch." },
  { group: "", resources: ["namespaces"], verbs: ["get"], why: "The UID of a session's namespace, so that a namespace made again reads nothing of the old one." },
  { group: "events.k8s.io", resources: ["events"], verbs: ["create", "patch"], why: "Warnings on the resources themselves, and that a call waits for approval; patch counts repetitions." },
];

/** The operator in the release's own namespace. */
export const OPERATOR_RELEASE: readonly Right[] = [
  { group: "", resources: ["configmaps"], names: [GATEWAY_CA.configMap], verbs: ["get"], why: "The gateway's certificate." },
  { group: "coordination.k8s.io", resources: ["leases"], names: [OPERATOR_NAME], verbs: [...READ, "update"], why: "One operator acts at a time." },
  { group: "coordination.k8s.io", resources: ["leases"], verbs: ["create"], why: "Makes the Lease; a right to create cannot be bound to a name." },
];

const pluralOf = (kind: AdmissionObject["kind"]): string => kind.toLowerCase().replace(/policy$/, "policies").replace(/binding$/, "bindings");

/** The operator in the whole cluster, in both modes. */
export function operatorClusterRights(releaseNamespace: string): readonly Right[] {
  const objects = buildAdmission(releaseOf(releaseNamespace, []), { creatorStamp: true });
  const plurals = [...new Set(objects.map(({ kind }) => pluralOf(kind)))];
  return [
    { group: "authorization.k8s.io", resources: ["subjectaccessreviews"], verbs: ["create"], why: "Whether a Schedule's creator may still use its Environment." },
    ...plurals.map((plural): Right => ({
      group: "admissionregistration.k8s.io",
      resources: [plural],
      names: objects.filter(({ kind }) => pluralOf(kind) === plural).map(({ metadata }) => metadata.name),
      verbs: ["get"],
      why: "Whether the release's own admission policies stand: without them nothing is honoured.",
    })),
  ];
}

/** The gateway in the whole cluster. */
export const GATEWAY_CLUSTER: readonly Right[] = [
  { group: "authentication.k8s.io", resources: ["tokenreviews"], verbs: ["create"], why: "Who calls." },
  { group: "authorization.k8s.io", resources: ["subjectaccessreviews"], verbs: ["create"], why: "Whether they may read the session." },
];

/** The gateway in the release's own namespace. */
export const GATEWAY_RELEASE: readonly Right[] = [
  { group: "", resources: ["configmaps"], names: [GATEWAY_CA.configMap], verbs: ["get", "patch"], why: "Where it publishes the certificate of its CA; the chart makes the object." },
];

/** People. */
export const USER_ROLES: readonly UserRole[] = [
  {
    name: "paddock-user",
    aggregateTo: "edit",
    purpose: "Runs sessions, by hand and on schedules, in every Environment of the namespace, reads their logs and sends them messages.",
    rights: [
      { group: GROUP, resources: ["agents", "environments"], verbs: READ, why: "What there is to run." },
      { group: GROUP, resources: ["environments"], verbs: ["use"], why: "Asked when a Session or Schedule names an Environment. For some Environments only: a Role with resourceNames in place of this one." },
      { group: GROUP, resources: ["sessions", "schedules"], verbs: ALL, why: "Their own work." },
      { group: GROUP, resources: ["sessions/events"], verbs: ["get", "create"], why: "Read the log of a session, and send it messages, at the gateway." },
      { group: GROUP, resources: ["approvals"], verbs: READ, why: "What a session waits for." },
    ],
  },
  {
    name: "paddock-agent-author",
    aggregateTo: "edit",
    purpose: "Writes Agents: instructions, model names, tools.",
    rights: [
      { group: GROUP, resources: ["agents"], verbs: ALL, why: "Their own work." },
      { group: GROUP, resources: ["environments"], verbs: READ, why: "The models that Agents may name." },
    ],
  },
  {
    name: "paddock-platform",
    aggregateTo: "admin",
    purpose: "Writes Environments: endpoints, Secrets by reference, images, network, limits. Naming a Secret also takes get on it.",
    rights: [
      { group: GROUP, resources: ["environments"], verbs: ALL, why: "Their own work." },
      { group: GROUP, resources: ["agents", "sessions", "schedules", "approvals"], verbs: READ, why: "What runs in them." },
    ],
  },
  {
    name: "paddock-approver",
    aggregateTo: "admin",
    purpose: "Decides on tool calls that wait for approval, of every Agent of the namespace.",
    rights: [
      { group: GROUP, resources: ["approvals"], verbs: READ, why: "What waits." },
      { group: GROUP, resources: ["approvals/status"], verbs: ["get", "patch"], why: "Where the decision is written; kubectl reads before it patches." },
      { group: GROUP, resources: ["agents"], verbs: ["approve"], why: "Asked when a decision is written. For some Agents only: a Role with resourceNames in place of this one." },
    ],
  },
];
