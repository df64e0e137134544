import type { SessionStatus } from "@paddock/api/session";
import { runnerPodName } from "@paddock/api/names";
import type { RecordView } from "@paddock/api/wire/records";
import type { Action, Plan } from "../kernel/kind.ts";
import { buildRunnerPod } from "../pods/runner.ts";
import { type SessionClaim, claimWaiting } from "./claim.ts";
import { leftMs } from "./deadline.ts";
import { groundOf } from "./ground.ts";
import type { SessionWorld } from "./observe.ts";
import { planFinish } from "./outcome.ts";
import { describeWait } from "./pod-trouble.ts";
import { deletePods, isRunning, supersededPods } from "./pods.ts";
import { type RunnerState, runnerStateOf } from "./runner-state.ts";
import type { SandboxPart } from "./sandbox.ts";
import { buildStatus, hasProgressed } from "./status.ts";

type Counted = Extract<RunnerState, { kind: "Counted" }>;
type Alive = Extract<RunnerState, { kind: "Alive" }>;
type Lost = Extract<RunnerState, { kind: "Lost" }>;

/** Runner pods in a row that may end without progress of the log. */
const MAX_FAILURES = 3;
const FIRST_DELAY_MS = 1_000;

/** A session that is over by then never shows Running: one status write less for each short one. */
const TELL_AFTER_MS = 5_000;

/** Long enough for the stream to show a registration; only a lost answer makes us ask again. */
const REGISTER_RETRY_MS = 5_000;

/** Keeps one runner pod alive: an attempt is counted in status first and made in the next pass. `trouble`: why the sandbox does not come up. Pure. */
export function decideRunner(world: SessionWorld, record: RecordView, { trouble, now }: { readonly trouble: SandboxPart["trouble"]; readonly now: Date }): Plan<SessionStatus> {
  const state = runnerStateOf(world, record, now);
  switch (state.kind) {
    case "New":
      return countAttempt(world, record, { attempt: 1, failures: 0, claims: claimStarting(runnerPodName(record.name, 1)) });
    case "Counted":
      return makeRunner(world, record, { state, now });
    case "Alive":
      return tellProgress(world, record, { state, trouble, now });
    case "Lost":
      return replaceRunner(world, record, { state, now });
  }
}

function countAttempt(
  { self }: SessionWorld, record: RecordView, { attempt, failures, claims }: { readonly attempt: number; readonly failures: number; readonly claims: readonly SessionClaim[] },
): Plan<SessionStatus> {
  const runner = {
    podName: runnerPodName(record.name, attempt),
    attempts: attempt,
    failuresInARow: failures === 0 ? undefined : failures,
    replacesPodUID: record.runner.podUid,
  };
  return { actions: [], claims, status: { ...buildStatus(record, self.status), runner } };
}

function makeRunner(world: SessionWorld, record: RecordView, { state: { attempt }, now }: { readonly state: Counted; readonly now: Date }): Plan<SessionStatus> {
  const ground = groundOf(world);
  if (!ground.isFirm) return { actions: [], claims: claimWaiting(ground.reason, ground.message) };
  const names = { name: runnerPodName(record.name, attempt), evidence: runnerPodName(record.name, attempt - 1) };
  const object = buildRunnerPod({ session: world.self, bundle: record.bundle, settings: world.settings }, attempt, now);
  return { actions: [...deletePods(supersededPods(world.pods, "runner", names)), { verb: "create", object }], claims: undefined };
}

function tellProgress(
  { self }: SessionWorld, record: RecordView, { state, trouble, now }: { readonly state: Alive; readonly trouble: SandboxPart["trouble"]; readonly now: Date },
): Plan<SessionStatus> {
  const { pod, attempt, disconnectedLeftMs } = state;
  const actions = pod.metadata.deletionTimestamp === undefined ? register(record, pod.metadata) : [];
  const retry = actions.length === 0 ? {} : { requeueAfterMs: REGISTER_RETRY_MS };
  const untold = leftMs(Date.parse(record.bundle.startTime), TELL_AFTER_MS, now);
  if (untold > 0) return { actions, claims: undefined, requeueAfterMs: untold };
  const again = disconnectedLeftMs === undefined ? retry : { requeueAfterMs: disconnectedLeftMs };
  const status = buildStatus(record, self.status);
  if (!isRunning(pod)) {
    const wait = describeWait(pod);
    // A first attempt that simply takes its time has been told already.
    if (wait === undefined && attempt > 1) return { actions, claims: undefined, status, ...again };
    return { actions, claims: claimStarting(pod.metadata.name, wait), status, ...again };
  }
  if (trouble !== undefined) return { actions, claims: claimWaiting(trouble.reason, trouble.message), status, ...again };
  return { actions, claims: claimRunning(record, pod.metadata.name), status, ...again };
}

/** The gateway believes only a pod that it was told of, and takes the newest for the session's runner. */
function register(record: RecordView, { uid, name }: { readonly uid: string; readonly name: string }): readonly Action[] {
  if (record.runner.podUid === uid) return [];
  return [{ verb: "register", podUid: uid, registration: { sessionUid: record.uid, component: "runner", podName: name } }];
}

function replaceRunner(world: SessionWorld, record: RecordView, { state, now }: { readonly state: Lost; readonly now: Date }): Plan<SessionStatus> {
  const { attempt, reason, pod, at } = state;
  // Only a registered pod counts as tried: by its UID the next attempt tells whether its own pod has been there.
  const unregistered = pod === undefined ? [] : register(record, pod.metadata);
  if (unregistered.length > 0) return { actions: unregistered, claims: undefined, requeueAfterMs: REGISTER_RETRY_MS };
  const { status: before } = world.self;
  const failures = hasProgressed(record, before) ? 1 : (before?.runner?.failuresInARow ?? 0) + 1;
  if (failures >= MAX_FAILURES) return planFinish(record, "RunnerFailed", `${MAX_FAILURES} runner pods in a row ended without progress. ${reason}.`);
  const claims = claimWaiting("Retrying", `${reason}; attempt ${attempt + 1} takes over.`);
  const left = at === undefined ? 0 : leftMs(at, FIRST_DELAY_MS * 2 ** (failures - 1), now);
  if (left > 0) return { actions: [], claims, status: buildStatus(record, before), requeueAfterMs: left };
  return countAttempt(world, record, { attempt: attempt + 1, failures, claims });
}

function claimStarting(podName: string, wait?: string): readonly SessionClaim[] {
  return claimWaiting("Starting", wait ?? `Pod ${podName} is being started.`);
}

// A problem stays in the record; once the model has answered it is history as far as anybody can tell.
function claimRunning({ problem, turns }: RecordView, podName: string): readonly SessionClaim[] {
  if (problem === undefined) return claimWaiting("Running", `Pod ${podName} runs.`);
  const message = `${problem.problem} (${problem.subject}): ${problem.message}`;
  return turns === 0 ? claimWaiting("Retrying", message) : claimWaiting("Running", `Pod ${podName} runs. It reported ${message}`);
}
