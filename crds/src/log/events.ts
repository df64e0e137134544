import { z } from "zod";
import { tokenUsageSchema } from "./money.ts";

// The session log's contract: every event type, who may append it and what it says. Shapes only grow; `v` in the envelope
// is the version of these schemas (limits.ts).

export type Role = "operator" | "runner" | "person" | "gateway";

/** At most a year: whole seconds of it are copied into a Session's status, which holds 64 bits. */
const seconds = z.number().min(0).max(31_536_000);
const outcome = z.enum(["Completed", "MaxTurns", "BudgetExceeded", "DeadlineExceeded", "Cancelled", "ModelError", "RunnerFailed", "ImagePullFailed", "NotIsolated", "NameConflict", "LogCorrupt"]);
const digest = z.string().max(80);
const tokens = z.int().min(0);
/** Integer nano-USD as a decimal string. */
const nanoUSD = z.string().regex(/^[0-9]{1,30}$/);
/** User name of a person, as the API server knows it. */
const username = z.string().max(1024);

/**
 * Where a payload is that was too large for its event: content-addressed, readable through every session that references it. Written by
 * the gateway alone (log/blobs.ts); `bytes` are UTF-8.
 */
export const blobRef = z.object({ sha256: z.string().regex(/^sha256:[0-9a-f]{64}$/), bytes: z.int().min(0), mediaType: z.enum(["text/plain", "application/json"]) });
export type BlobRef = z.infer<typeof blobRef>;
/** When there, the whole payload is in the blob, and the event's own member holds its start or nothing. */
const blob = blobRef.optional();

/**
 * What the gateway gives a model request, and what it reserves until the answer: `inputTokens` as estimated, `outputTokens` at most (the
 * request's limit; absent when nothing bounds it), the money of both at the model's price (absent without a price).
 */
export const grantSchema = z.object({
  /** UTC day whose shared budget pays, as yyyy-mm-dd. */
  day: z.string().regex(/^[0-9]{4}-[0-9]{2}-[0-9]{2}$/),
  inputTokens: tokens,
  outputTokens: tokens.optional(),
  reservedNanoUSD: nanoUSD.optional(),
});
export type Grant = z.infer<typeof grantSchema>;

/** Limits by which the budget of one session, or of all sessions of an Environment on one UTC day, can be used up. */
export const BUDGETS = ["costUSD", "totalTokens", "costUSDPerDay"] as const;

/** Identity of a call, ours and not the provider's: `<run>/<turn>/<index>`. */
export const callId = z.string().regex(/^[a-z0-9-]{1,63}\/[0-9]{1,6}\/[0-9]{1,4}$/);

const toolCall = z.object({
  /** The provider's id: stored for the round trip, never trusted (servers send empty and repeated ones). */
  id: z.string().max(512),
  name: z.string().max(256),
  /** Arguments as the model wrote them: JSON text, possibly not valid. */
  arguments: z.string().max(2_000_000),
});

/** An assistant's message. `extra` keeps fields of the endpoint that we do not know, for the round trip to it. */
export const assistantMessage = z.object({
  text: z.string(),
  toolCalls: z.array(toolCall).max(128),
  extra: z.record(z.string(), z.unknown()).optional(),
});
export type AssistantMessage = z.infer<typeof assistantMessage>;

export const MODEL_FAILURES = ["overloaded", "rate_limited", "auth", "overflow", "truncated", "refused", "cancelled", "network", "server", "invalid"] as const;

