import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { sha256 } from "@paddock/api/log/canonical";
import { event, toolFinishedEvent } from "../../../test/fakes/session.ts";
import { AT, append, create } from "../store/testdata/cases-scene.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import type { Store } from "../store/store.ts";
import { runBackup, runRestore } from "./copies.ts";
import { runVerify } from "./verify.ts";

interface Scene {
  readonly folder: string;
  /** A file that is not there. */
  readonly backup: string;
  readonly config: { readonly kind: "sqlite"; readonly dataDir: string };
  readonly lines: string[];
  open(folder?: string): Store;
  print(line: string): void;
}

const UIDS = ["a", "b", "c"];

/** A store with three sessions, opened by `open` as a gateway has it. */
async function setScene(context: TestContext): Promise<Scene> {
  const root = mkdtempSync(join(tmpdir(), "paddock-copies-"));
  const folder = join(root, "data");
  const opened = new Set<Store>();
  context.after(async () => {
    for (const store of opened) await store.close();
    rmSync(root, { recursive: true });
  });
  const open = (of = folder): Store => {
    const store = openSqliteStore(of, () => new Date(AT));
    opened.add(store);
    return store;
  };
  const store = open();
  const text = "payload ".repeat(4000);
  const blob = { text, ref: { sha256: sha256(text), bytes: text.length, mediaType: "text/plain" as const } };
  for (const uid of UIDS) {
    await create(store, uid);
    await append(store, uid, [event("session.cancelled", { reason: `of ${uid}` })]);
    await append(store, uid, [toolFinishedEvent("root/1/0", { content: "start", blob: blob.ref })], { blobs: [blob] });
  }
  await store.close();
  const lines: string[] = [];
  return { folder, backup: join(root, "paddock.backup"), config: { kind: "sqlite", dataDir: folder }, lines, open, print: (line) => lines.push(line) };
}

function execute(folder: string, sql: string): void {
  const db = new DatabaseSync(join(folder, "paddock.db"));
  db.exec(sql);
  db.close();
}

test("verify reads every log to its end while the gateway has the store open", async (context) => {
  const { config, lines, open, print } = await setScene(context);
  const store = open();
  await append(store, "a", [event("session.cancelled", { reason: "not in the file yet, in its write-ahead log" })]);
  assert.equal(await runVerify(config, undefined, print), 0);
  assert.deepEqual(lines.splice(0), ["logs 3 · events 13 · payloads 3 · broken 0"]);
  assert.equal(await runVerify(config, "b", print), 0);
  assert.deepEqual(lines.splice(0), ["logs 1 · events 4 · payloads 1 · broken 0"]);
  await assert.rejects(runVerify(config, "nobody", print), /there is no record nobody/);
  await append(store, "a", [event("session.cancelled", { reason: "and the gateway goes on" })]);
});

test("verify names each broken log: its uid, the event and what is wrong", async (context) => {
  const { folder, config, lines, print } = await setScene(context);
  execute(folder, "DELETE FROM events WHERE uid = 'a' AND seq = 2");
  execute(folder, `UPDATE events SET body = replace(body, 'of c', 'of d') WHERE uid = 'c'`);
  assert.equal(await runVerify(config, undefined, print), 1);
  assert.deepEqual(lines.splice(0), [
    "broken: a (team/job): event 2: it is missing",
    "broken: c (team/job): event 3: its hash does not follow from its text and the event before it",
    "logs 3 · events 4 · payloads 1 · broken 2",
  ]);
  assert.equal(await runVerify(config, "b", print), 0);
  lines.length = 0;
  execute(folder, "UPDATE blobs SET content = x'00'; UPDATE bundles SET bundle = '{' WHERE uid = 'a'");
  assert.equal(await runVerify(config, undefined, print), 1);
  assert.match(lines.join("\n"), /broken: a: its record cannot be read/);
  assert.match(lines.join("\n"), /broken: b \(team\/job\): event 4: its payload sha256:[0-9a-f]{64} is missing or changed/);
  lines.length = 0;
  assert.equal(await runVerify(config, "a", print), 1);
  assert.match(lines.join("\n"), /broken: a: its record cannot be read/);
});

test("verify says where it looked when there is no store", async (context) => {
  const { config, folder, print } = await setScene(context);
  await assert.rejects(runVerify({ ...config, dataDir: join(folder, "none") }, undefined, print), /there is no .*none\/paddock\.db/);
  assert.ok(!existsSync(join(folder, "none")));
});

