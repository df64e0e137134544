import { randomUUID } from "node:crypto";
import type { Queryable } from "./postgres-connection.ts";

export const BROADCASTS = "paddock_broadcasts";

/** Characters of one part; a notification with its head stays under Postgres' 8000 bytes. */
const PART_CHARS = 7600;
/** Text that waits for being sent at most; what is more is dropped: a broadcast is for eyes. */
const WAITING_BYTES = 8 * 1024 * 1024;
/** Texts in one statement. */
const GROUP = 64;

export interface Broadcaster {
  /** Tells the other replicas. Resolves when it was sent or cannot be. Never rejects. */
  send(text: string): Promise<void>;
  /** A notification of BROADCASTS. */
  heard(payload: string): void;
  /** Parts of before will not be completed any more. */
  forget(): void;
  onText(listener: (text: string) => void): () => void;
}

export interface BroadcasterOptions {
  readonly on: Queryable;
  readonly replica: string;
  /** Told of a listener that throws. */
  report(error: unknown): void;
}

/** Texts of any characters, in order, in parts that a notification holds. */
export function openBroadcaster({ on, replica, report }: BroadcasterOptions): Broadcaster {
  const listeners = new Set<(text: string) => void>();
  const partial = new Map<string, string[]>();
  const waiting: { readonly parts: readonly string[]; readonly bytes: number; sent(): void }[] = [];
  let waitingBytes = 0;
  let isSending = false;

  const sendAll = async (): Promise<void> => {
    isSending = true;
    while (waiting.length > 0) {
      const group = waiting.splice(0, GROUP);
      const payloads = group.flatMap(({ parts }) => parts);
      await on.query(`SELECT count(pg_notify('${BROADCASTS}', part)) FROM unnest($1::text[]) AS part`, [payloads]).catch(() => undefined);
      for (const { bytes, sent } of group) {
        waitingBytes -= bytes;
        sent();
      }
    }
    isSending = false;
  };

  return {
    send: (text) => {
      const bytes = Buffer.byteLength(text);
      if (waitingBytes + bytes > WAITING_BYTES) return Promise.resolve();
      const { promise, resolve } = Promise.withResolvers<void>();
      waitingBytes += bytes;
      waiting.push({ parts: partsOf(replica, text), bytes, sent: resolve });
      if (!isSending) void sendAll();
      return promise;
    },
    heard: (payload) => {
      const part = parsePart(payload);
      if (part === undefined || part.replica === replica) return;
      const text = complete(partial, part);
      if (text === undefined) return;
      for (const listener of listeners) {
        try {
          listener(text);
        } catch (error) {
          report(error);
        }
      }
    },
    forget: () => partial.clear(),
    onText: (listener) => {
      const own = (text: string): void => listener(text);
      listeners.add(own);
      return () => void listeners.delete(own);
    },
  };
}

interface Part {
  readonly replica: string;
  readonly id: string;
  readonly index: number;
  readonly count: number;
  readonly content: string;
}

/** `<replica> <id> <index> <count> <base64>`: a notification is text without NUL. Pure but for the id. */
export function partsOf(replica: string, text: string): readonly string[] {
  const content = Buffer.from(text).toString("base64");
  const count = Math.max(1, Math.ceil(content.length / PART_CHARS));
  const id = randomUUID();
  return Array.from({ length: count }, (_, index) => `${replica} ${id} ${index} ${count} ${content.slice(index * PART_CHARS, (index + 1) * PART_CHARS)}`);
}

function parsePart(payload: string): Part | undefined {
  const [replica, id, index, count, content] = payload.split(" ");
  if (replica === undefined || id === undefined || content === undefined) return undefined;
  return { replica, id, index: Number(index), count: Number(count), content };
}

/** The text, when this was its last part: parts of one statement arrive together and in order. */
function complete(partial: Map<string, string[]>, { id, index, count, content }: Part): string | undefined {
  const parts = index === 0 ? [] : partial.get(id);
  if (parts?.length !== index) return undefined;
  parts.push(content);
  if (parts.length < count) {
    partial.set(id, parts);
    return undefined;
  }
  partial.delete(id);
  return Buffer.from(parts.join(""), "base64").toString();
}
