import type { SessionWaitingReason } from "@paddock/api/conditions";
import type { SessionStatus } from "@paddock/api/session";
import type { Plan } from "../kernel/kind.ts";
import { buildBundle } from "./bundle.ts";
import { claimWaiting } from "./claim.ts";
import { groundOf } from "./ground.ts";
import type { SessionWorld } from "./observe.ts";
import { planEnd } from "./outcome.ts";

/**
 * A session without a record: it waits for what it names, then is bound. Nothing is written to status with the bind, which may fail; the
 * record, once the stream shows it, is what later passes go by. Pure.
 */
export function decideBinding(world: SessionWorld, now: Date): Plan<SessionStatus> {
  const { self, agent, pods } = world;
  const { name, namespace, uid } = self.metadata;
  const { agentRef, environmentRef, cancel, prompt } = self.spec;
  if (cancel === true) return planEnd({ self, pods, outcome: "Cancelled", message: "spec.cancel was set before the session was bound." }, now);
  if (agent === undefined) return wait("AgentNotFound", `Agent ${agentRef.name} does not exist in namespace ${namespace}: see kubectl get agents -n ${namespace}`);
  const ground = groundOf(world);
  if (!ground.isFirm) return wait(ground.reason, ground.message);
  const { environment } = ground;
  const models = environment.spec.models.map((model) => model.name);
  if (!models.includes(agent.spec.model.name)) {
    const fix = `name one of ${models.join(", ")} in Agent ${agentRef.name} or add it to the Environment`;
    return wait("ModelNotFound", `Agent ${agentRef.name} asks for model ${agent.spec.model.name}, which Environment ${environmentRef.name} does not have: ${fix} (Session ${namespace}/${name} goes on by itself)`);
  }
  const bundle = buildBundle({ session: self, agent, environment }, now);
  return { actions: [{ verb: "bind", uid, record: { bundle, prompt } }], claims: undefined };
}

function wait(reason: SessionWaitingReason, message: string): Plan<SessionStatus> {
  return { actions: [], claims: claimWaiting(reason, message) };
}
