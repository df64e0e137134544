import { DEFAULT_IDLE_TIMEOUT_SECONDS, type SessionStatus } from "@paddock/api/session";
import type { RecordView } from "@paddock/api/wire/records";
import type { Plan } from "../kernel/kind.ts";
import { claimWaiting } from "./claim.ts";
import { leftMs, requeueAt } from "./deadline.ts";
import type { SessionWorld } from "./observe.ts";
import { deletePods } from "./pods.ts";
import { registerRunner } from "./runner.ts";
import { runnerStateOf } from "./runner-state.ts";
import { decideSandbox } from "./sandbox.ts";
import { isReleased } from "./slots.ts";
import { type StatusFields, buildStatus } from "./status.ts";

/**
 * A Conversation that has answered keeps its pods for a while, because the next message may come soon; then it gives them up: first status says that it
 * has no runner, which frees its slot, and in the next pass the pods go. A runner that is lost meanwhile is not replaced. Pure.
 */
export function decideWaiting(world: SessionWorld, record: RecordView, { since, now }: { readonly since: string; readonly now: Date }): Plan<SessionStatus> {
  const { self, pods } = world;
  const { idleTimeoutSeconds = DEFAULT_IDLE_TIMEOUT_SECONDS } = self.spec;
  const claims = claimWaiting("AwaitingInput", `The agent has answered and waits for the next message; after ${idleTimeoutSeconds} s of waiting it has no pods.`);
  const left = leftMs(Date.parse(since), idleTimeoutSeconds * 1000, now);
  const state = runnerStateOf(world, record, now);
  if (left > 0 && state.kind === "Alive") {
    const sandbox = decideSandbox(world, record, now);
    const actions = [...registerRunner(record, state.pod), ...sandbox.actions];
    return { actions, claims, status: buildStatus(record, self.status), ...requeueAt(left, state.lostInMs, sandbox.requeueAfterMs) };
  }
  return { actions: isReleased(self.status) ? deletePods(pods) : [], claims, status: buildReleased(record, self.status) };
}

/** Attempts go on counting, or the next pod would have the name of an old one; failures do not outlive an answer. */
function buildReleased(record: RecordView, before: SessionStatus | undefined): StatusFields {
  const runner = { ...before?.runner, podName: undefined, failuresInARow: undefined, disruptionsInARow: undefined };
  return { ...buildStatus(record, before), runner };
}
