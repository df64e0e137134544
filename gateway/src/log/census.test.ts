import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { buildTestBundle, event, runFinishedEvent } from "../../../test/fakes/session.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import { openLogWriter } from "./append.ts";
import { takeCensus } from "./census.ts";

test("sessions are counted by activity, from before and as they change, until the operator has acknowledged them", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "paddock-census-"));
  const now = (): Date => new Date();
  const store = openSqliteStore(folder, now);
  t.after(async () => {
    await store.close();
    rmSync(folder, { recursive: true });
  });
  const writer = openLogWriter({ store, now, count: () => undefined, stored: () => undefined });
  const make = (uid: string): Promise<unknown> => writer.create({ bundle: buildTestBundle(uid), namespaceUid: "n1", prompt: "Hello" });
  const finish = (uid: string): Promise<unknown> => writer.appendByOperator(uid, [event("session.cancelled", { reason: "" }), runFinishedEvent({ outcome: "Cancelled", text: "", through: 3 })]);
  for (let n = 0; n < 205; n += 1) await make(`early-${n}`);
  await finish("early-0");
  await finish("early-1");
  await store.acknowledge("early-1");

  const counts = new Map<string, number>();
  const add = (activity: string, by: number): void => void counts.set(activity, (counts.get(activity) ?? 0) + by);
  const stopped = new AbortController();
  // One is acknowledged and one comes after its page was read and before it is counted.
  const leave = async (): Promise<void> => {
    await finish("early-2");
    await store.acknowledge("early-2");
  };
  const meanwhile = [leave, () => make("late")];
  const recordsAfter: typeof store.recordsAfter = async (query) => {
    const page = await store.recordsAfter(query);
    await meanwhile.shift()?.();
    return page;
  };
  await takeCensus({ store: { subscribe: store.subscribe, recordsAfter }, metrics: { sessionEntered: (activity) => add(activity, 1), sessionLeft: (activity) => add(activity, -1) }, signal: stopped.signal });
  assert.deepEqual(Object.fromEntries(counts), { Active: 203, Finished: 1 });
  await store.acknowledge("early-0");
  await finish("late");
  assert.deepEqual(Object.fromEntries(counts), { Active: 202, Finished: 1 });
  stopped.abort();
  assert.deepEqual(Object.fromEntries(counts), { Active: 0, Finished: 0 });
  await make("later");
  assert.deepEqual(Object.fromEntries(counts), { Active: 0, Finished: 0 });
});