/** Payload of each event type. */
export const eventData = {
  "session.bound": z.object({
    bundleDigest: z.string(),
    agentDigest: z.string(),
    environmentDigest: z.string(),
    limits: z.object({ maxTurns: z.int(), timeoutSeconds: z.int(), costUSD: z.string().optional(), totalTokens: z.int().optional() }),
    startTime: z.iso.datetime(),
    traceId: z.string(),
    /** Absent in logs of before it was there: a Task. */
    mode: z.enum(["Task", "Conversation"]).optional(),
  }),
  /** A message to the model; the Session's prompt is the first. `id` makes a repetition by the same author harmless. */
  "input.received": z.object({ id: z.string().min(1).max(256), content: z.string(), blob }),
  /** Somebody stopped what is under way: open calls end as cancelled, and the run waits for the next input. */
  "turn.interrupted": z.object({ id: z.string().min(1).max(256) }),
  "runner.started": z.object({
    epoch: z.int().min(1),
    podUid: z.string(),
    podName: z.string().max(253),
    reason: z.enum(["new", "resume"]),
    /** Calls that were started and not finished when this runner took over. */
    recovered: z.array(callId).max(128),
  }),
  "runner.reported": z.object({
    problem: z.enum(["CredentialMissing", "EndpointUnreachable", "SandboxUnreachable"]),
    /** Name of what is meant, e.g. a Secret and its key; never a value. */
    subject: z.string().max(512),
    message: z.string().max(2048),
  }),
  "model.requested": z.object({
    turn: z.int().min(1),
    attempt: z.int().min(1),
    model: z.string().max(63),
    requestDigest: z.string(),
    /** The last sequence number the request's messages were built from. */
    through: z.int().min(1),
    /** Tokens of the request's messages as the runner estimates them, and of output that it would like; absent in logs of before they were there. */
    inputTokens: tokens.optional(),
    maxOutputTokens: z.int().min(1).optional(),
    /** Added by the gateway; absent in logs of before it was there. */
    grant: grantSchema.optional(),
  }),
  "model.failed": z.object({
    turn: z.int().min(1),
    attempt: z.int().min(1),
    class: z.enum(MODEL_FAILURES),
    status: z.int().min(0).max(599).optional(),
    message: z.string().max(2048),
    /** Seconds until the next attempt; absent when there is none. */
    delaySeconds: seconds.optional(),
  }),
  "model.responded": z.object({
    turn: z.int().min(1),
    attempt: z.int().min(1),
    message: assistantMessage,
    blob,
    finishReason: z.string().max(64),
    /** Absent when the endpoint reported none. */
    usage: tokenUsageSchema.optional(),
    seconds,
    /** nano-USD as a decimal string, added by the gateway; absent when the price or the usage is unknown. */
    costNanoUSD: z.string().regex(/^[0-9]+$/).optional(),
  }),
  "tool.decided": z.object({
    call: callId,
    tool: z.string().max(256),
    fingerprint: z.string(),
    arguments: z.record(z.string(), z.unknown()),
    blob,
    effect: z.enum(["Pure", "Idempotent", "Once"]),
    decision: z.enum(["Allow", "Ask", "Deny"]),
    rule: z.string().max(512),
  }),
  /** Follows each tool.decided with Ask whose fingerprint nobody has approved for the session. */
  "approval.requested": z.object({
    call: callId,
    tool: z.string().max(256),
    fingerprint: digest,
    /** The arguments for people: escaped, cut, and at most 2048 characters. */
    summary: z.string().max(2048),
    argumentsDigest: digest,
    /** RFC 3339; undecided then is denied. */
    expiresAt: z.iso.datetime(),
  }),
  "approval.resolved": z.object({
    call: callId,
    fingerprint: digest,
    decision: z.enum(["Approved", "Denied", "Expired"]),
    /** Who decided; absent when it expired. */
    by: username.optional(),
    reason: z.string().max(1024).optional(),
    scope: z.enum(["Once", "Session"]),
  }),
  "tool.started": z.object({
    call: callId,
    attempt: z.int().min(1),
    /** Stable over attempts, for tools that understand one. */
    idempotencyKey: z.string().max(256),
    /** RFC 3339; the tool is stopped then. */
    deadline: z.iso.datetime(),
  }),
  "tool.finished": z.object({
    call: callId,
    status: z.enum(["ok", "error", "timeout", "cancelled", "denied", "indeterminate"]),
    content: z.string(),
    blob,
    /** Size of the whole result in bytes, before it was cut to fit. */
    bytes: z.int().min(0),
    truncated: z.boolean().optional(),
    seconds,
    note: z.string().max(2048).optional(),
  }),
  "sandbox.requested": z.object({ reason: z.string().max(512), /** UID of the pod that it replaces. */ replaces: z.string().optional() }),
  "sandbox.bound": z.object({ podUid: z.string(), podName: z.string().max(253), address: z.string().max(64) }),
  "sandbox.lost": z.object({ podUid: z.string(), reason: z.string().max(1024) }),
  /** What the sandbox's probe could reach that it should not; `open` empty means isolated. */
  "isolation.reported": z.object({ podUid: z.string(), probed: z.array(z.string().max(256)).max(256), open: z.array(z.string().max(256)).max(256) }),
  /** One decision about traffic of the sandbox, or several alike of one minute; `credential` is a name, never a value. */
  "egress.decided": z.object({
    host: z.string().max(253),
    port: z.int().min(1).max(65535),
    method: z.string().max(32).optional(),
    decision: z.enum(["Allow", "Deny"]),
    rule: z.string().max(512),
    credential: z.string().max(63).optional(),
    /** 0: more bytes of what was counted before. */
    count: z.int().min(0),
    bytesSent: z.int().min(0),
    bytesReceived: z.int().min(0),
  }),
  /** Definitions of tools that are not built in, when first seen or changed. */
  "tools.listed": z.object({ server: z.string().max(63), tools: z.array(z.object({ name: z.string().max(256), digest })).max(512) }),
  /** The conversation before `firstKeptSeq` is replaced by `summary` in every later request. */
  "context.compacted": z.object({ firstKeptSeq: z.int().min(1), summary: z.string(), blob, tokensBefore: tokens, tokensAfter: tokens }),
  /** Results of calls before `firstKeptSeq` are left out of every later request. */
  "context.pruned": z.object({ firstKeptSeq: z.int().min(1), tokensBefore: tokens, tokensAfter: tokens }),
  "guardrail.tripped": z.object({ stage: z.enum(["input", "output", "tool"]), rule: z.string().max(512), action: z.enum(["Note", "Stop"]) }),
  /** Nothing new begins until session.resumed; what runs is finished. `by` asked for it, when that is known. */
  "session.suspended": z.object({ by: username.optional() }),
  "session.resumed": z.object({ by: username.optional() }),
  "session.cancelled": z.object({ reason: z.string().max(1024) }),
  /** A model request was refused for money or tokens. Amounts of USD as decimal strings, of tokens as integers in decimal. */
  "budget.exceeded": z.object({ limit: z.enum(BUDGETS), used: z.string().max(64), reserved: z.string().max(64), allowed: z.string().max(64) }),
  /**
   * Nothing can be done until somebody acts: says the next message (`input`), decides (`approval`), gives the result of a custom tool
   * (`tool`) or resumes (`resume`). The session needs no pod meanwhile.
   */
  "run.waiting": z.object({
    for: z.enum(["input", "approval", "tool", "resume"]),
    /** The newest answer or its start, for status; the whole is in model.responded. */
    text: z.string(),
    blob,
    /** The last sequence number the decision to wait has seen. */
    through: z.int().min(0),
  }),
  "run.finished": z.object({
    outcome,
    text: z.string(),
    blob,
    /** What happened and what to do; empty for Completed. */
    reason: z.string().max(2048),
    /** The last sequence number the decision to finish has seen. */
    through: z.int().min(0),
  }),
} as const;

