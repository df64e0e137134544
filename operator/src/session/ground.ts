import type { SessionWaitingReason } from "@paddock/api/conditions";
import type { Environment } from "@paddock/api/environment";
import type { SessionWorld } from "./observe.ts";

/** The Environment that a session's next pod would run in, or why no pod may be made now. */
export type Ground =
  | { readonly isFirm: true; readonly environment: Environment }
  | { readonly isFirm: false; readonly reason: SessionWaitingReason; readonly message: string };

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
  return unready === undefined ? { isFirm: true, environment } : { isFirm: false, reason: "EnvironmentNotReady", message: unready };
}

/** Undefined when it is Ready. An answer about an older spec does not count. */
function explainUnready({ metadata, status }: Environment): string | undefined {
  const where = `see kubectl describe environment ${metadata.name} -n ${metadata.namespace}`;
  if (metadata.deletionTimestamp !== undefined) return `Environment ${metadata.name} is being deleted: ${where}`;
  const ready = status?.conditions?.find(({ type, observedGeneration }) => type === "Ready" && observedGeneration === metadata.generation);
  if (ready === undefined || ready.reason === "Progressing") return `Environment ${metadata.name} is being set up: ${where}`;
  if (ready.status === "True") return undefined;
  return `Environment ${metadata.name} is not Ready (${ready.reason}): ${ready.message}; ${where}`;
}
