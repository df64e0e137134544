import type { SessionWaitingReason } from "@paddock/api/conditions";
import type { Environment } from "@paddock/api/environment";
import { digestOf } from "@paddock/api/log/canonical";
import type { RecordView } from "@paddock/api/wire/records";
import { explainUnready } from "./binding.ts";
import type { SessionWorld } from "./observe.ts";

/** What a pod of a bound session can be built from, or why not now. */
export type Ground =
  | { readonly isFirm: true; readonly environment: Environment }
  | { readonly isFirm: false; readonly reason: SessionWaitingReason; readonly message: string };

/**
 * Pods are built from the Environment as it is now, and only while it is Ready, for then its network policies stand. A runner also needs
 * the very spec that the session is bound to: its endpoints are frozen in the log while its credentials are mounted from what the spec says
 * now, and one must never go to the other's address. Pure.
 */
export function groundOf({ self, environment }: SessionWorld, record: RecordView, component: "runner" | "sandbox"): Ground {
  const { name } = self.spec.environmentRef;
  const { namespace } = self.metadata;
  if (environment === undefined) {
    const message = `Environment ${name} does not exist in namespace ${namespace} any more, and the session needs a ${component} pod: create it again as it was`;
    return { isFirm: false, reason: "EnvironmentNotFound", message };
  }
  const unready = explainUnready(environment);
  if (unready !== undefined) return { isFirm: false, reason: "EnvironmentNotReady", message: unready };
  if (component === "runner" && digestOf(environment.spec) !== record.bundle.environmentDigest) {
    const message = `Environment ${name} has changed since the session was bound, so its credentials may be meant for other endpoints: undo the change, or cancel this Session and create a new one`;
    return { isFirm: false, reason: "EnvironmentNotReady", message };
  }
  return { isFirm: true, environment };
}
