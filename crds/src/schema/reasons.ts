import type { AgentCondition, AgentReason, EnvironmentCondition, EnvironmentReason, SessionCondition, SessionReason } from "../conditions.ts";

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
};

export const SESSION_CONDITIONS: Readonly<Record<SessionCondition, string>> = {
  Succeeded: "Unknown while the session runs, True or False at its end; its reason is the STATUS column.",
  Finished: "True in every terminal state: `kubectl wait --for=condition=Finished session/NAME` never hangs.",
  Cancelling: "True while a cancelled session's runner has its two seconds to record what is known; absent otherwise.",
};

export const SESSION_REASONS: Readonly<Record<SessionReason, string>> = {
  Pending: "The operator has not bound the session yet.",
  AgentNotFound: "The Agent does not exist; the session goes on when it does.",
  EnvironmentNotFound: "The Environment does not exist; the session goes on when it does.",
  EnvironmentNotReady: "The Environment is not Ready; its own condition says why.",
  ModelNotFound: "The Environment has no model of the name that the Agent asks for.",
  Forbidden: "The API server refused a write: a quota, a policy or a missing right; the message says which.",
  Invalid: "The API server refused a pod as invalid; the message names the field.",
  Starting: "The runner pod is being made or has not connected yet.",
  Running: "The runner works.",
  Retrying: "A runner pod ended before the session did; the next one takes over.",
  Completed: "The agent gave its answer.",
  MaxTurns: "The turn limit was reached before the agent was done.",
  DeadlineExceeded: "The time limit was reached before the agent was done.",
  Cancelled: "spec.cancel was set or the Session deleted.",
  ModelError: "The model endpoint refused in a way that another attempt cannot change.",
  RunnerFailed: "Three runner pods in a row ended without progress.",
  NameConflict: "Somebody else's object has the name of one that the session needs.",
  LogLost: "The session had started, but the gateway no longer has its log.",
};
