import { ENVIRONMENT_ADVISORY_REASONS, type EnvironmentCondition } from "@paddock/api/conditions";
import type { Environment, EnvironmentStatus } from "@paddock/api/environment";
import { digestOf } from "@paddock/api/log/canonical";
import type { Condition } from "@paddock/api/object";
import type { Action, Fault, Plan } from "../kernel/kind.ts";
import { buildPreflightPods } from "../pods/preflight.ts";
import { isBudgetTold } from "../sources.ts";
import { AVAILABLE, type EnvironmentClaim, type Obstacle, claimUnready } from "./claim.ts";
import { findUnenforced } from "./enforcement.ts";
import { findSpecFault } from "./invalid.ts";
import type { EnvironmentWorld } from "./observe.ts";
import { findOpening } from "./opening.ts";
import { explainFault, explainRefusal } from "./refusal.ts";
import { findMissingSecret } from "./secrets.ts";
import { type StaticObject, staticObjects } from "./static-objects.ts";

/** An object of ours that is going away cannot be waited for by name: look again. */
const LEFTOVER_RETRY_MS = 2_000;

/** What no watch of ours tells: a class of the cluster that appears, somebody else's object without our label that goes away. */
const RETRY_MS = 30_000;

/** A repair that does not hold for so long is undone by somebody. */
const REPAIR_MS = 30_000;

/**
 * Repairs the static objects whatever else holds, and calls the Environment Ready only when the caches show all of them as built and the API server takes
 * its pods: sessions make pods only in a Ready Environment, so policies exist before pods. The gateway is told the shared budget whether it is Ready or not. Pure.
 */
export function decideEnvironment(world: EnvironmentWorld, now: Date): Plan<EnvironmentStatus> {
  const { self } = world;
  if (self.metadata.deletionTimestamp !== undefined) return { actions: [], claims: undefined };
  const objects = staticObjects(world);
  const repairs = objects.filter(({ standing }) => standing === "Astray").map(({ manifest }): Action => ({ verb: "apply", object: manifest }));
  const actions = [...repairs, ...tellBudget(world)];
  const status = { revision: digestOf(self.spec), models: self.spec.models.length };

  const obstacle = findObstacle(world, objects, now);
  if (obstacle !== undefined) return { actions, status, claims: claimUnready(obstacle), ...(obstacle.retryAfterMs === undefined ? {} : { requeueAfterMs: obstacle.retryAfterMs }) };
  if (isProven(self)) return { actions, status, claims: claimProven(world) };
  const preflights = buildPreflightPods(self, world.settings).map((object): Action => ({ verb: "preflight", object }));
  return { actions: preflights, status, claims: claimProven(world), requeueAfterMs: RETRY_MS };
}

/** In the live Environment's words, as long as the gateway has others. Never in a pass that makes dry runs, whose faults are told otherwise. */
function tellBudget({ self, told }: EnvironmentWorld): readonly Action[] {
  if (told === undefined || isBudgetTold(self, told.budget)) return [];
  const { costUSDPerDay } = self.spec.budget ?? {};
  return [{ verb: "budget", environmentUid: self.metadata.uid, budget: costUSDPerDay === undefined ? {} : { costUSDPerDay } }];
}

/** What a failed action says to the Environment's readers. Dry runs are made only when all static objects stand and nothing else is in the way. */
export function explainEnvironment(world: EnvironmentWorld, fault: Fault): readonly EnvironmentClaim[] {
  const objects = staticObjects(world);
  if (!objects.every(({ standing }) => standing === "Built")) return explainFault(fault);
  // The time matters only to repairs, of which there are none.
  const isPreflight = !isProven(world.self) && findObstacle(world, objects, new Date(0)) === undefined;
  // A gateway that is away is told by sessions, which wait for it.
  return isPreflight ? explainRefusal(world.self, fault) : [];
}

/** The first thing that keeps sessions out, the gravest first; undefined when there is none. */
function findObstacle(world: EnvironmentWorld, objects: readonly StaticObject[], now: Date): Obstacle | undefined {
  const { self, settings, policies, labelledPods } = world;
  return (
    findMistrust(world) ??
    findOpening({ environment: self.metadata.name, policies, labelledPods }) ??
    findSpecFault(self, settings.privateRanges) ??
    findForeign(objects) ??
    findLeftover(objects) ??
    findUndoneRepair(self, objects, now) ??
    findRepair(objects)
  );
}

