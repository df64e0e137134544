import { runnerPodName } from "@paddock/api/names";
import type { SessionStatus } from "@paddock/api/session";
import type { RecordView } from "@paddock/api/wire/records";
import type { Action, Plan } from "../kernel/kind.ts";
import { buildRunnerPod } from "../pods/runner.ts";
import type { PodView } from "../sources.ts";
import { findObstacle } from "./binding.ts";
import { type SessionClaim, claimWaiting } from "./claim.ts";
import { leftMs, requeueAt } from "./deadline.ts";
import { groundOf } from "./ground.ts";
import { describeImageFailure, imageTroubleOf } from "./image-trouble.ts";
import type { SessionWorld } from "./observe.ts";
import { planFinish } from "./outcome.ts";
import { describeWait, slowStartLeftMs } from "./pod-trouble.ts";
import { deletePods, isRunning, supersededPods } from "./pods.ts";
import { planHindered, planQueued } from "./queued.ts";
import { type RunnerState, runnerStateOf } from "./runner-state.ts";
import { CREATE_RETRY_MS, type SandboxPart } from "./sandbox.ts";
import { isReleased } from "./slots.ts";
import { buildStatus, hasProgressed } from "./status.ts";

type Counted = Extract<RunnerState, { kind: "Counted" }>;
type Alive = Extract<RunnerState, { kind: "Alive" }>;
type Lost = Extract<RunnerState, { kind: "Lost" }>;

/** Runner pods in a row that may end without progress of the log. */
const MAX_FAILURES = 3;
const FIRST_DELAY_MS = 1_000;

/** Runner pods in a row that the cluster may take away without progress of the log: a node that takes all of them away has to end some time, too. */
const MAX_DISRUPTIONS = 10;
const MAX_DELAY_MS = 60_000;

/** A session that is over by then never shows Running: one status write less for each short one. */
const TELL_AFTER_MS = 5_000;

/** Long enough for the stream to show a registration; only a lost answer makes us ask again. */
const REGISTER_RETRY_MS = 5_000;

/** Keeps one runner pod alive: an attempt is counted in status first and made in the next pass. `trouble`: why the sandbox does not come up. Pure. */
export function decideRunner(world: SessionWorld, record: RecordView, { trouble, now }: { readonly trouble: SandboxPart["trouble"]; readonly now: Date }): Plan<SessionStatus> {
  const state = runnerStateOf(world, record, now);
  switch (state.kind) {
    case "New":
      return startRunner(world, record, state.attempt);
    case "Counted":
      return makeRunner(world, record, { state, now });
    case "Alive":
      return isRunning(state.pod) ? tellProgress(world, record, { state, trouble, now }) : tellStart(world, record, { state, now });
    case "Lost":
      return replaceRunner(world, record, { state, now });
  }
}

/** The first attempt, or the first after a session that had given up its pods goes on, which needs a slot and a firm ground anew. */
function startRunner(world: SessionWorld, record: RecordView, attempt: number): Plan<SessionStatus> {
  const { self, queued } = world;
  const obstacle = isReleased(self.status) ? findObstacle(world) : undefined;
  const waiting = obstacle === undefined ? queued && planQueued(self, queued, buildStatus(record, self.status)) : planHindered(self, obstacle, buildStatus(record, self.status));
  // Pods that were given up may still be there, and their runner has heard the same call.
  if (waiting !== undefined) return { ...waiting, actions: deletePods(world.pods) };
  return countAttempt(world, record, { attempt, failures: 0, disruptions: 0, claims: claimStarting(runnerPodName(record.name, attempt)) });
}

interface Attempt {
  readonly attempt: number;
  readonly failures: number;
  readonly disruptions: number;
  readonly claims: readonly SessionClaim[];
}

function countAttempt({ self }: SessionWorld, record: RecordView, { attempt, failures, disruptions, claims }: Attempt): Plan<SessionStatus> {
  const runner = {
    podName: runnerPodName(record.name, attempt),
    attempts: attempt,
    failuresInARow: failures === 0 ? undefined : failures,
    disruptionsInARow: disruptions === 0 ? undefined : disruptions,
    replacesPodUID: record.runner.podUid,
  };
  return { actions: [], claims, status: { ...buildStatus(record, self.status), runner } };
}

function makeRunner(world: SessionWorld, record: RecordView, { state: { attempt }, now }: { readonly state: Counted; readonly now: Date }): Plan<SessionStatus> {
  const ground = groundOf(world);
  if (!ground.isFirm) return { actions: [], claims: claimWaiting(ground.reason, ground.message) };
  const names = { name: runnerPodName(record.name, attempt), evidence: runnerPodName(record.name, attempt - 1) };
  const object = buildRunnerPod({ session: world.self, bundle: record.bundle, deadline: record.deadline, settings: world.settings }, attempt, now);
  return { actions: [...deletePods(supersededPods(world.pods, "runner", names)), { verb: "create", object }], claims: undefined, requeueAfterMs: CREATE_RETRY_MS };
}

