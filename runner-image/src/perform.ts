import type { NewEvent } from "@paddock/api/log/events";
import { Refused } from "./append.ts";
import type { Append } from "./append.ts";
import { deniedCall } from "./context/notices.ts";
import { isTurnInterrupted } from "./context/turn.ts";
import type { MadeCall } from "./context/turn.ts";
import { askModel } from "./model/ask.ts";
import type { ModelPorts } from "./model/ask.ts";
import type { Step } from "./next.ts";
import type { Hands } from "./sandbox/hands.ts";
import { decideCall } from "./tools/decision.ts";
import { cutText, finishedEvent } from "./tools/result.ts";
import { runCall } from "./tools/run.ts";
import type { ToolPorts } from "./tools/run.ts";
import type { View } from "./transcript.ts";

/** What steps are performed with. */
export interface Effects {
  view(): View;
  readonly append: Append;
  readonly hands: Hands;
  readonly runner: { readonly epoch: number; readonly podName: string; readonly podUid: string };
  readonly model: ModelPorts;
  readonly tools: ToolPorts;
  /** Ends what leaves the sandbox, and tells the log of it. */
  readonly endEgress: () => Promise<void>;
  /** Those of now: a step keeps the ones it began with. */
  readonly signals: () => { readonly model: AbortSignal; readonly calls: AbortSignal };
}

/** Does one step, to the event that records it. Rejects with Refused, Detached, or a fault. */
export async function perform(step: Exclude<Step, { kind: "exit" }>, effects: Effects): Promise<void> {
  const { append, signals } = effects;
  switch (step.kind) {
    case "askModel":
      return askModel(step, effects.model, signals().model);
    case "decideCalls":
      return decideCalls(step.calls, effects);
    case "startCall":
      return runCall(step, effects.tools, signals().calls);
    case "connectSandbox":
      return connectSandbox(step, effects);
    case "finish":
      // The log takes nothing after its end.
      await effects.endEgress();
      await append([eventOf(step, effects)]);
      return;
    default:
      await append([eventOf(step, effects)]);
  }
}

/** A sandbox that cannot be used is told to people before it is replaced: why it fails may be theirs to mend. */
async function connectSandbox(step: Extract<Step, { kind: "connectSandbox" }>, { hands, append, signals, view }: Effects): Promise<void> {
  await hands.connect(step, signals().calls);
  const held = hands.state();
  if (held?.podUid !== step.podUid || held.phase !== "failed") return;
  const subject = view().state.sandbox.bound?.podName ?? step.podUid;
  await append([{ type: "runner.reported", data: { problem: "SandboxUnreachable", subject, message: held.reason.slice(0, 2048) } }]);
}

/** Most bytes of the final answer that are told again with the end; the answer itself is in the log whole. */
const FINAL_TEXT_BYTES = 262_144;
/** The same for a session that waits: every append carries it meanwhile, and status shows less. */
const WAITING_TEXT_BYTES = 16_384;

type Recorded = Extract<Step, { kind: "startRunner" | "abandonRequest" | "finishCall" | "requestSandbox" | "reportIsolation" | "wait" | "finish" }>;

/** The event of a step that is nothing but its event. */
function eventOf(step: Recorded, { runner, view }: Effects): NewEvent {
  switch (step.kind) {
    case "startRunner":
      return { type: "runner.started", data: { ...runner, reason: step.reason, recovered: step.recovered.slice(0, 128) } };
    case "abandonRequest":
      return { type: "model.failed", data: { turn: step.turn, attempt: step.attempt, class: "cancelled", message: "The runner that waited for the answer was restarted." } };
    case "finishCall":
      return finishedEvent(step.call, step.verdict);
    case "requestSandbox":
      return { type: "sandbox.requested", data: { reason: step.reason.slice(0, 512), ...(step.replaces === undefined ? {} : { replaces: step.replaces }) } };
    case "reportIsolation":
      return { type: "isolation.reported", data: { podUid: step.podUid, probed: [...step.report.probed], open: [...step.report.open] } };
    case "wait":
      return { type: "run.waiting", data: { for: step.for, text: cutText(step.text, WAITING_TEXT_BYTES).text, through: view().state.lastSeq } };
    case "finish":
      return { type: "run.finished", data: { outcome: step.outcome, text: cutText(step.text, FINAL_TEXT_BYTES).text, reason: step.reason.slice(0, 2048), through: view().state.lastSeq } };
  }
}

/** One by one: where the log's policy is stricter than ours, it is that call which is denied. An interrupt leaves the rest without a decision. */
async function decideCalls(calls: readonly MadeCall[], { append, view }: Effects): Promise<void> {
  for (const call of calls) {
    if (isTurnInterrupted(view().events)) return;
    try {
      await append([await decideCall(view().bundle, call)]);
    } catch (error) {
      if (!(error instanceof Refused) || (error.problem !== "denied" && error.problem !== "malformed")) throw error;
      await append([finishedEvent(call.call, deniedCall(error.message))]);
    }
  }
}
