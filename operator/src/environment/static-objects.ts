import { isDeepStrictEqual } from "node:util";
import { GROUP } from "@paddock/api/group";
import { LABELS, MANAGED_BY } from "@paddock/api/names";
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
  /** An object of that name is there. */
  readonly isThere: boolean;
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
    { manifest: serviceAccount, isThere: account !== undefined, standing: standingOf(serviceAccount, account, true) },
    ...policies.map(({ manifest, current }) => ({ manifest, isThere: current !== undefined, standing: standingOf(manifest, current, isSamePolicy(manifest.spec, current?.spec)) })),
  ];
}

function standingOf(wanted: Manifest, current: Observed | undefined, isSame: boolean): Standing {
  if (current === undefined) return "Astray";
  if (!isOurs(wanted, current)) return isOfNamesake(wanted, current) ? "Leftover" : "Foreign";
  // What is on its way out can only be made anew when it is gone.
  if (current.metadata.deletionTimestamp !== undefined) return "Leftover";
  return isSame && hasMeta(wanted, current) ? "Built" : "Astray";
}

/** With an owner its UID tells whose the object is, without one our label does. */
function isOurs({ metadata: { ownerReferences: [owner] = [] } }: Manifest, { metadata: { ownerReferences = [], labels } }: Observed): boolean {
  return owner === undefined ? labels?.[LABELS.managedBy] === MANAGED_BY : ownerReferences.some(({ uid }) => uid === owner.uid);
}

function isOfNamesake({ metadata: { ownerReferences: [owner] = [] } }: Manifest, { metadata: { ownerReferences = [] } }: Observed): boolean {
  return owner !== undefined && ownerReferences.some((other) => isEnvironment(other, owner.name));
}

/** Whether the owner is an Environment of this name, be it the present one or an earlier one. */
export function isEnvironment({ apiVersion, kind, name }: OwnerReference, environment: string): boolean {
  return kind === "Environment" && name === environment && apiVersion.startsWith(`${GROUP}/`);
}

function hasMeta({ metadata }: Manifest, current: Observed): boolean {
  const labels = Object.entries(metadata.labels ?? {}).every(([name, value]) => current.metadata.labels?.[name] === value);
  return labels && (metadata.ownerReferences ?? []).every((owner) => (current.metadata.ownerReferences ?? []).some((other) => isSameOwner(owner, other)));
}

// What others add to the reference, e.g. blockOwnerDeletion, no apply of ours takes away, and it does no harm.
function isSameOwner(wanted: OwnerReference, { apiVersion, kind, name, uid, controller }: OwnerReference): boolean {
  return isDeepStrictEqual({ apiVersion, kind, name, uid, controller }, wanted);
}
