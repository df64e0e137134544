import type { NewEvent } from "@paddock/api/log/events";
import type { Session, SessionStatus } from "@paddock/api/session";
import type { RecordView } from "@paddock/api/wire/records";
import { LABELS } from "@paddock/api/names";
import type { Plan } from "../kernel/kind.ts";
import type { PodView } from "../sources.ts";
import { claimCancelling, conditionOf } from "./claim.ts";
import { deadlineLeftMs, leftMs } from "./deadline.ts";
import { findConflict } from "./ground.ts";
import type { SessionWorld } from "./observe.ts";
import { buildRunFinished, planFinish } from "./outcome.ts";
import { hasEnded, isSandbox, stopPods } from "./pods.ts";

/** Two seconds for the runner, and one because a condition's time has lost its fraction. */
const CANCEL_GRACE_MS = 3_000;

/** What ends a session from outside: a name that is taken, a cancel, a policy that opens its pods, the deadline; undefined when nothing does. Pure. */
export function decideStop(world: SessionWorld, record: RecordView, now: Date): Plan<SessionStatus> | undefined {
  const conflict = findNameConflict(world);
  if (conflict !== undefined) return planFinish(record, "NameConflict", conflict);
  if (world.self.spec.cancel === true || record.cancelled) return decideCancel(world, record, now);
  const opened = world.pods.some((pod) => !hasEnded(pod)) ? findConflict(world.environment) : undefined;
  if (opened !== undefined) return stopOpened(world, record, opened);
  const left = deadlineLeftMs(record, now);
  if (left === undefined || left > 0) return undefined;
  const { timeoutSeconds } = record.bundle.limits;
  return planFinish(record, "DeadlineExceeded", `The session took longer than ${timeoutSeconds} s: raise spec.limits.timeoutSeconds, here and in the Environment.`);
}

/** The sandbox does not wait until the log has heard of it. */
function stopOpened({ pods }: SessionWorld, record: RecordView, opened: string): Plan<SessionStatus> {
  const plan = planFinish(record, "NotIsolated", `The session was stopped, because its pods are not isolated any more: ${opened}`);
  return { ...plan, actions: [...stopPods(pods.filter(isSandbox)), ...plan.actions] };
}

/** A gateway that keeps silent must not keep the pods of who was cancelled. */
const PATIENCE_MS = 2_000;

/**
 * The sandbox goes at once, whoever answers, and status says since when the session is being cancelled. Then the log says so, which stops every further
 * intent and gives the runner a moment to record what is known; then the runner goes, and the operator ends the run. Pure.
 */
function decideCancel(world: SessionWorld, record: RecordView, now: Date): Plan<SessionStatus> {
  const { self, pods } = world;
  const plan = decideUnheardCancel(world, now);
  const isOver = momentLeftMs(self, pods, now) <= 0;
  if (!isOver && (record.cancelled || plan.claims !== undefined)) return plan;
  const events: readonly NewEvent[] = [
    ...(record.cancelled ? [] : [{ type: "session.cancelled", data: { reason: CANCELLED } } as const]),
    ...(isOver ? [buildRunFinished(record, "Cancelled", CANCELLED)] : []),
  ];
  return { ...plan, actions: [...plan.actions, { verb: "append", uid: record.uid, events, patienceMs: PATIENCE_MS }] };
}

const CANCELLED = "spec.cancel was set.";

/** The cluster's part of a cancel, which is all of it as long as nobody knows the records because the gateway is away: the log is told when it is there. Pure. */
export function decideUnheardCancel({ self, pods }: SessionWorld, now: Date): Plan<SessionStatus> {
  const left = momentLeftMs(self, pods, now);
  if (left <= 0) return { actions: stopPods(pods), claims: undefined };
  return { actions: stopPods(pods.filter(isSandbox)), claims: isCancelling(self) ? undefined : claimCancelling(self), requeueAfterMs: left };
}

/** What is left of the runner's moment, in milliseconds; 0 or less when it is over or there is no runner. */
function momentLeftMs(self: Session, pods: readonly PodView[], now: Date): number {
  if (!pods.some(isLiveRunner)) return 0;
  const seen = conditionOf(self, "Cancelling");
  return seen?.status === "True" ? leftMs(Date.parse(seen.lastTransitionTime), CANCEL_GRACE_MS, now) : CANCEL_GRACE_MS;
}

function isCancelling(self: Session): boolean {
  return conditionOf(self, "Cancelling")?.status === "True";
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
