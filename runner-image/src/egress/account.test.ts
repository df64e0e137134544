import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import { eventData } from "@paddock/api/log/events";
import type { EventDataOf, NewEvent } from "@paddock/api/log/events";
import { Detached, Refused } from "../append.ts";
import type { Append } from "../append.ts";
import { createLedger } from "./account.ts";
import type { Ledger } from "./account.ts";
import type { EgressNote } from "./policy.ts";

type Decided = EventDataOf<"egress.decided">;

const ALLOWED: EgressNote = { host: "api.example.com", port: 443, decision: "Allow", rule: "network.allowedHosts[0]" };
const LONG_MS = 3_600_000;

interface Book {
  readonly ledger: Ledger;
  /** Events of each append, in order. */
  readonly batches: readonly (readonly Decided[])[];
  /** Answers the oldest append that has no answer yet. */
  answer(error?: Error): void;
  changes(): number;
}

/** A ledger whose appends are answered at once, or by the test. */
function open({ held = false, minuteMs = LONG_MS, behindMs = LONG_MS } = {}): Book {
  const batches: (readonly Decided[])[] = [];
  const waiting: { resolve: () => void; reject: (error: Error) => void }[] = [];
  let changes = 0;
  const append: Append = (events: readonly NewEvent[]) => {
    batches.push(events.map((event) => eventData["egress.decided"].parse(event.data)));
    if (!held) return Promise.resolve([]);
    return new Promise((resolve, reject) => waiting.push({ resolve: () => resolve([]), reject }));
  };
  const ledger = createLedger({ append, logger: pino({ level: "silent" }), onChange: () => (changes += 1), times: { minuteMs, behindMs } });
  const answer = (error?: Error): void => {
    const next = waiting.shift();
    if (error === undefined) next?.resolve();
    else next?.reject(error);
  };
  return { ledger, batches, answer, changes: () => changes };
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
}

test("the first of a kind is told at once, and what follows when it is asked for, bytes and all", async () => {
  const { ledger, batches } = open();
  const add = ledger.note(ALLOWED);
  assert.deepEqual(batches, [[{ ...ALLOWED, count: 1, bytesSent: 0, bytesReceived: 0 }]]);
  add(10, 20);
  add(1, 2);
  ledger.note(ALLOWED)(5, 5);
  await ledger.flush();
  assert.deepEqual(batches[1], [{ ...ALLOWED, count: 1, bytesSent: 16, bytesReceived: 27 }]);
  add(0, 7);
  await ledger.flush();
  assert.deepEqual(batches[2], [{ ...ALLOWED, count: 0, bytesSent: 0, bytesReceived: 7 }]);
  await ledger.flush();
  assert.equal(batches.length, 3, "nothing is told twice, and nothing is no event");
});

test("kinds differ by host, port, method, decision, rule and credential", async () => {
  const { ledger, batches } = open({ held: true });
  const kinds: readonly EgressNote[] = [ALLOWED, { ...ALLOWED, host: "b" }, { ...ALLOWED, port: 80 }, { ...ALLOWED, method: "GET" }, { ...ALLOWED, decision: "Deny" }, { ...ALLOWED, rule: "x" }, { ...ALLOWED, credential: "git" }];
  for (const kind of kinds) for (const _ of [1, 2]) ledger.note(kind);
  assert.equal(batches.length, 1);
  void ledger.flush();
  void ledger.flush();
  assert.equal(batches.length, 1, "one append at a time");
});

test("a minute has at most 32 events, whatever names a program makes up, and no decision is lost", async () => {
  const { ledger, batches } = open();
  for (let n = 0; n < 5000; n += 1) ledger.note({ ...ALLOWED, host: `h${n}.example.com`, decision: n % 2 === 0 ? "Allow" : "Deny" })(1, 1);
  await ledger.flush();
  const told = batches.flat();
  assert.ok(told.length <= 32, `${told.length} events`);
  assert.equal(told.reduce((sum, { count }) => sum + count, 0), 5000);
  assert.equal(told.reduce((sum, { bytesSent }) => sum + bytesSent, 0), 5000);
  assert.deepEqual(new Set(told.filter(({ host }) => host === "(others)").map(({ decision }) => decision)), new Set(["Allow", "Deny"]));
});

test("what gathered in a minute is told when it is over", { timeout: 60_000 }, async () => {
  const { ledger, batches } = open({ minuteMs: 20 });
  ledger.note(ALLOWED)(1, 1);
  await until(() => batches.length === 2);
  assert.deepEqual(batches[1], [{ ...ALLOWED, count: 0, bytesSent: 1, bytesReceived: 1 }]);
  ledger.close();
});

test("an append that is refused, or of a process that writes no more, breaks nothing", async () => {
  for (const error of [new Refused("malformed", "final", "no"), new Detached("fenced", "another runner"), new Error("a fault")]) {
    const { ledger, batches, answer } = open({ held: true });
    ledger.note(ALLOWED);
    answer(error);
    const flushed = ledger.flush();
    await flushed;
    ledger.note(ALLOWED);
    const again = ledger.flush();
    await until(() => batches.length === 2);
    answer();
    await again;
    assert.equal(ledger.isBehind(), false);
  }
});

test("what the log does not take for now is told with what comes", { timeout: 60_000 }, async () => {
  const { ledger, batches, answer } = open({ held: true });
  ledger.note(ALLOWED)(3, 4);
  answer(new Refused("too-many", "wait", "enough for this minute"));
  const again = ledger.flush();
  await until(() => batches.length === 2);
  assert.deepEqual(batches[1], [{ ...ALLOWED, count: 1, bytesSent: 3, bytesReceived: 4 }]);
  answer();
  await again;
});

test("while the log does not answer, numbers gather in few lines; after a while nothing may leave, until it answers", { timeout: 60_000 }, async () => {
  const { ledger, batches, answer, changes } = open({ held: true, behindMs: 20 });
  for (let n = 0; n < 2000; n += 1) ledger.note({ ...ALLOWED, host: `h${n}` });
  assert.equal(batches.length, 1);
  await until(() => ledger.isBehind());
  assert.equal(changes(), 1);
  const flushed = ledger.flush();
  answer();
  await until(() => batches.length === 2);
  assert.equal(ledger.isBehind(), false);
  answer();
  await flushed;
  assert.ok((batches[1]?.length ?? 0) <= 17);
  assert.equal(batches.flat().reduce((sum, { count }) => sum + count, 0), 2000);
});

test("a log that is full takes no decision more: nothing may leave", async () => {
  const { ledger, answer, changes } = open({ held: true });
  ledger.note(ALLOWED);
  answer(new Refused("limit", "final", "the log is full"));
  await ledger.flush();
  assert.equal(ledger.isBehind(), true);
  assert.equal(changes(), 1);
});

test("what a hostile program asks for fits into the event", async () => {
  const { ledger, batches } = open();
  ledger.note({ host: "x".repeat(5000), port: 0, decision: "Deny", rule: "Malformed", method: "M".repeat(5000) });
  await ledger.flush();
  assert.equal(batches.length, 1);
});
