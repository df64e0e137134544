import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { canonicalJson } from "@paddock/api/log/canonical";
import { event, runFinishedEvent, startedEvent } from "../../../test/fakes/session.ts";
import { AT, append, create } from "./testdata/cases-scene.ts";
import { openSqliteStore } from "./sqlite.ts";
import { LogCorruptError } from "./store.ts";
import type { Store, StoredRecord } from "./store.ts";

// A file that is not what was written: what is whole is served.

interface Scene {
  readonly file: string;
  readonly reported: string[];
  open(): Store;
  /** Over the closed store. */
  execute(sql: string): void;
}

const UIDS = ["a", "b", "c"];

/** Three records with four events each, closed. */
async function setScene(context: TestContext): Promise<Scene> {
  const folder = mkdtempSync(join(tmpdir(), "paddock-damage-"));
  context.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "paddock.db");
  const reported: string[] = [];
  const open = (): Store => openSqliteStore(folder, () => new Date(AT), { report: (error) => reported.push((error as Error).message) });
  const store = open();
  for (const uid of UIDS) {
    await create(store, uid);
    await append(store, uid, [startedEvent(`p-${uid}`, 1)]);
    await append(store, uid, [event("session.cancelled", { reason: `start of ${uid}${" and so on".repeat(40)}` })]);
  }
  await store.close();
  const execute = (sql: string): void => {
    const db = new DatabaseSync(file);
    db.exec(sql);
    db.close();
  };
  return { file, reported, open, execute };
}

const listed = async (store: Store): Promise<readonly StoredRecord[]> => store.recordsAfter({ after: 0, limit: 10, acknowledged: false });
const countEvents = async (store: Store, uid: string): Promise<number> => (await store.events(uid, { after: 0, limit: 100 })).length;

test("a state that cannot be read is told again from the log, and the next append stores it", async (context) => {
  const { open, execute, reported } = await setScene(context);
  const before = open();
  const whole = await before.record("a");
  await before.close();
  execute(`UPDATE records SET state = substr(state, 1, 40) WHERE uid = 'a'`);
  const store = open();
  const record = await store.record("a");
  assert.equal(canonicalJson(record), canonicalJson(whole));
  assert.equal((await listed(store)).length, 3);
  assert.deepEqual(reported.map((message) => message.slice(0, 30)), ["record a: its state is told fr"], "said once");
  await append(store, "a", [event("session.cancelled", { reason: "" })]);
  await store.close();
  reported.length = 0;
  const again = open();
  assert.equal((await again.record("a"))?.state.lastSeq, 5);
  assert.deepEqual(reported, []);
  await again.close();
});

test("a session whose state and log are both damaged can still be ended", async (context) => {
  const { open, execute } = await setScene(context);
  execute("UPDATE records SET state = '' WHERE uid = 'a'; DELETE FROM events WHERE uid = 'a' AND seq = 3");
  const store = open();
  const record = await store.record("a");
  assert.equal(record?.corrupt, "event 3: it is missing");
  assert.equal(record.state.lastSeq, 4);
  await store.markCorrupt("a", record.corrupt);
  await append(store, "a", [runFinishedEvent({ outcome: "LogCorrupt" })]);
  assert.equal((await store.record("a"))?.state.finished?.outcome, "LogCorrupt");
  assert.equal(await store.acknowledge("a"), "acknowledged");
  await store.close();
});

test("a record that cannot be read is left out of lists and reported once; the others are served", async (context) => {
  const { open, execute, reported } = await setScene(context);
  execute("UPDATE bundles SET bundle = '{\"version\":' WHERE uid = 'b'");
  const store = open();
  assert.deepEqual((await listed(store)).map(({ uid }) => uid), ["a", "c"]);
  assert.equal((await listed(store)).length, 2);
  assert.equal(reported.length, 1);
  assert.match(reported[0] ?? "", /^record b: its record cannot be read/);
  await assert.rejects(store.record("b"), (error) => error instanceof LogCorruptError && error.uid === "b");
  await assert.rejects(append(store, "b", [startedEvent("p2", 2)]), LogCorruptError);
  await store.markCorrupt("b", "its record cannot be read");
  // Its log is whole.
  assert.equal(await countEvents(store, "b"), 4);
  await append(store, "a", [event("session.cancelled", { reason: "" })]);
  await store.close();
});

test("a bundle that is gone stops its session only", async (context) => {
  const { open, execute } = await setScene(context);
  execute("DELETE FROM bundles WHERE uid = 'c'; UPDATE records SET runner_connected = 1 WHERE uid = 'c'");
  const store = open();
  assert.deepEqual((await listed(store)).map(({ uid }) => uid), ["a", "b"]);
  await assert.rejects(store.recordNamed("team", "job"), LogCorruptError);
  await store.close();
});

test("bytes of an event that are flipped in the file are seen, and only its session is concerned", async (context) => {
  const { file, open } = await setScene(context);
  const bytes = readFileSync(file);
  // Pages that were split hold old copies besides.
  const copies = [...bytes.toString("latin1").matchAll(/start of b and/g)].map(({ index }) => index);
  assert.ok(copies.length > 0);
  for (let offset = 0; offset < 36; offset += 3) {
    const damaged = Buffer.from(bytes);
    for (const copy of copies) damaged[copy + offset] = (damaged[copy + offset] ?? 0) ^ 0xff;
    writeFileSync(file, damaged);
    const store = open();
    await assert.rejects(store.events("b", { after: 0, limit: 10 }), (error) => error instanceof LogCorruptError && error.uid === "b" && error.message.startsWith("event 4: "));
    assert.deepEqual([await countEvents(store, "a"), await countEvents(store, "c")], [4, 4]);
    assert.equal((await listed(store)).length, 3);
    await store.markCorrupt("b", "seen");
    await append(store, "b", [runFinishedEvent({ outcome: "LogCorrupt" })]);
    await store.close();
  }
});

test("a page of the file that is overwritten breaks the logs on it, not the gateway", async (context) => {
  const { file, open } = await setScene(context);
  const first = open();
  // So many events that the log has pages of its own.
  await create(first, "long");
  for (let n = 0; n < 40; n += 1) await append(first, "long", [event("session.cancelled", { reason: "of the long one ".repeat(60) })]);
  await first.close();
  const bytes = readFileSync(file);
  const middle = bytes.indexOf("of the long one", Math.floor(bytes.length / 2));
  const page = Math.floor(middle / 4096) * 4096;
  bytes.fill(0xa5, page, page + 4096);
  writeFileSync(file, bytes);
  const store = open();
  await assert.rejects(store.events("long", { after: 0, limit: 100 }), (error) => error instanceof LogCorruptError && error.uid === "long");
  for (const uid of UIDS) assert.equal(await countEvents(store, uid), 4, uid);
  for (const uid of UIDS) await append(store, uid, [event("session.cancelled", { reason: "" })]);
  assert.equal((await listed(store)).length, 4);
  await store.close();
});