function tellProgress(
  { self }: SessionWorld, record: RecordView, { state, trouble, now }: { readonly state: Alive; readonly trouble: SandboxPart["trouble"]; readonly now: Date },
): Plan<SessionStatus> {
  const { pod, lostInMs } = state;
  const actions = registerRunner(record, pod);
  const untold = untoldLeftMs(record, now);
  if (untold > 0) return { actions, claims: undefined, requeueAfterMs: untold };
  const claims = trouble === undefined ? claimRunning(record, pod.metadata.name) : claimWaiting(trouble.reason, trouble.message);
  return { actions, claims, status: buildStatus(record, self.status), ...requeueAt(lostInMs, retryOf(actions)) };
}

/** A pod that does not run yet: what it waits for is told, and an image that never comes ends the session. */
function tellStart({ self, settings }: SessionWorld, record: RecordView, { state, now }: { readonly state: Alive; readonly now: Date }): Plan<SessionStatus> {
  const { pod, attempt, lostInMs } = state;
  const actions = registerRunner(record, pod);
  const untold = untoldLeftMs(record, now);
  if (untold > 0) return { actions, claims: undefined, requeueAfterMs: untold };
  const image = imageTroubleOf(self, pod, now);
  if (image?.kind === "Failed") {
    const fix = `It is the release's own: whoever runs Paddock (namespace ${settings.releaseNamespace}) can correct it, or spec.imagePullSecrets of Environment ${record.bundle.environment.name} lets nodes pull it`;
    return planFinish(record, "ImagePullFailed", describeImageFailure(image.wait, settings.runnerImage, fix));
  }
  const wait = describeWait(pod, now);
  const slow = slowStartLeftMs(pod, now);
  const again = requeueAt(lostInMs, retryOf(actions), image?.leftMs, slow === 0 ? undefined : slow);
  // A later attempt keeps what was told about the one before it.
  const claims = wait === undefined && attempt > 1 ? undefined : claimStarting(pod.metadata.name, wait);
  return { actions, claims, status: buildStatus(record, self.status), ...again };
}

function untoldLeftMs({ bundle }: RecordView, now: Date): number {
  return leftMs(Date.parse(bundle.startTime), TELL_AFTER_MS, now);
}

/** The gateway believes only a pod that it was told of, and takes the newest for the session's runner. A pod that is being deleted is none to believe. */
export function registerRunner(record: RecordView, { metadata }: PodView): readonly Action[] {
  return metadata.deletionTimestamp === undefined ? register(record, metadata) : [];
}

function register(record: RecordView, { uid, name }: { readonly uid: string; readonly name: string }): readonly Action[] {
  if (record.runner.podUid === uid) return [];
  return [{ verb: "register", podUid: uid, registration: { sessionUid: record.uid, component: "runner", podName: name } }];
}

function retryOf(actions: readonly Action[]): number | undefined {
  return actions.length === 0 ? undefined : REGISTER_RETRY_MS;
}

function replaceRunner(world: SessionWorld, record: RecordView, { state, now }: { readonly state: Lost; readonly now: Date }): Plan<SessionStatus> {
  const { attempt, reason, pod, at } = state;
  // Only a registered pod counts as tried: by its UID the next attempt tells whether its own pod has been there.
  const unregistered = pod === undefined ? [] : register(record, pod.metadata);
  if (unregistered.length > 0) return { actions: unregistered, claims: undefined, requeueAfterMs: REGISTER_RETRY_MS };
  const { status: before } = world.self;
  const counters = countLoss(state, hasProgressed(record, before) ? undefined : before?.runner);
  if (counters.failures >= MAX_FAILURES) return planFinish(record, "RunnerFailed", `${MAX_FAILURES} runner pods in a row ended without progress. ${reason}.`);
  if (counters.disruptions >= MAX_DISRUPTIONS) return planFinish(record, "RunnerFailed", `The cluster took away ${MAX_DISRUPTIONS} runner pods in a row before the session made progress. ${reason}.`);
  const claims = claimWaiting("Retrying", `${reason}; attempt ${attempt + 1} takes over.`);
  const left = at === undefined ? 0 : leftMs(at, restMs(state, counters), now);
  if (left > 0) return { actions: [], claims, status: buildStatus(record, before), requeueAfterMs: left };
  return countAttempt(world, record, { attempt: attempt + 1, ...counters, claims });
}

type Counters = Pick<Attempt, "failures" | "disruptions">;

/** What the cluster takes away is not the runner's failure, but it makes no progress either: both are counted, apart. */
function countLoss({ isDisruption }: Lost, before: NonNullable<SessionStatus["runner"]> | undefined): Counters {
  const { failuresInARow: failures = 0, disruptionsInARow: disruptions = 0 } = before ?? {};
  return isDisruption ? { failures, disruptions: disruptions + 1 } : { failures: failures + 1, disruptions };
}

function restMs({ isDisruption }: Lost, { failures, disruptions }: Counters): number {
  return Math.min(FIRST_DELAY_MS * 2 ** ((isDisruption ? disruptions : failures) - 1), MAX_DELAY_MS);
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
