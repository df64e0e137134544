import type { SessionStatus } from "@paddock/api/session";
import type { RecordView } from "@paddock/api/wire/records";
import { LABELS } from "@paddock/api/names";
import type { Plan } from "../kernel/kind.ts";
import type { PodView } from "../sources.ts";
import { claimCancelling, conditionOf } from "./claim.ts";
import { deadlineLeftMs, leftMs } from "./deadline.ts";
import { findConflict } from "./ground.ts";
import type { SessionWorld } from "./observe.ts";
import { buildRunFinished, planFinish } from "./outcome.ts";
import { hasEnded } from "./pods.ts";

/** Two seconds for the runner, and one because a condition's time has lost its fraction. */
const CANCEL_GRACE_MS = 3_000;

/** What ends a session from outside: a name that is taken, a cancel, a policy that opens its pods, the deadline; undefined when nothing does. Pure. */
export function decideStop(world: SessionWorld, record: RecordView, now: Date): Plan<SessionStatus> | undefined {
  const conflict = findNameConflict(world);
  if (conflict !== undefined) return planFinish(record, "NameConflict", conflict);
  if (world.self.spec.cancel === true || record.cancelled) return decideCancel(world, record, now);
  const opened = world.pods.some((pod) => !hasEnded(pod)) ? findConflict(world.environment) : undefined;
  if (opened !== undefined) return planFinish(record, "NotIsolated", `The session was stopped, because its pods are not isolated any more: ${opened}`);
  const left = deadlineLeftMs(record, now);
  if (left === undefined || left > 0) return undefined;
  const { timeoutSeconds } = record.bundle.limits;
  return planFinish(record, "DeadlineExceeded", `The session took longer than ${timeoutSeconds} s: raise spec.limits.timeoutSeconds, here and in the Environment.`);
}

/** First the log says so, which stops every further intent; then the runner has a moment; then the operator finishes. */
function decideCancel({ self, pods }: SessionWorld, record: RecordView, now: Date): Plan<SessionStatus> {
  const reason = "spec.cancel was set.";
  if (!pods.some(isLiveRunner)) {
    const cancelled = record.cancelled ? [] : [{ type: "session.cancelled" as const, data: { reason } }];
    return { actions: [{ verb: "append", uid: record.uid, events: [...cancelled, buildRunFinished(record, "Cancelled", reason)] }], claims: undefined };
  }
  if (!record.cancelled) return { actions: [{ verb: "append", uid: record.uid, events: [{ type: "session.cancelled", data: { reason } }] }], claims: undefined };
  const seen = conditionOf(self, "Cancelling");
  if (seen?.status !== "True") return { actions: [], claims: claimCancelling(self), requeueAfterMs: CANCEL_GRACE_MS };
  const left = leftMs(Date.parse(seen.lastTransitionTime), CANCEL_GRACE_MS, now);
  return left > 0 ? { actions: [], claims: undefined, requeueAfterMs: left } : planFinish(record, "Cancelled", reason);
}

function isLiveRunner(pod: PodView): boolean {
  return pod.metadata.labels?.[LABELS.component] === "runner" && !hasEnded(pod);
}

/**
 * Somebody else's pod under a name that the session needs, even one that names this Session as its owner: found in the cache, or told by the API server
 * in an earlier pass. A pod of an earlier Session of the same name is none: the garbage collector is on its way, and creating is repeated until it is gone.
 */
function findNameConflict({ self, strangers }: SessionWorld): string | undefined {
  const told = conditionOf(self, "Succeeded");
  if (told?.reason === "NameConflict") return told.message;
  const stranger = strangers.find(({ metadata }) => !(metadata.ownerReferences ?? []).some((owner) => owner.kind === self.kind && owner.name === self.metadata.name && owner.uid !== self.metadata.uid));
  if (stranger === undefined) return undefined;
  const { name, namespace } = stranger.metadata;
  return `Pod ${namespace}/${name} exists already and is not one that Paddock made for this Session: delete it and create the Session again, or give the Session another name.`;
}
