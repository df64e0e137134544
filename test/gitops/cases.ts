import type { AgentReason, ApprovalReason, EnvironmentReason, ScheduleReason, SessionReason } from "@paddock/api/conditions";
import { API_VERSION } from "@paddock/api/group";
import type { KindName } from "@paddock/api/group";
import type { Condition } from "@paddock/api/object";

// What GitOps tools make of our objects: one row per state, as people would read it. The same rows go to Argo CD's scripts and to kstatus.

export interface GitOpsCase {
  readonly name: string;
  readonly object: object;
  /** Argo CD's health. */
  readonly argo: "Healthy" | "Progressing" | "Degraded" | "Suspended";
  /** kstatus' word; Flux waits for Current and gives up on Failed. */
  readonly kstatus: "Current" | "InProgress" | "Failed" | "Terminating";
}

type Reason = AgentReason | ApprovalReason | EnvironmentReason | ScheduleReason | SessionReason;
type Said = readonly [type: string, status: Condition["status"], reason: Reason, message?: string];

interface State {
  /** metadata.generation; the status is of generation 2 unless `seen` says otherwise. */
  readonly generation?: number;
  readonly seen?: number;
  readonly spec?: object;
  readonly status?: object;
  readonly metadata?: object;
}

function build(kind: KindName, said: readonly Said[] | undefined, { generation = 2, seen = 2, spec = {}, status = {}, metadata = {} }: State = {}): object {
  const conditions = said?.map(([type, word, reason, message = "Why."]): Condition => ({ type, status: word, reason, message, observedGeneration: seen, lastTransitionTime: "2026-11-21T12:00:00Z" }));
  return {
    apiVersion: API_VERSION,
    kind,
    metadata: { name: "a", namespace: "team", uid: "u", generation, creationTimestamp: "2026-11-21T12:00:00Z", ...metadata },
    spec,
    status: conditions === undefined ? { observedGeneration: -1 } : { observedGeneration: seen, conditions, ...status },
  };
}

const ready = (reason: Reason): Said => ["Ready", "True", reason];
const unready = (reason: Reason): readonly Said[] => [["Ready", "False", reason]];
const stalled = (reason: Reason): readonly Said[] => [...unready(reason), ["Stalled", "True", reason]];
const reconciling: readonly Said[] = [["Ready", "False", "Progressing"], ["Reconciling", "True", "Progressing"]];
const session = (status: Condition["status"], finished: "True" | "False", reason: Reason): readonly Said[] => [["Succeeded", status, reason], ["Finished", finished, reason]];

function longLived(kind: "Agent" | "Environment" | "Schedule"): readonly GitOpsCase[] {
  return [
    { name: `${kind}, just applied`, object: build(kind, undefined), argo: "Progressing", kstatus: "InProgress" },
    { name: `${kind}, ready`, object: build(kind, [ready("Available")]), argo: "Healthy", kstatus: "Current" },
    { name: `${kind}, ready, but of an older spec`, object: build(kind, [ready("Available")], { generation: 3 }), argo: "Progressing", kstatus: "InProgress" },
    { name: `${kind}, being deleted`, object: build(kind, [ready("Available")], { metadata: { deletionTimestamp: "2026-11-21T12:01:00Z" } }), argo: "Healthy", kstatus: "Terminating" },
  ];
}

export const GITOPS_CASES: readonly GitOpsCase[] = [
  ...longLived("Agent"),
  ...longLived("Environment"),
  { name: "Environment, policies being made", object: build("Environment", reconciling), argo: "Progressing", kstatus: "InProgress" },
  { name: "Environment, name taken", object: build("Environment", stalled("NameConflict")), argo: "Degraded", kstatus: "Failed" },
  { name: "Environment, foreign policy", object: build("Environment", stalled("NetworkPolicyConflict")), argo: "Degraded", kstatus: "Failed" },
  { name: "Environment, Secret missing", object: build("Environment", unready("SecretNotFound")), argo: "Degraded", kstatus: "InProgress" },
  ...longLived("Schedule"),
  { name: "Schedule, suspended", object: build("Schedule", [ready("Suspended")], { spec: { suspend: true } }), argo: "Suspended", kstatus: "Current" },
  { name: "Schedule, last run failed", object: build("Schedule", [ready("Available"), ["LastRunSucceeded", "False", "Failed"]]), argo: "Healthy", kstatus: "Current" },
  { name: "Schedule, never fires", object: build("Schedule", stalled("NeverFires")), argo: "Degraded", kstatus: "Failed" },
  { name: "Schedule, suspended and wrong", object: build("Schedule", stalled("InvalidSchedule"), { spec: { suspend: true } }), argo: "Degraded", kstatus: "Failed" },
  { name: "Session, just applied", object: build("Session", undefined), argo: "Progressing", kstatus: "InProgress" },
  { name: "Session, waits for its Agent", object: build("Session", session("Unknown", "False", "AgentNotFound")), argo: "Progressing", kstatus: "Current" },
  { name: "Session, runs", object: build("Session", session("Unknown", "False", "Running")), argo: "Progressing", kstatus: "Current" },
  { name: "Session, queued", object: build("Session", session("Unknown", "False", "Queued")), argo: "Progressing", kstatus: "Current" },
  { name: "Session, waits for a message", object: build("Session", session("Unknown", "False", "AwaitingInput")), argo: "Suspended", kstatus: "Current" },
  { name: "Session, completed", object: build("Session", session("True", "True", "Completed")), argo: "Healthy", kstatus: "Current" },
  { name: "Session, cancelled as asked", object: build("Session", session("False", "True", "Cancelled")), argo: "Healthy", kstatus: "Current" },
  { name: "Session, failed", object: build("Session", session("False", "True", "ModelError")), argo: "Degraded", kstatus: "Current" },
  { name: "Session, cancel not seen yet", object: build("Session", session("Unknown", "False", "Running"), { generation: 3 }), argo: "Progressing", kstatus: "InProgress" },
  { name: "Approval, nobody has decided", object: build("Approval", undefined, { spec: { tool: "bash" } }), argo: "Suspended", kstatus: "InProgress" },
  { name: "Approval, seen by the operator", object: build("Approval", [["Resolved", "Unknown", "Pending"]], { spec: { tool: "bash" } }), argo: "Suspended", kstatus: "Current" },
  {
    name: "Approval, decided and not taken in yet",
    object: build("Approval", [["Resolved", "Unknown", "Pending"]], { spec: { tool: "bash" }, status: { decision: { decision: "Denied", decidedBy: "ann", at: "2026-11-21T12:00:00Z" } } }),
    argo: "Progressing",
    kstatus: "Current",
  },
  ...(["Approved", "Denied", "Expired", "Withdrawn", "TooLate"] as const).map((reason): GitOpsCase => ({ name: `Approval, ${reason}`, object: build("Approval", [["Resolved", "True", reason]], { spec: { tool: "bash" } }), argo: "Healthy", kstatus: "Current" })),
];
