import type { AgentCondition, AgentReason, ApprovalCondition, ApprovalReason, EnvironmentCondition, EnvironmentReason, ScheduleCondition, ScheduleReason, SessionCondition, SessionReason } from "../conditions.ts";

// What each condition and reason means, for the reference page. The compiler sees to it that none is missing.

export const AGENT_CONDITIONS: Readonly<Record<AgentCondition, string>> = {
  Ready: "True when sessions can run the agent.",
  Reconciling: "True while a change is being taken in; absent otherwise.",
  Stalled: "True when nothing but a change by people can help; absent otherwise.",
};

export const AGENT_REASONS: Readonly<Record<AgentReason, string>> = {
  Available: "Nothing is missing.",
};

export const ENVIRONMENT_CONDITIONS: Readonly<Record<EnvironmentCondition, string>> = {
  Ready: "True when sessions can run in the Environment.",
  Reconciling: "True while network policies and service account are being made; absent otherwise.",
  Stalled: "True when nothing but a change by people can help; absent otherwise.",
};

export const ENVIRONMENT_REASONS: Readonly<Record<EnvironmentReason, string>> = {
  Available: "Nothing is missing.",
  Progressing: "Network policies and service account are being made.",
  NameConflict: "An object that Paddock needs cannot be made: somebody else's has its name. Rename or delete the one the message names.",
  InvalidReference: "A `baseURL` points into the cluster and no `network.inCluster` peer allows it, or it cannot be parsed.",
  Invalid: "A value in spec would be refused by the API server in a policy or pod; the message names the field and the fix.",
  Forbidden: "The API server refused a write: give the operator the right that the message names.",
  NetworkPolicyConflict: "A network policy that is not Paddock's selects Paddock pods and allows something: nothing starts, and running sessions stop. Change the policy that the message names.",
  AdmissionMissing: "An admission policy or binding of the release is missing or was changed: a cluster administrator installs the chart again.",
  SecretNotFound: "A runner waits for a Secret or a key in it; it goes on when the Secret appears.",
  NetworkPolicyNotEnforced: "A sandbox reached what it must not, because the cluster does not enforce network policies: every session that needs a sandbox ends as NotIsolated. The message says what answered and what to do.",
  RuntimeClassNotFound: "The cluster has no RuntimeClass of the name in spec.sandbox.runtimeClassName.",
  PriorityClassNotFound: "The cluster has no PriorityClass of the name in spec.scheduling.priorityClassName.",
};

export const SESSION_CONDITIONS: Readonly<Record<SessionCondition, string>> = {
  Succeeded: "Unknown while the session runs, True or False at its end; its reason is the STATUS column.",
  Finished: "True in every terminal state: `kubectl wait --for=condition=Finished session/NAME` never hangs.",
  AwaitingInput: "True while the session waits for the next message or a custom tool's result, False while a Conversation works; absent in a Task that does not wait.",
  AwaitingApproval: "True while a call waits for somebody's decision on its Approval; absent otherwise.",
  Suspended: "True while spec.suspend lets nothing new begin; absent otherwise.",
  Isolated: "What the newest sandbox's probe found: True when nothing answered that must not, False when something did, Unknown as long as there was no sandbox.",
  Cancelling: "True while a cancelled session's runner has its two seconds to record what is known; absent otherwise.",
};

