import { LOG_VERSION, ROOT_RUN } from "@paddock/api/log/limits";
import type { Bundle } from "@paddock/api/log/bundle";
import type { EventDataOf, EventType, LogEvent, NewEvent } from "@paddock/api/log/events";
import { foldEvent, hashOf } from "@paddock/api/log/fold";
import { EMPTY_STATE } from "@paddock/api/log/state";
import type { SessionState } from "@paddock/api/log/state";
import { traceIdOf } from "@paddock/api/names";
import { fingerprintOf } from "@paddock/api/policy/rules";

// Values that tests of the log start from.

/** A bundle that parses: agent with every tool but grep, model `m` at 1 and 2 USD per million tokens, 5 turns, one hour. */
export function buildTestBundle(uid: string, change: Partial<Bundle> = {}): Bundle {
  return {
    version: 1,
    session: { uid, namespace: "team", name: `session-${uid}` },
    agent: {
      name: "agent",
      uid: "agent-uid",
      digest: "sha256:agent",
      spec: { model: { name: "m" }, instructions: "Be brief.", tools: [{ name: "bash" }, { name: "read" }, { name: "write" }, { name: "edit" }, { name: "glob", permission: "Deny" }] },
    },
    environment: {
      name: "environment",
      uid: "environment-uid",
      digest: "sha256:environment",
      // No sandbox of such tests is a pod: what it reaches proves nothing.
      spec: { models: [{ name: "m", model: "scripted", baseURL: "http://model.team.svc/v1", pricing: { inputPerMillion: "1", outputPerMillion: "2" } }], network: { enforcement: "Unverified" } },
    },
    limits: { maxTurns: 5, timeoutSeconds: 3600 },
    startTime: new Date().toISOString(),
    traceId: traceIdOf(uid),
    ...change,
  };
}

/** When, by which role and by whom events came. */
export type Came = Partial<Pick<LogEvent, "at" | "role" | "by">>;

/** The state after these events, folded without asking anybody; all came from the runner as 2026 began, unless said otherwise. */
export function foldAll(events: readonly NewEvent[], from: SessionState = EMPTY_STATE, came: Came = {}): SessionState {
  return events.reduce((state, event) => {
    const unsealed = { v: LOG_VERSION, seq: state.lastSeq + 1, at: "2026-01-01T00:00:00.000Z", role: "runner", run: ROOT_RUN, ...came, ...event } as Omit<LogEvent, "hash">;
    return foldEvent(state, { ...unsealed, hash: hashOf(state.lastHash, unsealed) } as LogEvent);
  }, from);
}

/** One event; a function only so that its data is checked against its type. */
export function event<T extends EventType>(type: T, data: EventDataOf<T>): NewEvent {
  return { type, data } as NewEvent;
}

/** `session.bound` and the prompt, as creating a record appends them. */
export function boundEvents({ limits, startTime, traceId, mode }: Bundle): NewEvent[] {
  const digests = { bundleDigest: "sha256:bundle", agentDigest: "sha256:agent", environmentDigest: "sha256:environment" };
  return [event("session.bound", { ...digests, limits, startTime, traceId, ...(mode === undefined ? {} : { mode }) }), event("input.received", { id: "prompt", content: "Hello" })];
}

export function startedEvent(podUid: string, epoch: number): NewEvent {
  return event("runner.started", { epoch, podUid, podName: `pod-${podUid}`, reason: epoch === 1 ? "new" : "resume", recovered: [] });
}

export function requestedEvent(turn: number, attempt: number, through: number): NewEvent {
  return event("model.requested", { turn, attempt, model: "m", requestDigest: "sha256:request", through });
}

/** An answer with these tool calls, or a final one. */
export function respondedEvent(turn: number, attempt: number, calls: readonly { readonly name: string; readonly arguments: string }[] = []): NewEvent {
  const toolCalls = calls.map((call, index) => ({ id: `call_${index}`, ...call }));
  const usage = { inputTokens: 10, cachedInputTokens: 0, outputTokens: 5 };
  return event("model.responded", { turn, attempt, message: { text: "Done.", toolCalls }, finishReason: toolCalls.length > 0 ? "tool_calls" : "stop", usage, seconds: 1 });
}

export function decidedEvent(bundle: Bundle, call: string, change: Partial<EventDataOf<"tool.decided">> = {}): NewEvent {
  const tool = change.tool ?? "bash";
  const args = change.arguments ?? { command: "true" };
  const fingerprint = fingerprintOf(bundle, tool, args);
  return event("tool.decided", { call, tool, fingerprint, arguments: args, effect: "Once", decision: "Allow", rule: "agent.spec.tools", ...change });
}

export function toolStartedEvent(call: string, attempt: number): NewEvent {
  return event("tool.started", { call, attempt, idempotencyKey: call, deadline: "2026-01-01T00:10:00.000Z" });
}

export function toolFinishedEvent(call: string, change: Partial<EventDataOf<"tool.finished">> = {}): NewEvent {
  return event("tool.finished", { call, status: "ok", content: "output", bytes: 6, seconds: 0.5, ...change });
}

export function runFinishedEvent(change: Partial<EventDataOf<"run.finished">> = {}): NewEvent {
  return event("run.finished", { outcome: "Completed", text: "Done.", reason: "", through: 0, ...change });
}
