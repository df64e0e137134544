import type { Environment } from "@paddock/api/environment";
import type { SessionStatus } from "@paddock/api/session";
import type { BindRecord, Plan } from "../kernel/kind.ts";
import { isBudgetTold } from "../sources.ts";
import { buildBundle } from "./bundle.ts";
import { SILENT_MS, claimWaiting } from "./claim.ts";
import { leftMs, requeueAt } from "./deadline.ts";
import { type Obstacle, findAgentFault, groundOf } from "./ground.ts";
import type { SessionWorld } from "./observe.ts";
import { planEnd } from "./outcome.ts";
import { planHindered, planQueued } from "./queued.ts";

/** ConfigMaps are not watched: one that is missing is looked for again so often. */
const MISSING_RETRY_MS = 5_000;

/**
 * A session without a record: it waits for what it names and for a slot, then is bound. Nothing is written to status with the bind, which may fail; the
 * record, once the stream shows it, is what later passes go by. Pure.
 */
export function decideBinding(world: SessionWorld, now: Date): Plan<SessionStatus> {
  const { self, agent, environment, budget, pods, queued } = world;
  if (self.spec.cancel === true) return planEnd({ self, pods, outcome: "Cancelled", message: "spec.cancel was set before the session was bound." }, now);
  if (self.spec.suspend === true) return { actions: [], claims: claimWaiting("Suspended", SUSPENDED_UNBOUND) };
  const obstacle = findObstacle(world);
  if (obstacle !== undefined) return planHindered(self, obstacle);
  if (queued !== undefined) return planQueued(self, queued);
  // Without an obstacle there are both.
  if (agent === undefined || environment === undefined) return { actions: [], claims: undefined };
  if (!isBudgetTold(environment, budget)) return awaitBudget(world, environment, now);
  const bundle = buildBundle({ session: self, agent, environment }, now);
  const texts = textsOf(world);
  const record: BindRecord = { bundle, prompt: self.spec.prompt, ...texts };
  return { actions: [{ verb: "bind", uid: self.metadata.uid, record }], claims: undefined, ...requeueAt(Object.keys(texts).length === 0 ? undefined : MISSING_RETRY_MS) };
}

const SUSPENDED_UNBOUND = "The session was made with spec.suspend: true and begins when that is false.";

/** Nobody spends what the Environment has just taken back: the gateway is told first, which takes a moment and wakes the session. */
function awaitBudget({ self }: SessionWorld, environment: Environment, now: Date): Plan<SessionStatus> {
  const left = leftMs(Date.parse(self.metadata.creationTimestamp), SILENT_MS, now);
  if (left > 0) return { actions: [], claims: undefined, requeueAfterMs: left };
  return planHindered(self, { reason: "EnvironmentNotReady", message: `spec.budget of Environment ${environment.metadata.name} is being told to the gateway.`, isBrief: true });
}

/** What keeps an unbound session from being bound, and a bound one from getting pods; its turn in the queue aside. Pure. */
export function findObstacle({ self, agent, environment, record }: Pick<SessionWorld, "self" | "agent" | "environment" | "record">): Obstacle | undefined {
  const { namespace } = self.metadata;
  const { name } = self.spec.agentRef;
  if (record === undefined && agent === undefined) return { reason: "AgentNotFound", message: `Agent ${name} does not exist in namespace ${namespace}: see kubectl get agents -n ${namespace}` };
  const ground = groundOf({ self, environment });
  if (!ground.isFirm) return ground;
  // A bound session runs by its frozen Agent.
  return record !== undefined || agent === undefined ? undefined : findAgentFault({ self, agent, environment: ground.environment });
}

/** Texts in ConfigMaps, which the writer of the bind reads. */
function textsOf({ self: { spec }, agent }: SessionWorld): Pick<BindRecord, "promptFrom" | "instructionsFrom" | "filesFrom"> {
  const { promptFrom, files } = spec;
  const instructionsFrom = agent?.spec.instructionsFrom;
  return {
    ...(promptFrom === undefined ? {} : { promptFrom: promptFrom.configMapKeyRef }),
    ...(instructionsFrom === undefined ? {} : { instructionsFrom: instructionsFrom.configMapKeyRef }),
    ...(files === undefined || files.length === 0 ? {} : { filesFrom: files }),
  };
}
