import type { SessionStatus } from "@paddock/api/session";
import type { RecordView } from "@paddock/api/wire/records";
import type { Plan } from "../kernel/kind.ts";
import { askPeople } from "./approvals.ts";
import { decideBinding } from "./binding.ts";
import { SILENT_MS, claimWaiting, completeClaims, conditionOf, isFinished } from "./claim.ts";
import { deadlineLeftMs, leftMs, requeueAt } from "./deadline.ts";
import { isGroundGone } from "./ground.ts";
import { claimIsolated } from "./isolation.ts";
import type { SessionWorld } from "./observe.ts";
import { decideDeleted, decideLeftovers, decideOutcome, planEnd, planFinish } from "./outcome.ts";
import { decideRunner } from "./runner.ts";
import { decideSandbox } from "./sandbox.ts";
import { decideStop, decideUnheardCancel } from "./stop.ts";
import { claimSuspended, decideSuspended, decideSuspension } from "./suspension.ts";
import { decideWaiting, planRelease } from "./waiting.ts";

/** What to do about a Session. Pure. */
export function decideSession(world: SessionWorld, now: Date): Plan<SessionStatus> {
  const plan = decideCase(world, now);
  return plan.claims === undefined ? plan : { ...plan, claims: [...completeClaims(world, plan.claims), claimIsolated(world)] };
}

/** A list of cases, the first that fits. */
function decideCase(world: SessionWorld, now: Date): Plan<SessionStatus> {
  const { self, record, isRecordsSynced } = world;
  if (isFinished(self)) return decideLeftovers(world, now);
  if (self.metadata.deletionTimestamp !== undefined) return decideDeleted(world);
  if (!isRecordsSynced) return awaitRecords(world, now);
  if (isLogLost(world)) return loseLog(world, now);
  if (record === undefined) return decideBinding(world, now);
  if (record.activity.kind === "Finished") return decideOutcome(world, record, record.activity);
  return decideStop(world, record, now) ?? decideSuspension(world, record) ?? decideLive(world, record, now);
}

/** What goes on, or waits; whoever waits for people has asked them. */
function decideLive(world: SessionWorld, record: RecordView, now: Date): Plan<SessionStatus> {
  const plan = decideWork(world, record, now);
  // Asked last: an Approval that is refused must not keep pods away. Of a run that is being ended nothing is asked any more.
  return isEnding(plan) ? plan : { ...plan, actions: [...plan.actions, ...askPeople(world, record)] };
}

function decideWork(world: SessionWorld, record: RecordView, now: Date): Plan<SessionStatus> {
  if (record.activity.kind === "Waiting") return decideWaiting(world, record, { wait: record.activity, now });
  if (isGroundGone(world)) return leaveGround(world, record, now);
  if (!record.suspended) return decideActive(world, record, now);
  return decideSuspended(world, record, now) ?? claimSuspended(record, decideActive(world, record, now));
}

/** Without its Environment a session keeps its log and nothing else: it goes on when there is one of that name again, or ends at its deadline. */
function leaveGround(world: SessionWorld, record: RecordView, now: Date): Plan<SessionStatus> {
  const { name } = world.self.spec.environmentRef;
  const { namespace } = record;
  const message = `Environment ${name} was deleted, so the session has no pods: it goes on when there is an Environment of that name again in namespace ${namespace} (kubectl get environments -n ${namespace}), or ends with spec.cancel: true or at its time limit`;
  return { ...planRelease(world, record, claimWaiting("EnvironmentNotFound", message)), ...requeueAt(deadlineLeftMs(record, now)) };
}

function isEnding({ actions }: Plan<SessionStatus>): boolean {
  return actions.some((action) => action.verb === "append" && action.events.some(({ type }) => type === "run.finished"));
}

// A record that is older than what status has told would run again what has run before: a lost or restored volume.
function isLogLost({ self: { status }, record }: SessionWorld): boolean {
  return record === undefined ? status?.startTime !== undefined : record.lastSeq < (status?.lastEventSeq ?? 0);
}

function decideActive(world: SessionWorld, record: RecordView, now: Date): Plan<SessionStatus> {
  const sandbox = decideSandbox(world, record, now);
  if (sandbox.imageFailure !== undefined) return planFinish(record, "ImagePullFailed", sandbox.imageFailure);
  const runner = decideRunner(world, record, { trouble: sandbox.trouble, now });
  // The runner first: a sandbox that is refused must not keep it away, and without it nobody needs one. decideStop has left the deadline in the future, and
  // neither part asks for a time that has come: never 0.
  return { ...runner, actions: isEnding(runner) ? runner.actions : [...runner.actions, ...sandbox.actions], ...requeueAt(deadlineLeftMs(record, now), sandbox.requeueAfterMs, runner.requeueAfterMs) };
}

function loseLog(world: SessionWorld, now: Date): Plan<SessionStatus> {
  const message = "The session had started, but the gateway's log of it is gone or older than this status: create a new Session once it is known what the old one has done.";
  return planEnd({ ...world, outcome: "LogLost", message }, now);
}

function awaitRecords(world: SessionWorld, now: Date): Plan<SessionStatus> {
  const { self, settings } = world;
  if (self.spec.cancel === true && world.pods.length > 0) return decideUnheardCancel(world, now);
  if (conditionOf(self, "Succeeded") !== undefined) return { actions: [], claims: undefined };
  const left = leftMs(Date.parse(self.metadata.creationTimestamp), SILENT_MS, now);
  if (left > 0) return { actions: [], claims: undefined, requeueAfterMs: left };
  return { actions: [], claims: claimWaiting("Pending", `Waiting for the gateway: see kubectl get pods -n ${settings.releaseNamespace}`) };
}
