import { startOf } from "@paddock/api/cut";
import type { Condition } from "@paddock/api/object";
import type { Schedule, ScheduleStatus } from "@paddock/api/schedule";
import type { Session } from "@paddock/api/session";
import type { Action } from "../kernel/kind.ts";
import type { ScheduleClaim } from "./claim.ts";
import { conditionOf } from "./claim.ts";
import type { ScheduleWorld } from "./observe.ts";

const SUCCESSFUL = 3;
const FAILED = 1;

/** What the sessions there are tell about past runs. What was told once stays told when its session is gone. */
export interface Runs {
  readonly active: readonly Session[];
  readonly lastCompletionTime: string | undefined;
  readonly lastSuccessfulTime: string | undefined;
  readonly lastRun: ScheduleClaim;
}

const NO_RUN: ScheduleClaim = { type: "LastRunSucceeded", status: "Unknown", reason: "NoRun", message: "No run has finished yet." };

/** Pure. In a conversation a run has ended well when its message was taken, which the firing tells. */
export function readRuns({ self: { spec, status }, sessions }: ScheduleWorld): Runs {
  const active = sessions.filter((session) => !isFinished(session) && session.metadata.deletionTimestamp === undefined);
  const finished = finishedOf(sessions);
  const [newest] = finished;
  const told = { active, lastCompletionTime: status?.lastCompletionTime, lastSuccessfulTime: status?.lastSuccessfulTime, lastRun: toldRun(status) ?? NO_RUN };
  if (spec.sessionMode === "Resume" || newest === undefined) return told;
  const success = finished.find(isSuccess);
  // The newest one may have been deleted: one that is left tells nothing about what came after it.
  const isNews = !isOlder(endOf(newest), told.lastCompletionTime);
  return {
    active,
    lastCompletionTime: isNews ? endOf(newest) : told.lastCompletionTime,
    lastSuccessfulTime: success === undefined || isOlder(endOf(success), told.lastSuccessfulTime) ? told.lastSuccessfulTime : endOf(success),
    lastRun: isNews ? claimRun(newest) : told.lastRun,
  };
}

function endOf({ status, metadata }: Session): string {
  return status?.completionTime ?? metadata.creationTimestamp;
}

function isOlder(time: string, than: string | undefined): boolean {
  return than !== undefined && Date.parse(time) < Date.parse(than);
}

/**
 * Finished sessions beyond the limits go, oldest first. Only once status says what they tell: a crash between the two must not lose when
 * the last run succeeded. Pure.
 */
export function pruneHistory({ self, sessions }: ScheduleWorld, runs: Runs): readonly Action[] {
  if (!isTold(self.status, runs)) return [];
  const finished = finishedOf(sessions);
  const { successfulSessionsHistoryLimit = SUCCESSFUL, failedSessionsHistoryLimit = FAILED } = self.spec;
  const surplus = [...finished.filter(isSuccess).slice(successfulSessionsHistoryLimit), ...finished.filter((session) => !isSuccess(session)).slice(failedSessionsHistoryLimit)];
  return surplus.map(deleteSession);
}

export function deleteSession({ metadata: { namespace, name, uid } }: Session): Action {
  return { verb: "delete", resource: "Session", key: { namespace, name }, uid };
}

export function isFinished({ status }: Session): boolean {
  return status?.conditions?.some(({ type, status: value }) => type === "Finished" && value === "True") === true;
}

/** Newest first, without those on their way out. */
function finishedOf(sessions: readonly Session[]): readonly Session[] {
  const endedAt = (session: Session): number => Date.parse(endOf(session));
  return sessions
    .filter((session) => isFinished(session) && session.metadata.deletionTimestamp === undefined)
    .sort((a, b) => endedAt(b) - endedAt(a) || (a.metadata.name < b.metadata.name ? 1 : -1));
}

function isSuccess({ status }: Session): boolean {
  return status?.conditions?.some(({ type, status: value }) => type === "Succeeded" && value === "True") === true;
}

function claimRun(session: Session): ScheduleClaim {
  const { name, namespace } = session.metadata;
  if (isSuccess(session)) return { type: "LastRunSucceeded", status: "True", reason: "Succeeded", message: `Session ${name} completed.` };
  const { reason = "", message = "" } = session.status?.conditions?.find(({ type }) => type === "Succeeded") ?? {};
  return { type: "LastRunSucceeded", status: "False", reason: "Failed", message: `Session ${name} ended as ${reason}: ${startOf(message, 512)} See kubectl describe session ${name} -n ${namespace}` };
}

function toldRun(status: ScheduleStatus | undefined): ScheduleClaim | undefined {
  const told: Condition | undefined = conditionOf(status, "LastRunSucceeded");
  return told === undefined ? undefined : { type: "LastRunSucceeded", status: told.status, reason: told.reason as ScheduleClaim["reason"], message: told.message };
}

function isTold(status: Schedule["status"], { lastCompletionTime, lastSuccessfulTime, lastRun }: Runs): boolean {
  const told = toldRun(status);
  return status?.lastCompletionTime === lastCompletionTime && status?.lastSuccessfulTime === lastSuccessfulTime && told?.status === lastRun.status && told.message === lastRun.message;
}
