import { z } from "zod";
import { type EventType, type LogEvent, callId, eventData } from "../log/events.ts";
import type { ApprovalState } from "../log/state.ts";
import { type EventPage, type PersonAppendReply, type StateView, type UsagePage, personAppendSchema } from "../wire/people.ts";
import type { Problem } from "../wire/problem.ts";
import type { Delta } from "../wire/runner.ts";

// What the gateway answers people, as schemas: the wire types are interfaces, and these are held to them by the compiler. What people send is
// checked by wire/people.ts itself.

const timestamp = z.iso.datetime().describe("RFC 3339, by the gateway's clock.");
const count = z.int().min(0);
const usd = z.string().regex(/^[0-9]+(\.[0-9]{1,9})?$/).describe("USD as a decimal string with at most nine decimals.");
const outcome = eventData["run.finished"].shape.outcome;
const { by, reason, decision, scope } = eventData["approval.resolved"].shape;

export const deltaSchema: z.ZodType<Delta> = z
  .object({
    turn: z.int().min(1),
    attempt: z.int().min(1),
    text: z.string().max(65536).describe("Text since the last delta.").optional(),
    discarded: z.boolean().describe("True when the attempt failed and what was shown of it is void.").optional(),
  })
  .describe("Part of an answer while the model streams it: for eyes only, never stored.");

const envelope = {
  v: z.int().min(1).describe("Version of the event schemas."),
  seq: z.int().min(1).describe("1, 2, 3 … without gaps per session."),
  at: timestamp,
  role: z.enum(["operator", "runner", "person", "gateway"]).describe("Who appended it."),
  run: z.string(),
  epoch: z.int().min(1).exactOptional(),
  batch: z.int().min(1).exactOptional(),
  by: z.string().describe("User name of the person who appended it.").exactOptional(),
  hash: z.string().describe("SHA-256 over the previous event's hash and this event's canonical JSON without this member."),
};

const eventTypes = Object.keys(eventData) as EventType[];
const [firstType, ...otherTypes] = eventTypes.map((type) => z.object({ ...envelope, type: z.literal(type), data: eventData[type] }));
if (firstType === undefined) throw new Error("there are no event types");

/** The union is closed over type and data together, which the loop above cannot show. */
export const logEventSchema = z.discriminatedUnion("type", [firstType, ...otherTypes]).describe("An event as stored and streamed.") as unknown as z.ZodType<LogEvent>;

export const eventPageSchema: z.ZodType<EventPage> = z.object({
  uid: z.string().describe("UID of the Session."),
  events: z.array(logEventSchema),
  lastSeq: count.describe("Sequence number of the log's newest event."),
  finished: z.boolean(),
});

export const personAppendReplySchema: z.ZodType<PersonAppendReply> = z.object({ uid: z.string(), event: logEventSchema }).describe("The event as stored.");

const approval: z.ZodType<Omit<ApprovalState, "seq">> = z.object({
  call: callId,
  tool: z.string(),
  fingerprint: z.string(),
  summary: z.string().describe("The arguments for people; empty once it is resolved."),
  argumentsDigest: z.string(),
  requestedAt: timestamp,
  expiresAt: timestamp,
  resolution: z.object({ decision, by, reason, scope, seq: count, at: timestamp }).exactOptional(),
});

const startOfText = { text: z.string().describe("At most 4096 bytes."), truncated: z.boolean() };

export const stateViewSchema: z.ZodType<StateView> = z
  .object({
    uid: z.string(),
    namespace: z.string(),
    name: z.string(),
    activity: z.discriminatedUnion("kind", [
      z.object({ kind: z.literal("Active") }),
      z.object({ kind: z.literal("Waiting"), for: eventData["run.waiting"].shape.for, since: timestamp }),
      z.object({ kind: z.literal("Finished"), outcome, at: timestamp }),
    ]),
    cancelled: z.boolean(),
    suspended: z.boolean(),
    approvals: z.array(approval).describe("Pending ones, and the newest that were resolved, oldest first."),
    authors: z.array(z.string()).describe("Everybody who wrote an input, the session's creator aside."),
    lastSeq: count,
    turns: count,
    toolCalls: count,
    usage: z.object({ inputTokens: count, cachedInputTokens: count, outputTokens: count, totalTokens: count, costUSD: usd.exactOptional(), uncertainCostUSD: usd.exactOptional() }),
    recentSteps: z.array(z.object({ seq: count, kind: z.enum(["model", "tool"]), name: z.string(), outcome: z.string(), seconds: z.number().min(0) })),
    deadline: timestamp.describe("When the time of the input under way is over; absent while nothing is under way.").exactOptional(),
    problem: eventData["runner.reported"].exactOptional(),
    answer: z.object(startOfText).describe("The newest answer of a session that waits.").exactOptional(),
    result: z.object({ outcome, ...startOfText, message: z.string() }).exactOptional(),
  })
  .describe("The session as it is now.");

export const usagePageSchema: z.ZodType<UsagePage> = z.object({
  from: z.iso.date(),
  to: z.iso.date(),
  rows: z.array(
    z.object({
      day: z.iso.date().exactOptional(),
      agent: z.string().exactOptional(),
      environment: z.string().exactOptional(),
      sessions: count,
      requests: count,
      inputTokens: count,
      cachedInputTokens: count,
      outputTokens: count,
      costUSD: usd.describe("Spent for certain."),
      uncertainUSD: usd.describe("Reserved for answers that were lost or told no usage: it may have been spent."),
      reservedUSD: usd.describe("Reserved for answers that are still to come."),
    }),
  ),
});

export const problemSchema: z.ZodType<Problem> = z
  .object({
    type: z.string().describe("Stable; an identifier, not an address to fetch."),
    title: z.string(),
    status: z.int().min(400).max(599),
    detail: z.string().describe("What happened and what to do."),
    refusal: z.enum(["final", "wait"]).describe("Whether asking again can help.").optional(),
  })
  .describe("Problem details (RFC 9457).");

/** Component schemas by name. */
export const peopleSchemas = {
  LogEvent: logEventSchema,
  EventPage: eventPageSchema,
  PersonAppend: personAppendSchema,
  PersonAppendReply: personAppendReplySchema,
  StateView: stateViewSchema,
  Delta: deltaSchema,
  UsagePage: usagePageSchema,
  Problem: problemSchema,
} as const;