test("a backup taken while writers write is of one moment, whole and secret", async (context) => {
  const { config, backup, lines, open, print } = await setScene(context);
  const store = open();
  let isOver = false;
  const write = async (uid: string): Promise<void> => {
    while (!isOver) await append(store, uid, [event("session.cancelled", { reason: "x".repeat(2000) })]);
  };
  const writers = Promise.all(UIDS.map(write));
  const before = await store.record("a");
  assert.equal(await runBackup(config, backup, print), 0);
  const after = await store.record("a");
  isOver = true;
  await writers;
  assert.ok((after?.state.lastSeq ?? 0) > (before?.state.lastSeq ?? 0), "writers wrote meanwhile");
  assert.match(lines.at(-2) ?? "", /^logs 3 · events \d+ · payloads 3 · broken 0$/);
  assert.equal(lines.at(-1), `backed up to ${backup}`);
  assert.equal(statSync(backup).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(join(backup, "..")).sort(), ["data", "paddock.backup"], "nothing is left beside it");
  const other = join(backup, "../other");
  assert.equal(await runRestore({ kind: "sqlite", dataDir: other }, { from: backup, force: false }, print), 0);
  const restored = open(other);
  const record = await restored.record("a");
  assert.ok(record !== undefined && before !== undefined && record.state.lastSeq >= before.state.lastSeq);
  assert.equal((await restored.events("a", { after: 0, limit: 100_000 })).at(-1)?.hash, record.state.lastHash);
});

test("a backup overwrites nothing", async (context) => {
  const { config, backup, print } = await setScene(context);
  writeFileSync(backup, "somebody's");
  await assert.rejects(runBackup(config, backup, print), /is there already: name a file that is not/);
  assert.equal(statSync(backup).size, "somebody's".length);
});

test("a backup of a damaged store is kept, and said to be damaged", async (context) => {
  const { folder, config, backup, lines, print } = await setScene(context);
  execute(folder, "DELETE FROM events WHERE uid = 'a' AND seq = 2");
  assert.equal(await runBackup(config, backup, print), 1);
  assert.match(lines.join("\n"), /broken: a \(team\/job\): event 2: it is missing/);
  assert.ok(existsSync(backup));
});

test("a restored store has the old sessions and an identity of its own", async (context) => {
  const { config, backup, open, print } = await setScene(context);
  const first = open();
  await first.secret("ca", async () => "pem");
  await runBackup(config, backup, print);
  await append(first, "a", [event("session.cancelled", { reason: "after the backup" })]);
  await create(first, "later");
  await assert.rejects(runRestore(config, { from: backup, force: false }, print), /is there: give --force to replace it/);
  await assert.rejects(runRestore(config, { from: backup, force: true }, print), /a process has .* open: stop the gateway first/);
  assert.equal((await first.events("a", { after: 0, limit: 10 })).length, 5, "a refused restore leaves the gateway as it was");
  await first.close();
  assert.equal(await runRestore(config, { from: backup, force: true }, print), 0);
  const second = open();
  assert.notEqual(second.incarnation, first.incarnation);
  assert.equal((await second.events("a", { after: 0, limit: 10 })).length, 4);
  assert.equal(await second.record("later"), undefined);
  assert.equal(await second.secret("ca", async () => "another"), "pem");
  await append(second, "a", [event("session.cancelled", { reason: "and on" })]);
  await second.close();
  assert.equal(statSync(join(config.dataDir, "paddock.db")).mode & 0o777, 0o600);
  assert.equal(await runVerify(config, undefined, print), 0);
});

test("what is no backup is not restored, and the store stays", async (context) => {
  const { config, folder, backup, open, print } = await setScene(context);
  await assert.rejects(runRestore(config, { from: backup, force: true }, print), /there is no .*paddock\.backup/);
  writeFileSync(backup, "this is a text, and no store at all, however long it is");
  await assert.rejects(runRestore(config, { from: backup, force: true }, print), /not a database/);
  rmSync(backup);
  new DatabaseSync(backup).exec("PRAGMA user_version = 99");
  await assert.rejects(runRestore(config, { from: backup, force: true }, print), /schema version 99, and this release restores 1 to 2/);
  assert.equal((await open().events("a", { after: 0, limit: 10 })).length, 4);
  assert.deepEqual(readdirSync(folder).filter((name) => !name.startsWith("paddock.db-")), ["paddock.db"]);
});

test("a store that is no file any more is replaced when that is asked for", async (context) => {
  const { config, folder, backup, open, print } = await setScene(context);
  await runBackup(config, backup, print);
  writeFileSync(join(folder, "paddock.db"), "garbage ".repeat(1000));
  assert.equal(await runRestore(config, { from: backup, force: true }, print), 0);
  assert.equal((await open().events("a", { after: 0, limit: 10 })).length, 4);
});

test("Postgres has tools of its own for copies", async () => {
  const config = { kind: "postgres", urlFile: "/nowhere" } as const;
  await assert.rejects(runBackup(config, "/tmp/x", () => undefined), /pg_dump/);
  await assert.rejects(runRestore(config, { from: "/tmp/x", force: true }, () => undefined), /pg_restore/);
});