export type EventType = keyof typeof eventData;
export type EventDataOf<T extends EventType> = z.infer<(typeof eventData)[T]>;

/** An event before it is stored. */
export type NewEvent = { [T in EventType]: { readonly type: T; readonly data: EventDataOf<T> } }[EventType];

/**
 * Which role may append which type; the gateway appends the first two while it creates a record for the operator. A person's tool.finished
 * is the result of a custom tool, the gateway's its time-out.
 */
export const APPENDERS: Readonly<Record<EventType, readonly Role[]>> = {
  "session.bound": ["operator"],
  "input.received": ["operator", "person"],
  "turn.interrupted": ["person"],
  "runner.started": ["runner"],
  "runner.reported": ["runner"],
  "model.requested": ["runner"],
  "model.failed": ["runner"],
  "model.responded": ["runner"],
  "tool.decided": ["runner"],
  "tool.started": ["runner"],
  "tool.finished": ["runner", "person", "gateway"],
  "approval.requested": ["gateway"],
  "approval.resolved": ["operator", "gateway"],
  "sandbox.requested": ["runner"],
  "sandbox.bound": ["operator"],
  "sandbox.lost": ["operator"],
  "isolation.reported": ["runner"],
  "egress.decided": ["runner"],
  "tools.listed": ["runner"],
  "context.compacted": ["runner"],
  "context.pruned": ["runner"],
  "guardrail.tripped": ["runner"],
  "session.suspended": ["operator"],
  "session.resumed": ["operator"],
  "session.cancelled": ["operator"],
  "budget.exceeded": ["gateway"],
  "run.waiting": ["runner"],
  "run.finished": ["runner", "operator", "gateway"],
};

interface Envelope {
  /** Version of the event schemas. */
  readonly v: number;
  /** 1, 2, 3 … without gaps per session. */
  readonly seq: number;
  /** RFC 3339 by the gateway's clock; information only. */
  readonly at: string;
  readonly role: Role;
  /** `root`; subagents will have their own. */
  readonly run: string;
  readonly epoch?: number;
  readonly batch?: number;
  /** User name of the person who appended it. */
  readonly by?: string;
  /** SHA-256 over the previous event's hash and this event's canonical JSON without `hash`. */
  readonly hash: string;
}

/** An event as stored and streamed. */
export type LogEvent = { [T in EventType]: Envelope & { readonly type: T; readonly data: EventDataOf<T> } }[EventType];
export type LogEventOf<T extends EventType> = Extract<LogEvent, { type: T }>;

const newEvent = z.object({ type: z.string(), data: z.unknown() });

/**
 * A checked event from untrusted JSON. Returns the event with unknown members dropped, or a sentence that names type, field and fault.
 */
export function parseNewEvent(value: unknown): { readonly event: NewEvent } | { readonly fault: string } {
  const shape = newEvent.safeParse(value);
  if (!shape.success) return { fault: "an event is an object {type, data}" };
  const { type } = shape.data;
  if (!Object.hasOwn(eventData, type)) return { fault: `no event type is called ${JSON.stringify(type.slice(0, 64))}` };
  const data = eventData[type as EventType].safeParse(shape.data.data);
  if (!data.success) return { fault: `${type}: ${z.prettifyError(data.error)}` };
  return { event: { type, data: data.data } as NewEvent };
}
