import { z } from "zod";
import { tokenUsageSchema } from "./money.ts";

// The session log's contract: every event type, who may append it and what it says. Shapes only grow; `v` in the envelope
// is the version of these schemas (limits.ts).

export type Role = "operator" | "runner" | "person" | "gateway";

/** At most a year: whole seconds of it are copied into a Session's status, which holds 64 bits. */
const seconds = z.number().min(0).max(31_536_000);
const outcome = z.enum(["Completed", "MaxTurns", "DeadlineExceeded", "Cancelled", "ModelError", "RunnerFailed", "ImagePullFailed", "NotIsolated", "NameConflict"]);

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
    limits: z.object({ maxTurns: z.int(), timeoutSeconds: z.int() }),
    startTime: z.iso.datetime(),
    traceId: z.string(),
    /** Absent in logs of before it was there: a Task. */
    mode: z.enum(["Task", "Conversation"]).optional(),
  }),
  /** A message to the model; the Session's prompt is the first. `id` makes a repetition by the same author harmless. */
  "input.received": z.object({ id: z.string().min(1).max(256), content: z.string() }),
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
    effect: z.enum(["Pure", "Idempotent", "Once"]),
    decision: z.enum(["Allow", "Deny"]),
    rule: z.string().max(512),
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
    /** Size of the whole result in bytes, before it was cut to fit. */
    bytes: z.int().min(0),
    truncated: z.boolean().optional(),
    seconds,
    note: z.string().max(2048).optional(),
  }),
  "sandbox.requested": z.object({ reason: z.string().max(512), /** UID of the pod that it replaces. */ replaces: z.string().optional() }),
  "sandbox.bound": z.object({ podUid: z.string(), podName: z.string().max(253), address: z.string().max(64) }),
  "sandbox.lost": z.object({ podUid: z.string(), reason: z.string().max(1024) }),
  "session.cancelled": z.object({ reason: z.string().max(1024) }),
  /** A Conversation has answered every input and waits; the next input makes it active again. */
  "run.waiting": z.object({
    for: z.enum(["input"]),
    /** The answer or its start, for status; the whole is in model.responded. */
    text: z.string(),
    /** The last sequence number the decision to wait has seen. */
    through: z.int().min(0),
  }),
  "run.finished": z.object({
    outcome,
    text: z.string(),
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

/** Which role may append which type; the gateway appends the first two while it creates a record for the operator. */
export const APPENDERS: Readonly<Record<EventType, readonly Role[]>> = {
  "session.bound": ["operator"],
  "input.received": ["operator", "person"],
  "runner.started": ["runner"],
  "runner.reported": ["runner"],
  "model.requested": ["runner"],
  "model.failed": ["runner"],
  "model.responded": ["runner"],
  "tool.decided": ["runner"],
  "tool.started": ["runner"],
  "tool.finished": ["runner"],
  "sandbox.requested": ["runner"],
  "sandbox.bound": ["operator"],
  "sandbox.lost": ["operator"],
  "session.cancelled": ["operator"],
  "run.waiting": ["runner"],
  "run.finished": ["runner", "operator"],
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
