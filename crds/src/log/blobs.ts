import { startOf, startOfBytes } from "../cut.ts";
import { canonicalJson, sha256 } from "./canonical.ts";
import type { AssistantMessage, BlobRef, EventType, LogEvent, NewEvent } from "./events.ts";
import { BLOB_LIMITS } from "./limits.ts";

/** A payload beside its event. `text` is UTF-8 of `ref.bytes` bytes, JSON when the media type says so. */
export interface Blob {
  readonly ref: BlobRef;
  readonly text: string;
}

/** The one member of each type's data that may be too large for its event. */
const PAYLOADS: Partial<Readonly<Record<EventType, string>>> = {
  "input.received": "content",
  "model.responded": "message",
  "tool.decided": "arguments",
  "tool.finished": "content",
  "context.compacted": "summary",
  "run.waiting": "text",
  "run.finished": "text",
};

/** What stays of a name or an id that no tool and no usual endpoint has. */
const ODD_CHARS = 24;

type Data = Readonly<Record<string, unknown>>;

/** The event as it is stored: a payload over BLOB_LIMITS.inlineBytes is taken out, and what the fold and people need of it stays. Pure. */
export function detachPayload(event: NewEvent): { readonly event: NewEvent; readonly blob?: Blob } {
  const member = PAYLOADS[event.type];
  // A reference is the gateway's own: what an appender claims is dropped.
  const { blob: _, ...data } = event.data as Data;
  const plain = { type: event.type, data } as NewEvent;
  if (member === undefined) return { event: plain };
  const payload = data[member];
  const text = typeof payload === "string" ? payload : canonicalJson(payload);
  const bytes = Buffer.byteLength(text);
  if (bytes <= BLOB_LIMITS.inlineBytes && isCompact(payload)) return { event: plain };
  const ref: BlobRef = { sha256: sha256(text), bytes, mediaType: typeof payload === "string" ? "text/plain" : "application/json" };
  return { event: { type: event.type, data: { ...data, [member]: remainderOf(event.type, payload), blob: ref } } as NewEvent, blob: { ref, text } };
}

/** Reference to the payload of a stored event; undefined when the event holds it itself. */
export function payloadRef({ data }: Pick<LogEvent, "data">): BlobRef | undefined {
  return "blob" in data ? data.blob : undefined;
}

/** A stored event with its payload back in its place, as its appender sent it. Pure; throws SyntaxError when a JSON payload is none. */
export function attachPayload(event: LogEvent, text: string): LogEvent {
  const member = PAYLOADS[event.type];
  const ref = payloadRef(event);
  if (member === undefined || ref === undefined) return event;
  const payload: unknown = ref.mediaType === "text/plain" ? text : JSON.parse(text);
  return { ...event, data: { ...event.data, [member]: payload } } as LogEvent;
}

/** Whether its JSON is not much longer than the text: a control character takes six bytes of it, and what prints a binary file is full of them. */
function isCompact(payload: unknown): boolean {
  return typeof payload !== "string" || Buffer.byteLength(JSON.stringify(payload)) <= 2 * BLOB_LIMITS.inlineBytes;
}

function remainderOf(type: EventType, payload: unknown): unknown {
  if (typeof payload === "string") return startOfBytes(payload, BLOB_LIMITS.startBytes);
  if (type !== "model.responded") return {};
  const { text, toolCalls } = payload as AssistantMessage;
  // The fold counts and names the calls.
  return { text: startOfBytes(text, BLOB_LIMITS.startBytes), toolCalls: toolCalls.map(({ id, name }) => ({ id: shortened(id), name: shortened(name), arguments: "" })) };
}

/** As it is when it can be a tool's name or an endpoint's usual id; an event holds 128 of anything else only when it is cut. */
function shortened(text: string): string {
  return /^[\x20-\x7e]{0,64}$/.test(text) ? text : startOf(text, ODD_CHARS);
}
