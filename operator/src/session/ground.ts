import type { Agent } from "@paddock/api/agent";
import { ENVIRONMENT_ADVISORY_REASONS, type SessionWaitingReason } from "@paddock/api/conditions";
import type { Environment } from "@paddock/api/environment";
import type { Condition } from "@paddock/api/object";
import type { Session } from "@paddock/api/session";
import { buildLimits } from "./bundle.ts";
import type { SessionWorld } from "./observe.ts";

/** The Environment that a session's next pod would run in, or why no pod may be made now. */
export type Ground =
  | { readonly isFirm: true; readonly environment: Environment }
  | ({ readonly isFirm: false } & Obstacle);

/** What keeps a session from being bound, for people. */
export interface Obstacle {
  readonly reason: SessionWaitingReason;
  readonly message: string;
  /** It passes by itself, in a moment as a rule: whoever waits for something else already need not be told. */
  readonly isBrief?: boolean;
}

/**
 * A pod is made only while the live Environment is Ready, for then its network policies stand. Of a bound session nothing else of it counts: its pods are
 * built from the frozen one, and each credential goes to the endpoint that it was meant for. Pure.
 */
export function groundOf({ self, environment }: Pick<SessionWorld, "self" | "environment">): Ground {
  const { name } = self.spec.environmentRef;
  const { namespace } = self.metadata;
  if (environment === undefined) {
    const message = `Environment ${name} does not exist in namespace ${namespace}: see kubectl get environments -n ${namespace}`;
    return { isFirm: false, reason: "EnvironmentNotFound", message };
  }
  const unready = explainUnready(environment);
  return unready === undefined ? { isFirm: true, environment } : { isFirm: false, reason: "EnvironmentNotReady", ...unready };
}

/** Why this Agent may not or cannot run in this Environment; undefined when it can. Pure. */
export function findAgentFault({ self, agent, environment }: { readonly self: Session; readonly agent: Agent; readonly environment: Environment }): Obstacle | undefined {
  const { namespace, name } = self.metadata;
  const [agentName, environmentName] = [self.spec.agentRef.name, self.spec.environmentRef.name];
  const { allowedAgents, models } = environment.spec;
  if (allowedAgents !== undefined && !allowedAgents.includes(agentName)) {
    const fix = `whoever may update it can add ${agentName} there (kubectl auth can-i update environments/${environmentName} -n ${namespace})`;
    return { reason: "Forbidden", message: `Agent ${agentName} is not in spec.allowedAgents of Environment ${environmentName}: ${fix}, or create a Session with another Agent` };
  }
  const names = models.map((model) => model.name);
  if (names.includes(agent.spec.model.name)) return findUnknownPrice({ self, agent, environment }) ?? findUselessFiles({ self, agent, environment });
  const fix = `name one of ${names.join(", ")} in Agent ${agentName} or add it to the Environment`;
  return {
    reason: "ModelNotFound",
    message: `Agent ${agentName} asks for model ${agent.spec.model.name}, which Environment ${environmentName} does not have: ${fix} (Session ${namespace}/${name} goes on by itself)`,
  };
}

/** Money cannot be held to a limit by who does not know what an answer costs. */
function findUnknownPrice({ self, agent, environment }: { readonly self: Session; readonly agent: Agent; readonly environment: Environment }): Obstacle | undefined {
  const { models, budget, limits } = environment.spec;
  const isLimited = buildLimits({ session: self, agent, environment }).costUSD !== undefined || budget?.costUSDPerDay !== undefined;
  const model = models.find(({ name }) => name === agent.spec.model.name);
  if (!isLimited || model === undefined || model.pricing !== undefined) return undefined;
  const { name } = environment.metadata;
  const field = self.spec.limits?.costUSD !== undefined ? "spec.limits.costUSD of the Session" : `spec.${limits?.costUSD !== undefined ? "limits.costUSD" : "budget.costUSDPerDay"} of Environment ${name}`;
  return { reason: "PriceUnknown", message: `Money is limited by ${field}, and Environment ${name} has no pricing for model ${model.name}, so nobody can tell what it costs: add spec.models[${model.name}].pricing (the session goes on by itself then)` };
}

/** Files are put into sandboxes: without one they would be taken and never seen. */
function findUselessFiles({ self, agent, environment }: { readonly self: Session; readonly agent: Agent; readonly environment: Environment }): Obstacle | undefined {
  const files = self.spec.files?.length ?? 0;
  if (files === 0) return undefined;
  const [agentName, environmentName] = [agent.metadata.name, environment.metadata.name];
  const tell = (fact: string, fix: string): Obstacle => ({
    reason: "NoSandbox",
    message: `spec.files names ${files} ${files === 1 ? "file" : "files"}, but ${fact}: ${fix} (the session goes on by itself then), or create a Session without spec.files`,
  });
  if ((agent.spec.tools ?? []).length === 0) return tell(`Agent ${agentName} has no tools and so never gets a sandbox to find them in`, `add a tool such as read to spec.tools of Agent ${agentName}`);
  if (environment.spec.sandbox?.provisioning === "Never") return tell(`spec.sandbox.provisioning of Environment ${environmentName} is Never`, `have it set to OnDemand or Eager`);
  return undefined;
}

/**
 * The policy that opens pods of this Environment, as its condition tells it: what runs there is not isolated any more. An answer about an older spec
 * counts too, for policies do not follow the Environment's spec. Pure.
 */
export function findConflict(environment: Environment | undefined): string | undefined {
  const ready = environment?.status?.conditions?.find(({ type }) => type === "Ready");
  return ready?.status === "False" && ready.reason === "NetworkPolicyConflict" ? ready.message : undefined;
}

/** Undefined when it is Ready, or unready only in a way that a runner has to find out about. An answer about an older spec does not count. */
function explainUnready({ metadata, status }: Environment): Pick<Obstacle, "message" | "isBrief"> | undefined {
  const where = `see kubectl describe environment ${metadata.name} -n ${metadata.namespace}`;
  if (metadata.deletionTimestamp !== undefined) return { message: `Environment ${metadata.name} is being deleted: ${where}` };
  const ready = status?.conditions?.find(({ type, observedGeneration }) => type === "Ready" && observedGeneration === metadata.generation);
  if (ready === undefined || ready.reason === "Progressing") return { message: `Environment ${metadata.name} is being set up: ${where}`, isBrief: true };
  if (ready.status === "True" || isAdvisory(ready)) return undefined;
  return { message: `Environment ${metadata.name} is not Ready (${ready.reason}): ${ready.message}; ${where}` };
}

function isAdvisory({ reason }: Condition): boolean {
  return ENVIRONMENT_ADVISORY_REASONS.some((advisory) => advisory === reason);
}

/** The Environment is gone or going, and its network policies with it: what still runs there is cut off, or not, as the network plugin likes. Pure. */
export function isGroundGone({ environment }: Pick<SessionWorld, "environment">): boolean {
  return environment === undefined || environment.metadata.deletionTimestamp !== undefined;
}
