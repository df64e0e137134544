import type { Environment } from "@paddock/api/environment";
import { BASELINE_POLICY, POD_SERVICE_ACCOUNT, environmentPolicyName, shorten } from "@paddock/api/names";
import type { BudgetView, RecordView } from "@paddock/api/wire/records";
import type { Key, Observed, Read } from "../kernel/kind.ts";
import type { Settings } from "../settings.ts";
import {
  ADMISSION_KEY, type AdmissionView, BY_ADDED_LABELS, BY_CLEAN_PROBE, BY_MISSING_CREDENTIAL, BY_NAMESPACE, BY_OPEN_PROBE, type PodView, type PolicyView,
  admission, budgetKey, budgets, environments, networkPolicies, pods, records, serviceAccounts,
} from "../sources.ts";
import type { Probes } from "./enforcement.ts";

/** What a decision about an Environment reads: the static objects as the caches show them, each under the name that is ours, and what stands in the way. */
export interface EnvironmentWorld {
  readonly self: Environment;
  readonly settings: Settings;
  readonly account: Observed | undefined;
  readonly baseline: PolicyView | undefined;
  readonly runnerPolicy: PolicyView | undefined;
  readonly sandboxPolicy: PolicyView | undefined;
  /** All of the namespace, ours too. */
  readonly policies: readonly PolicyView[];
  /** Pods of the Environment that carry labels of others. */
  readonly labelledPods: readonly PodView[];
  /** undefined until it was looked at. */
  readonly admission: AdmissionView | undefined;
  /** Records of sessions of the Environment whose runner waits for a Secret; undefined until the records are known. */
  readonly waiting: readonly RecordView[] | undefined;
  /** What sandboxes of the Environment found open; undefined until the records are known. */
  readonly probes: Probes | undefined;
  /** The shared budget as the gateway has it; undefined until the records are known. */
  readonly told: { readonly budget: BudgetView | undefined } | undefined;
}

export function observeEnvironment(read: Read, key: Key, settings: Settings): EnvironmentWorld | undefined {
  const self = read.get(environments, key);
  if (self === undefined) return undefined;
  const { namespace, name } = key;
  const policy = (policyName: string): PolicyView | undefined => read.get(networkPolicies, { namespace, name: policyName });
  return {
    self,
    settings,
    account: read.get(serviceAccounts, { namespace, name: POD_SERVICE_ACCOUNT }),
    baseline: policy(BASELINE_POLICY),
    runnerPolicy: policy(environmentPolicyName(name, "runner")),
    sandboxPolicy: policy(environmentPolicyName(name, "sandbox")),
    policies: read.list(networkPolicies, BY_NAMESPACE, namespace),
    labelledPods: read.list(pods, BY_ADDED_LABELS, `${namespace}/${shorten(name)}`),
    admission: read.get(admission, ADMISSION_KEY),
    told: read.isSynced(records) ? { budget: read.get(budgets, budgetKey(self.metadata.uid)) } : undefined,
    probes: read.isSynced(records) ? observeProbes(read, self) : undefined,
    waiting: read.isSynced(records) ? read.list(records, BY_MISSING_CREDENTIAL, self.metadata.uid) : undefined,
  };
}

function observeProbes(read: Read, { metadata: { uid }, status }: Environment): Probes {
  const isUnenforced = status?.conditions?.some(({ reason }) => reason === "NetworkPolicyNotEnforced") === true;
  return { open: read.list(records, BY_OPEN_PROBE, uid), clean: isUnenforced ? read.list(records, BY_CLEAN_PROBE, uid) : [] };
}
