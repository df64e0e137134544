import { BASELINE_POLICY, LABELS, MANAGED_BY } from "@paddock/api/names";
import { buildBaselinePolicy } from "../environment/policy-baseline.ts";
import { isSamePolicy } from "../environment/policy-drift.ts";
import type { Duty } from "../kernel/bare.ts";
import type { Key, Read } from "../kernel/kind.ts";
import { BY_NAMESPACE, type PolicyView, environments, networkPolicies, pods } from "../sources.ts";

/** A namespace without an Environment that would repair the baseline, and with pods of ours. */
export interface Unguarded {
  readonly namespace: string;
  readonly baseline: PolicyView | undefined;
}

/** The key of a namespace's baseline. */
export function baselineKey({ namespace }: Pick<Key, "namespace">): Key {
  return { namespace, name: BASELINE_POLICY };
}

/** The baseline outlives Environments, and while pods of ours are left it is made again when somebody deletes or changes it, whether there is an Environment or not. */
export function baselineGuard(read: Read): Duty<Unguarded> {
  return { observe: (key) => observeUnguarded(read, key), decide: decideBaseline };
}

function observeUnguarded(read: Read, { namespace }: Key): Unguarded | undefined {
  const isRepaired = read.list(environments, BY_NAMESPACE, namespace).some(({ metadata }) => metadata.deletionTimestamp === undefined);
  if (isRepaired || read.list(pods, BY_NAMESPACE, namespace).length === 0) return undefined;
  return { namespace, baseline: read.get(networkPolicies, baselineKey({ namespace })) };
}

/** What is on its way out is made again when it is gone, of which the watch tells. Pure. */
export function decideBaseline({ namespace, baseline }: Unguarded): ReturnType<Duty<Unguarded>["decide"]> {
  const wanted = buildBaselinePolicy(namespace);
  if (baseline?.metadata.deletionTimestamp !== undefined) return { actions: [] };
  const isBuilt = baseline !== undefined && isSamePolicy(wanted.spec, baseline.spec) && baseline.metadata.labels?.[LABELS.managedBy] === MANAGED_BY;
  return { actions: isBuilt ? [] : [{ verb: "apply", object: wanted }] };
}
