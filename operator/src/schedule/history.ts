import type { Condition } from "@paddock/api/object";
import type { Schedule, ScheduleStatus } from "@paddock/api/schedule";
import type { Session } from "@paddock/api/session";
import type { Action } from "../kernel/kind.ts";
import type { ScheduleClaim } from "./claim.ts";
import { conditionOf } from "./claim.ts";
import type { ScheduleWorld } from "./observe.ts";

const SUCCESSFUL = 3;
const FAILED = 1;

/** What the sessions there are tell about past runs. */
export interface Runs {
  readonly active: readonly Session[];
  readonly lastSuccessfulTime: string | undefined;
  readonly lastRun: ScheduleClaim;
}

/** Pure. What was told once stays told when its session is gone. */
export function readRuns({ self, sessions }: ScheduleWorld): Runs {
  const finished = finishedOf(sessions);
  const [newest] = finished;
  const ended = [self.status?.lastSuccessfulTime, finished.find(isSuccess)?.status?.completionTime].filter((time) => time !== undefined);
  const resumes = self.spec.sessionMode === "Resume";
  return {
    active: sessions.filter((session) => !isFinished(session) && session.metadata.deletionTimestamp === undefined),
    // In a conversation a run has ended well when its message was taken, which the firing tells.
    lastSuccessfulTime: resumes ? self.status?.lastSuccessfulTime : ended.sort((a, b) => Date.parse(b) - Date.parse(a))[0],
    lastRun: (newest === undefined || resumes ? toldRun(self.status) : claimRun(newest)) ?? { type: "LastRunSucceeded", status: "Unknown", reason: "NoRun", message: "No run has finished yet." },
  };
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
  const endedAt = ({ status, metadata }: Session): number => Date.parse(status?.completionTime ?? metadata.creationTimestamp);
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
  return { type: "LastRunSucceeded", status: "False", reason: "Failed", message: `Session ${name} ended as ${reason}: ${message.slice(0, 512)} See kubectl describe session ${name} -n ${namespace}` };
}

function toldRun(status: ScheduleStatus | undefined): ScheduleClaim | undefined {
  const told: Condition | undefined = conditionOf(status, "LastRunSucceeded");
  return told === undefined ? undefined : { type: "LastRunSucceeded", status: told.status, reason: told.reason as ScheduleClaim["reason"], message: told.message };
}

function isTold(status: Schedule["status"], { lastSuccessfulTime, lastRun }: Runs): boolean {
  const told = toldRun(status);
  return status?.lastSuccessfulTime === lastSuccessfulTime && told?.status === lastRun.status && told.message === lastRun.message;
}