export const SESSION_REASONS: Readonly<Record<SessionReason, string>> = {
  Pending: "The operator has not bound the session yet.",
  AgentNotFound: "The Agent does not exist; the session goes on when it does.",
  EnvironmentNotFound: "The Environment does not exist; the session goes on when it does.",
  EnvironmentNotReady: "The Environment is not Ready; its own condition says why.",
  ModelNotFound: "The Environment has no model of the name that the Agent asks for.",
  NoSandbox: "The session brings files, and its Agent and Environment give it no sandbox to put them into; the message says which of the two.",
  Forbidden: "The API server refused a write: a quota, a policy or a missing right; the message says which.",
  Invalid: "The API server refused a pod as invalid; the message names the field.",
  ConfigMapNotFound: "A ConfigMap that the session or its Agent names, or a key in it, does not exist; the session goes on when it does.",
  Queued: "The Environment runs as many sessions as its budget allows; the message says which place the session has.",
  AwaitingInput: "The session waits for the next message; after idleTimeoutSeconds it has no pods.",
  AwaitingToolResult: "The session waits for a client to give the result of a custom tool; after idleTimeoutSeconds it has no pods.",
  AwaitingApproval: "A call waits for somebody's decision on the Approval that the message names; after idleTimeoutSeconds the session has no pods.",
  Suspended: "spec.suspend is true: nothing new begins; after idleTimeoutSeconds the session has no pods.",
  PriceUnknown: "Money is limited, and the Environment has no pricing for the model that the Agent asks; the session goes on when it has.",
  Starting: "The runner pod is being made or has not connected yet.",
  Running: "The runner works.",
  Retrying: "A runner pod ended before the session did; the next one takes over.",
  Completed: "The agent gave its answer.",
  BudgetExceeded: "The next model request might have cost more than a limit allows; the message names the limit, what is used and what to raise.",
  MaxTurns: "The turn limit was reached before the agent was done.",
  DeadlineExceeded: "The time limit was reached before the agent was done.",
  Cancelled: "spec.cancel was set or the Session deleted.",
  ModelError: "The model endpoint refused in a way that another attempt cannot change.",
  RunnerFailed: "Three runner pods in a row ended without progress.",
  ImagePullFailed: "The image of a pod could not be pulled; the message names image and answer.",
  NotIsolated: "The session was stopped because its pods were not isolated: a network policy opened them, or the sandbox reached what it must not; the message says what answered and what to do.",
  Proven: "The sandbox's probe found nothing open.",
  Unverified: "The sandbox's probe found something open, and the Environment says network.enforcement: Unverified.",
  NotProbed: "No sandbox was made so far.",
  NameConflict: "Somebody else's object has the name of one that the session needs.",
  LogCorrupt: "The session's log was changed or damaged where the gateway keeps it; the message says at which event.",
  LogLost: "The session had started, but the gateway no longer has its log.",
};

export const SCHEDULE_CONDITIONS: Readonly<Record<ScheduleCondition, string>> = {
  Ready: "True when the schedule is valid and able to fire.",
  LastRunSucceeded: "Whether the newest finished run ended well; Unknown before the first.",
  Reconciling: "True while a change is being taken in; absent otherwise.",
  Stalled: "True when nothing but a change by people can help; absent otherwise.",
};

export const SCHEDULE_REASONS: Readonly<Record<ScheduleReason, string>> = {
  Available: "The schedule fires at status.nextScheduleTime.",
  Suspended: "spec.suspend is true.",
  InvalidSchedule: "The expression or the time zone is wrong; the message says what to write.",
  NeverFires: "No date matches the expression, e.g. 30 February.",
  Forbidden: "Whoever last changed the Schedule may not use its Environment: the message names the right to ask for.",
  NameConflict: "Somebody else's object has the name of the session to be made.",
  Invalid: "The API server refused the session that the template makes; the message says why.",
  Succeeded: "The newest finished run ended well.",
  Failed: "The newest finished run did not end well; the message names it.",
  NoRun: "No run has finished yet.",
};

export const APPROVAL_CONDITIONS: Readonly<Record<ApprovalCondition, string>> = {
  Resolved: "Unknown while the call waits, True when that is over.",
};

export const APPROVAL_REASONS: Readonly<Record<ApprovalReason, string>> = {
  Pending: "The call waits for a decision: the condition AwaitingApproval of its Session shows the command.",
  Approved: "The call was approved, and starts.",
  Denied: "The call was denied; the model is told the reason.",
  Expired: "Nobody decided before spec.expiresAt, which is a denial.",
  TooLate: "The decision came when the call was over, and changed nothing.",
  Withdrawn: "The call was cancelled or interrupted before anybody decided.",
  AdmissionMissing: "An admission policy of the release is missing or was changed, and decisions are not honoured: a cluster administrator installs the chart again.",
};
