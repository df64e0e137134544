import type { Environment } from "@paddock/api/environment";
import { BASELINE_POLICY, POD_SERVICE_ACCOUNT, environmentPolicyName } from "@paddock/api/names";
import type { Key, Observed, Read } from "../kernel/kind.ts";
import type { Settings } from "../settings.ts";
import { type PolicyView, environments, networkPolicies, serviceAccounts } from "../sources.ts";

/** What a decision about an Environment reads: the static objects as the caches show them, each under the name that is ours. */
export interface EnvironmentWorld {
  readonly self: Environment;
  readonly settings: Settings;
  readonly account: Observed | undefined;
  readonly baseline: PolicyView | undefined;
  readonly runnerPolicy: PolicyView | undefined;
  readonly sandboxPolicy: PolicyView | undefined;
}

export function observeEnvironment(read: Read, key: Key, settings: Settings): EnvironmentWorld | undefined {
  const self = read.get(environments, key);
  if (self === undefined) return undefined;
  const policy = (name: string): PolicyView | undefined => read.get(networkPolicies, { namespace: key.namespace, name });
  return {
    self,
    settings,
    account: read.get(serviceAccounts, { namespace: key.namespace, name: POD_SERVICE_ACCOUNT }),
    baseline: policy(BASELINE_POLICY),
    runnerPolicy: policy(environmentPolicyName(key.name, "runner")),
    sandboxPolicy: policy(environmentPolicyName(key.name, "sandbox")),
  };
}
