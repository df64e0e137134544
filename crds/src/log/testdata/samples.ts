import { eventData } from "../events.ts";
import type { EventDataOf, EventType, LogEvent, NewEvent } from "../events.ts";
import { foldEvent, hashOf } from "../fold.ts";
import { EMPTY_STATE } from "../state.ts";
import type { SessionState } from "../state.ts";

// Logs of samples, for tests of the fold: folded without asking anybody whether an event may come.

/** What events are stamped with. */
export const AT = "2026-11-21T12:00:00.000Z";
export const limits = { maxTurns: 20, timeoutSeconds: 900 };
export const digest = `sha256:${"0".repeat(64)}`;

/** One valid payload of every type. */
export const samples: { readonly [T in EventType]: EventDataOf<T> } = {
  "session.bound": { bundleDigest: digest, agentDigest: digest, environmentDigest: digest, limits, startTime: AT, traceId: "0".repeat(32) },
  "input.received": { id: "prompt", content: "go" },
  "turn.interrupted": { id: "stop" },
  "runner.started": { epoch: 1, podUid: "pod-1", podName: "s-r1", reason: "new", recovered: [] },
  "runner.reported": { problem: "CredentialMissing", subject: "openai/api-key", message: "the Secret openai has no key api-key" },
  "model.requested": { turn: 1, attempt: 1, model: "default", requestDigest: digest, through: 3 },
  "model.failed": { turn: 1, attempt: 1, class: "overloaded", status: 503, message: "busy", delaySeconds: 2 },
  "model.responded": {
    turn: 1,
    attempt: 1,
    message: { text: "", toolCalls: [{ id: "x", name: "bash", arguments: "{}" }, { id: "x", name: "read", arguments: "{}" }] },
    finishReason: "tool_calls",
    usage: { inputTokens: 100, cachedInputTokens: 40, outputTokens: 10 },
    seconds: 1.9,
    costNanoUSD: "250",
  },
  "tool.decided": { call: "root/1/0", tool: "bash", fingerprint: digest, arguments: {}, effect: "Once", decision: "Allow", rule: "agent.spec.tools allows bash" },
  "approval.requested": { call: "root/1/0", tool: "bash", fingerprint: digest, summary: "true", argumentsDigest: digest, expiresAt: "2026-11-22T12:00:00.000Z" },
  "approval.resolved": { call: "root/1/0", fingerprint: digest, decision: "Approved", by: "ann", scope: "Once" },
  "tool.started": { call: "root/1/0", attempt: 1, idempotencyKey: "k", deadline: AT },
  "tool.finished": { call: "root/1/0", status: "ok", content: "done", bytes: 4, seconds: 1.5 },
  "sandbox.requested": { reason: "bash needs one" },
  "sandbox.bound": { podUid: "box-1", podName: "s-s1", address: "10.0.0.1" },
  "sandbox.lost": { podUid: "box-1", reason: "the pod is gone" },
  "isolation.reported": { podUid: "box-1", probed: ["metadata"], open: [] },
  "egress.decided": { host: "example.com", port: 443, decision: "Allow", rule: "r", count: 1, bytesSent: 1, bytesReceived: 2 },
  "tools.listed": { server: "mcp", tools: [{ name: "search", digest }] },
  "context.compacted": { firstKeptSeq: 2, summary: "so far", tokensBefore: 900, tokensAfter: 90 },
  "context.pruned": { firstKeptSeq: 2, tokensBefore: 900, tokensAfter: 400 },
  "guardrail.tripped": { stage: "output", rule: "r", action: "Note" },
  "session.suspended": { by: "ann" },
  "session.resumed": {},
  "budget.exceeded": { limit: "costUSD", used: "1", reserved: "0", allowed: "1" },
  "session.cancelled": { reason: "spec.cancel" },
  "run.waiting": { for: "input", text: "done", through: 5 },
  "run.finished": { outcome: "Completed", text: "done", reason: "", through: 5 },
};

/** A sample of this type, with some members changed. */
export function sample<T extends EventType>(type: T, change: Partial<EventDataOf<T>> = {}): NewEvent {
  return { type, data: { ...samples[type], ...change } } as NewEvent;
}

/** When, by which role and by whom an event came. */
export type Came = Partial<Pick<LogEvent, "at" | "role" | "by">>;

export function append(state: SessionState, event: NewEvent, came: Came = {}): SessionState {
  const bare = { v: 1, seq: state.lastSeq + 1, at: AT, role: "runner", ...came, ...event } as unknown as Omit<LogEvent, "hash">;
  return foldEvent(state, { ...bare, hash: hashOf(state.lastHash, bare) } as LogEvent);
}

export function fold(events: readonly NewEvent[], state: SessionState = EMPTY_STATE): SessionState {
  return events.reduce((folded, event) => append(folded, event), state);
}

/** Bound, asked and answered with two calls: five events. */
export const answered: readonly NewEvent[] = [sample("session.bound"), sample("input.received"), sample("runner.started"), sample("model.requested"), sample("model.responded")];

export const ALL_TYPES = Object.keys(eventData) as readonly EventType[];
