import type { SessionWaitingReason } from "@paddock/api/conditions";
import type { Environment } from "@paddock/api/environment";
import type { SessionStatus } from "@paddock/api/session";
import type { Plan } from "../kernel/kind.ts";
import { buildBundle } from "./bundle.ts";
import { claimWaiting } from "./claim.ts";
import type { SessionWorld } from "./observe.ts";
import { planEnd } from "./outcome.ts";

/**
 * A session without a record: it waits for what it names, then is bound. Nothing is written to status with the bind, which may fail; the
 * record, once the stream shows it, is what later passes go by. Pure.
 */
export function decideBinding({ self, agent, environment, pods }: SessionWorld, now: Date): Plan<SessionStatus> {
  const { name, namespace, uid } = self.metadata;
  const { agentRef, environmentRef, cancel, prompt } = self.spec;
  if (cancel === true) return planEnd({ self, pods, outcome: "Cancelled", message: "spec.cancel was set before the session was bound." }, now);
  if (agent === undefined) return wait("AgentNotFound", `Agent ${agentRef.name} does not exist in namespace ${namespace}: see kubectl get agents -n ${namespace}`);
  if (environment === undefined) {
    return wait("EnvironmentNotFound", `Environment ${environmentRef.name} does not exist in namespace ${namespace}: see kubectl get environments -n ${namespace}`);
  }
  const unready = explainUnready(environment);
  if (unready !== undefined) return wait("EnvironmentNotReady", unready);
  const models = environment.spec.models.map((model) => model.name);
  if (!models.includes(agent.spec.model.name)) {
    const fix = `name one of ${models.join(", ")} in Agent ${agentRef.name} or add it to the Environment`;
    return wait("ModelNotFound", `Agent ${agentRef.name} asks for model ${agent.spec.model.name}, which Environment ${environmentRef.name} does not have: ${fix} (Session ${namespace}/${name} goes on by itself)`);
  }
  const bundle = buildBundle({ session: self, agent, environment }, now);
  return { actions: [{ verb: "bind", uid, record: { bundle, prompt } }], claims: undefined };
}

/** Why no pod may be made in the Environment now; undefined when one may. An answer about an older spec does not count. Pure. */
export function explainUnready({ metadata, status }: Environment): string | undefined {
  const where = `see kubectl describe environment ${metadata.name} -n ${metadata.namespace}`;
  if (metadata.deletionTimestamp !== undefined) return `Environment ${metadata.name} is being deleted: ${where}`;
  const ready = status?.conditions?.find(({ type, observedGeneration }) => type === "Ready" && observedGeneration === metadata.generation);
  if (ready === undefined || ready.reason === "Progressing") return `Environment ${metadata.name} is being set up: ${where}`;
  if (ready.status === "True") return undefined;
  return `Environment ${metadata.name} is not Ready (${ready.reason}): ${ready.message}; ${where}`;
}

function wait(reason: SessionWaitingReason, message: string): Plan<SessionStatus> {
  return { actions: [], claims: claimWaiting(reason, message) };
}
