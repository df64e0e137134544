import { isDeepStrictEqual } from "node:util";
import { GROUP } from "@paddock/api/group";
import type { OwnerReference } from "@paddock/api/object";
import type { Manifest, Observed } from "../kernel/kind.ts";
import { buildBaselinePolicy } from "./policy-baseline.ts";
import { isSamePolicy } from "./policy-drift.ts";
import { buildRunnerPolicy } from "./policy-runner.ts";
import { buildSandboxPolicy } from "./policy-sandbox.ts";
import { buildServiceAccount } from "./service-account.ts";
import type { EnvironmentWorld } from "./observe.ts";

/**
 * How an object that must stand is found. Built: as it should be. Astray: absent or changed, to be applied. Leftover: of an earlier
 * Environment of this name, soon collected. Foreign: somebody else's, never touched.
 */
export type Standing = "Built" | "Astray" | "Leftover" | "Foreign";

export interface StaticObject {
  readonly manifest: Manifest;
  readonly standing: Standing;
}

/** Everything that must stand before a pod may, in the order in which it is made. Pure. */
export function staticObjects({ self, settings, account, baseline, runnerPolicy, sandboxPolicy }: EnvironmentWorld): readonly StaticObject[] {
  const { namespace } = self.metadata;
  const policies = [
    { manifest: buildBaselinePolicy(namespace), current: baseline },
    { manifest: buildSandboxPolicy(self), current: sandboxPolicy },
    { manifest: buildRunnerPolicy(self, settings), current: runnerPolicy },
  ];
  const serviceAccount = buildServiceAccount(namespace);
  return [
    { manifest: serviceAccount, standing: standingOf(serviceAccount, account, true) },
    ...policies.map(({ manifest, current }) => ({ manifest, standing: standingOf(manifest, current, isSamePolicy(manifest.spec, current?.spec)) })),
  ];
}

function standingOf(wanted: Manifest, current: Observed | undefined, isSame: boolean): Standing {
  if (current === undefined) return "Astray";
  const { ownerReferences: owners = [], deletionTimestamp } = current.metadata;
  const [owner] = wanted.metadata.ownerReferences ?? [];
  if (owner !== undefined && !owners.some(({ uid }) => uid === owner.uid)) return owners.some((other) => isSameKind(other, owner)) ? "Leftover" : "Foreign";
  // What is on its way out can only be made anew when it is gone.
  if (deletionTimestamp !== undefined) return "Leftover";
  return isSame && hasMeta(wanted, current) ? "Built" : "Astray";
}

function isSameKind(other: OwnerReference, owner: OwnerReference): boolean {
  return other.kind === owner.kind && other.name === owner.name && other.apiVersion.startsWith(`${GROUP}/`);
}

function hasMeta({ metadata }: Manifest, current: Observed): boolean {
  const labels = Object.entries(metadata.labels ?? {}).every(([name, value]) => current.metadata.labels?.[name] === value);
  return labels && (metadata.ownerReferences ?? []).every((owner) => (current.metadata.ownerReferences ?? []).some((other) => isDeepStrictEqual(other, owner)));
}
