import { test } from "node:test";
import type { LogEvent, NewEvent } from "@paddock/api/log/events";
import { LOG_VERSION, ROOT_RUN } from "@paddock/api/log/limits";
import { foldEvent, hashOf } from "@paddock/api/log/fold";
import { EMPTY_STATE } from "@paddock/api/log/state";
import type { SessionState } from "@paddock/api/log/state";
import { boundEvents, buildTestBundle } from "../../../../test/fakes/session.ts";
import type { NewRecord, Store, Write } from "../store.ts";

// What the cases of every store start from.

/** What is done to the rows of a log behind the store's back. */
export type Damage =
  | { readonly kind: "delete"; readonly uid: string; readonly seq: number }
  /** Replaces the event's text as it is stored. */
  | { readonly kind: "rewrite"; readonly uid: string; readonly seq: number; readonly body: string }
  /** Exchanges the texts and hashes of two events. */
  | { readonly kind: "swap"; readonly uid: string; readonly seqs: readonly [number, number] };

export interface StoreUnderTest {
  readonly store: Store;
  /** Closes the store and opens it again over what it kept. */
  reopen(): Promise<Store>;
  /** Changes what is stored while the store is open. */
  damage(damage: Damage): Promise<void>;
  remove(): Promise<void>;
}

/** Registers one case: it gets an empty store. */
export type Check = (title: string, run: (opened: StoreUnderTest) => Promise<void>) => void;

export function checkWith(open: () => Promise<StoreUnderTest>): Check {
  return (title, run) => {
    test(title, async () => {
      const opened = await open();
      try {
        await run(opened);
      } finally {
        await opened.remove();
      }
    });
  };
}

export const AT = "2026-01-01T00:00:00.000Z";

/** These events sealed on top of the state. */
export function write(state: SessionState, events: readonly NewEvent[]): Write {
  const sealed: LogEvent[] = [];
  let next = state;
  for (const added of events) {
    const unsealed = { v: LOG_VERSION, seq: next.lastSeq + 1, at: AT, role: "operator", run: ROOT_RUN, ...added } as Omit<LogEvent, "hash">;
    const one = { ...unsealed, hash: hashOf(next.lastHash, unsealed) } as LogEvent;
    next = foldEvent(next, one);
    sealed.push(one);
  }
  return { events: sealed, state: next };
}

export function newRecord(uid: string, change: Partial<NewRecord> = {}): NewRecord {
  const bundle = buildTestBundle(uid);
  return { uid, namespace: "team", name: "job", namespaceUid: "n1", bundle, bundleDigest: `digest-${uid}`, bindKey: `key-${uid}`, at: AT, ...change };
}

/** A record with its first two events. */
export async function create(store: Store, uid: string, change: Partial<NewRecord> = {}): Promise<void> {
  const record = newRecord(uid, change);
  await store.create(record, write(EMPTY_STATE, boundEvents(record.bundle)));
}

/** `more` is written with the events. */
export async function append(store: Store, uid: string, events: readonly NewEvent[], more: Omit<Write, "events" | "state"> = {}): Promise<void> {
  await store.change(uid, ({ record }) => ({ write: { ...write(record.state, events), ...more }, result: undefined }));
}
