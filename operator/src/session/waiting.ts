import { DEFAULT_IDLE_TIMEOUT_SECONDS, type SessionStatus } from "@paddock/api/session";
import type { RecordView } from "@paddock/api/wire/records";
import type { Plan } from "../kernel/kind.ts";
import { describeApprovals } from "./approvals.ts";
import { type SessionClaim, claimWaiting } from "./claim.ts";
import { leftMs, requeueAt } from "./deadline.ts";
import { isGroundGone } from "./ground.ts";
import type { SessionWorld } from "./observe.ts";
import { deletePods } from "./pods.ts";
import { registerRunner } from "./runner.ts";
import { runnerStateOf } from "./runner-state.ts";
import { decideSandbox } from "./sandbox.ts";
import { isReleased } from "./slots.ts";
import { type StatusFields, buildStatus } from "./status.ts";

type Wait = Extract<RecordView["activity"], { kind: "Waiting" }>;

/**
 * A session that waits for somebody keeps its pods for a while, because what it waits for may come soon; then it gives them up: first status says that it
 * has no runner, which frees its slot, and in the next pass the pods go. A runner that is lost meanwhile is not replaced. Pure.
 */
export function decideWaiting(world: SessionWorld, record: RecordView, { wait, now }: { readonly wait: Wait; readonly now: Date }): Plan<SessionStatus> {
  const { self } = world;
  const { idleTimeoutSeconds = DEFAULT_IDLE_TIMEOUT_SECONDS } = self.spec;
  const claims = claimWait(record, wait, `after ${idleTimeoutSeconds} s of waiting it has no pods.`);
  const left = leftMs(Date.parse(wait.since), idleTimeoutSeconds * 1000, now);
  const state = runnerStateOf(world, record, now);
  if (left > 0 && state.kind === "Alive" && !isGroundGone(world)) {
    const sandbox = decideSandbox(world, record, now);
    const actions = [...registerRunner(record, state.pod), ...sandbox.actions];
    return { actions, claims, status: buildStatus(record, self.status), ...requeueAt(left, state.lostInMs, sandbox.requeueAfterMs) };
  }
  return planRelease(world, record, claims);
}

/** First status says that the session has no runner, then the pods go. Pure. */
export function planRelease({ self, pods }: SessionWorld, record: RecordView, claims: readonly SessionClaim[]): Plan<SessionStatus> {
  return { actions: isReleased(self.status) ? deletePods(pods) : [], claims, status: buildReleased(record, self.status) };
}

/** `idle`: what becomes of the pods, as the end of a sentence. A suspended session goes on when it is resumed, whatever else it waits for. */
function claimWait(record: RecordView, wait: Wait, idle: string): readonly SessionClaim[] {
  const { name, namespace } = record;
  if (record.suspended) return claimWaiting("Suspended", `Nothing new begins while spec.suspend is true; ${idle}`);
  switch (wait.for) {
    case "input":
      return claimWaiting("AwaitingInput", `The session waits for the next message; ${idle}`);
    case "tool":
      return claimWaiting("AwaitingToolResult", `The session waits for the result of a custom tool, which a client posts to /v1/namespaces/${namespace}/sessions/${name}/events as tool.finished; ${idle}`);
    case "approval":
      return claimWaiting("AwaitingApproval", `${describeApprovals(record)}; ${idle}`);
    case "resume":
      return claimWaiting("Suspended", `The session waits to be resumed; ${idle}`);
  }
}

/** Attempts go on counting, or the next pod would have the name of an old one; failures do not outlive a wait. */
function buildReleased(record: RecordView, before: SessionStatus | undefined): StatusFields {
  const runner = { ...before?.runner, podName: undefined, failuresInARow: undefined, disruptionsInARow: undefined };
  return { ...buildStatus(record, before), runner };
}
