import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { canonicalJson } from "@paddock/api/log/canonical";
import { EMPTY_STATE } from "@paddock/api/log/state";
import { boundEvents, buildTestBundle, event, runFinishedEvent, startedEvent } from "../../../test/fakes/session.ts";
import { AT, append, newRecord, write } from "./testdata/cases-scene.ts";
import { openSqliteReader, openSqliteStore } from "./sqlite.ts";

const now = (): Date => new Date(AT);
const SCHEMA_1 = readFileSync(join(import.meta.dirname, "testdata/schema-1.sql"), "utf8");

function makeFolder(context: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "paddock-schema-"));
  context.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** A store as the release before wrote it: three records with their logs, `a` with a connected runner, `b` finished, `c` of an unreadable state. */
function makeVersion1(folder: string): void {
  const db = new DatabaseSync(join(folder, "paddock.db"));
  db.exec("PRAGMA journal_mode = WAL");
  db.exec(SCHEMA_1);
  db.exec("PRAGMA user_version = 1");
  db.exec("INSERT INTO meta (key, value) VALUES ('incarnation', 'the-old-one'), ('secret/ca', 'pem')");
  for (const [index, uid] of ["a", "b", "c"].entries()) {
    const { namespace, name, namespaceUid, bundle, bundleDigest, bindKey } = newRecord(uid);
    const { events, state } = write(EMPTY_STATE, [...boundEvents(bundle), startedEvent(`p-${uid}`, 1), ...(uid === "b" ? [runFinishedEvent()] : [])]);
    db.prepare(
      `INSERT INTO records (uid, namespace, name, namespace_uid, ordinal, bundle, bundle_digest, bind_key, state, runner_pod, runner_connected, runner_since, acknowledged, version)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ).run(
      ...[uid, namespace, name, namespaceUid, index + 1, canonicalJson(bundle), bundleDigest, bindKey],
      ...[uid === "c" ? "{" : JSON.stringify(state), `p-${uid}`, uid === "a" ? 1 : 0, AT, uid === "b" ? 1 : 0, (index + 1) * 10],
    );
    db.prepare("INSERT INTO pods (pod_uid, session_uid, component, pod_name) VALUES (?, ?, 'runner', ?)").run(`p-${uid}`, uid, `p-${uid}`);
    for (const { hash, ...hashed } of events) {
      db.prepare("INSERT INTO events (uid, seq, type, body, hash) VALUES (?, ?, ?, ?, ?)").run(uid, hashed.seq, hashed.type, canonicalJson(hashed), hash);
    }
  }
  db.close();
}

test("a store of the release before is opened with all that it holds, and goes on", async (context) => {
  const folder = makeFolder(context);
  makeVersion1(folder);
  assert.throws(() => openSqliteReader(join(folder, "paddock.db")), /schema version 1 and this release reads 2/);
  for (const time of ["first", "second"]) {
    const store = openSqliteStore(folder, now);
    assert.equal(store.incarnation, "the-old-one");
    assert.equal(await store.secret("ca", async () => "another"), "pem");
    for (const uid of ["a", "b", "c"]) {
      const record = await store.record(uid);
      assert.deepEqual(record?.bundle.session, buildTestBundle(uid).session, `${uid} at the ${time} start`);
      assert.equal(record.state.epoch, 1);
      assert.equal(record.state.lastSeq, (await store.events(uid, { after: 0, limit: 100 })).length);
      assert.equal(record.corrupt, undefined);
      assert.deepEqual(await store.registration(`p-${uid}`), { podUid: `p-${uid}`, sessionUid: uid, component: "runner", podName: `p-${uid}` });
    }
    assert.equal((await store.record("a"))?.runner.connected, false);
    assert.deepEqual((await store.recordsAfter({ after: 0, limit: 10, acknowledged: false })).map(({ uid }) => uid), ["c", "a"]);
    await store.close();
  }
  const store = openSqliteStore(folder, now);
  for (const uid of ["a", "c"]) await append(store, uid, [event("session.cancelled", { reason: "" })], { ledger: [{ day: "2026-01-01", requests: 1 }] });
  assert.equal((await store.usage({ namespace: "team", from: "2026-01-01", to: "2026-01-01", by: [] }))[0]?.requests, 2);
  assert.equal(await store.expire("2027-01-01T00:00:00.000Z", 10), 1);
  assert.equal(await store.record("b"), undefined);
  await store.close();
});

test("an upgrade that fails changes nothing", (context) => {
  const folder = makeFolder(context);
  makeVersion1(folder);
  const file = join(folder, "paddock.db");
  const db = new DatabaseSync(file);
  // Somebody's own table is in the way of the migration's last steps.
  db.exec("CREATE TABLE ledger (x TEXT)");
  assert.throws(() => openSqliteStore(folder, now), /ledger/);
  assert.equal(db.prepare("PRAGMA user_version").get()?.user_version, 1);
  assert.equal(db.prepare("SELECT count(*) AS n FROM records WHERE bundle IS NOT NULL").get()?.n, 3);
  db.close();
});

test("a file of a newer release is not opened", (context) => {
  const folder = makeFolder(context);
  const db = new DatabaseSync(join(folder, "paddock.db"));
  db.exec("PRAGMA user_version = 99");
  db.close();
  assert.throws(() => openSqliteStore(folder, now), /schema version 99 and this release knows 2/);
  assert.throws(() => openSqliteReader(join(folder, "paddock.db")), /schema version 99/);
});
