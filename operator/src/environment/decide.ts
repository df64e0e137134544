import type { Claim, EnvironmentCondition, EnvironmentReason } from "@paddock/api/conditions";
import type { EnvironmentStatus } from "@paddock/api/environment";
import { digestOf } from "@paddock/api/log/canonical";
import type { Action, Fault, Plan } from "../kernel/kind.ts";
import { findSpecFault } from "./invalid.ts";
import type { EnvironmentWorld } from "./observe.ts";
import { type StaticObject, staticObjects } from "./static-objects.ts";

type EnvironmentClaim = Claim<EnvironmentCondition, EnvironmentReason>;

/** An object of ours that is going away cannot be waited for by name: look again. */
const LEFTOVER_RETRY_MS = 2_000;

/**
 * Repairs the static objects whatever else holds, and calls the Environment Ready only when the caches show all of them as built:
 * sessions make pods only in a Ready Environment, so policies exist before pods. Pure.
 */
export function decideEnvironment(world: EnvironmentWorld): Plan<EnvironmentStatus> {
  const { self, settings } = world;
  if (self.metadata.deletionTimestamp !== undefined) return { actions: [], claims: undefined };
  const objects = staticObjects(world);
  const actions = objects.filter(({ standing }) => standing === "Astray").map(({ manifest }): Action => ({ verb: "apply", object: manifest }));
  const plan = { actions, status: { revision: digestOf(self.spec), models: self.spec.models.length } };

  const fault = findSpecFault(self.spec, settings.privateRanges);
  if (fault !== undefined) return { ...plan, claims: claimStalled(fault.reason, fault.message) };
  const foreign = objects.find(({ standing }) => standing === "Foreign");
  if (foreign !== undefined) return { ...plan, claims: claimStalled("NameConflict", describeForeign(foreign)) };
  const leftover = objects.find(({ standing }) => standing === "Leftover");
  if (leftover !== undefined) return { ...plan, claims: claimProgressing(`Waiting until ${nameOf(leftover)}, which is being deleted, is gone.`), requeueAfterMs: LEFTOVER_RETRY_MS };
  if (actions.length > 0) return { ...plan, claims: claimProgressing("Service account and network policies are being made.") };
  return { ...plan, claims: [{ type: "Ready", status: "True", reason: "Available", message: "Service account and network policies are in place." }] };
}

/** What a failed write says to the Environment's readers: only what people can cure. */
export function explainFault({ kind, message }: Fault): readonly EnvironmentClaim[] {
  switch (kind) {
    case "name-conflict":
      return overrideStalled("NameConflict", message);
    case "forbidden":
      return overrideStalled("Forbidden", message);
    case "invalid":
      return overrideStalled("Invalid", message);
    default:
      return [];
  }
}

function claimStalled(reason: EnvironmentReason, message: string): readonly EnvironmentClaim[] {
  return [{ type: "Ready", status: "False", reason, message }, { type: "Stalled", status: "True", reason, message }];
}

function claimProgressing(message: string): readonly EnvironmentClaim[] {
  return [{ type: "Ready", status: "False", reason: "Progressing", message }, { type: "Reconciling", status: "True", reason: "Progressing", message }];
}

// Laid over the plan's own claims, which say Reconciling: a reader takes that for "wait", so it is taken back.
function overrideStalled(reason: EnvironmentReason, message: string): readonly EnvironmentClaim[] {
  return [...claimStalled(reason, message), { type: "Reconciling", status: "False", reason, message }];
}

function describeForeign(object: StaticObject): string {
  const { kind, metadata } = object.manifest;
  return `${nameOf(object)} belongs to another object, and Paddock needs its name: look at it with kubectl get ${kind.toLowerCase()} ${metadata.name} -n ${metadata.namespace} -o yaml, then delete it`;
}

function nameOf({ manifest: { kind, metadata } }: StaticObject): string {
  return `${kind} ${metadata.namespace}/${metadata.name}`;
}