// Fails closed: what nobody has looked at is not trusted.
function findMistrust({ admission }: EnvironmentWorld): Obstacle | undefined {
  if (admission?.trusted === true) return undefined;
  const [first = "they have not been looked at yet", ...others] = admission?.problems ?? [];
  const more = others.length === 0 ? "" : ` (and ${others.length} more)`;
  return {
    reason: "AdmissionMissing",
    message: `The release's admission policies cannot be relied on, so nothing starts: ${first}${more}. Have a cluster administrator run helm upgrade with the release's values; what is there is shown by kubectl get validatingadmissionpolicies,validatingadmissionpolicybindings`,
  };
}

function findForeign(objects: readonly StaticObject[]): Obstacle | undefined {
  const foreign = objects.find(({ standing }) => standing === "Foreign");
  if (foreign === undefined) return undefined;
  const { kind, metadata } = foreign.manifest;
  return {
    reason: "NameConflict",
    message: `${nameOf(foreign)} belongs to another object, and Paddock needs its name: look at it with kubectl get ${kind.toLowerCase()} ${metadata.name} -n ${metadata.namespace} -o yaml, then delete it`,
  };
}

function findLeftover(objects: readonly StaticObject[]): Obstacle | undefined {
  const leftover = objects.find(({ standing }) => standing === "Leftover");
  return leftover === undefined ? undefined : { reason: "Progressing", message: `Waiting until ${nameOf(leftover)}, which is being deleted, is gone.`, retryAfterMs: LEFTOVER_RETRY_MS };
}

/** A policy of ours that stays other than we write it: an admission webhook or another controller changes it. */
function findUndoneRepair(self: Environment, objects: readonly StaticObject[], now: Date): Obstacle | undefined {
  const changed = objects.find(({ standing, isThere }) => standing === "Astray" && isThere);
  if (changed === undefined || !hasRepairedInVain(self, now)) return undefined;
  const { kind, metadata } = changed.manifest;
  return {
    reason: "NetworkPolicyConflict",
    message: `${nameOf(changed)} is Paddock's and somebody changes it back whenever it is put right: find who in kubectl get ${kind.toLowerCase()} ${metadata.name} -n ${metadata.namespace} -o yaml --show-managed-fields (or a mutating webhook), and make them leave it alone`,
    retryAfterMs: RETRY_MS,
  };
}

function hasRepairedInVain(self: Environment, now: Date): boolean {
  if (currentCondition(self, "Ready")?.reason === "NetworkPolicyConflict") return true;
  const reconciling = currentCondition(self, "Reconciling");
  return reconciling?.reason === "Progressing" && now.getTime() - Date.parse(reconciling.lastTransitionTime) >= REPAIR_MS;
}

function findRepair(objects: readonly StaticObject[]): Obstacle | undefined {
  const astray = objects.filter(({ standing }) => standing === "Astray");
  if (astray.length === 0) return undefined;
  const changed = astray.find(({ isThere }) => isThere);
  const message = changed === undefined ? "Service account and network policies are being made." : `${nameOf(changed)} is not as this Environment wants it and is being put right.`;
  return { reason: "Progressing", message, retryAfterMs: RETRY_MS };
}

/** Before the records are known nobody can tell whether runners still wait: what was said stays. */
function claimProven({ self, waiting, probes }: EnvironmentWorld): readonly EnvironmentClaim[] | undefined {
  if (waiting === undefined && currentCondition(self, "Ready")?.reason === "SecretNotFound") return undefined;
  const missing = findMissingSecret(self.spec, self.metadata.namespace, waiting ?? []);
  const advisory = missing ?? findUnenforced(self, probes);
  return advisory === undefined ? AVAILABLE : claimUnready(advisory);
}

/** The API server has taken pods of this generation. */
function isProven(self: Environment): boolean {
  const ready = currentCondition(self, "Ready");
  return ready !== undefined && (ready.status === "True" || (ENVIRONMENT_ADVISORY_REASONS as readonly string[]).includes(ready.reason));
}

/** A condition that speaks of the spec as it is now. */
function currentCondition({ metadata, status }: Environment, type: EnvironmentCondition): Condition | undefined {
  return status?.conditions?.find((condition) => condition.type === type && condition.observedGeneration === metadata.generation);
}

function nameOf({ manifest: { kind, metadata } }: StaticObject): string {
  return `${kind} ${metadata.namespace}/${metadata.name}`;
}
