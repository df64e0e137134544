import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { buildTestBundle } from "../../../test/fakes/session.ts";
import { create } from "./testdata/cases-scene.ts";
import type { Damage } from "./testdata/cases-scene.ts";
import { storeCases } from "./testdata/cases.ts";
import { connect } from "./sqlite-connection.ts";
import { openSqliteStore } from "./sqlite.ts";

const now = (): Date => new Date();

function makeFolder(): string {
  return mkdtempSync(join(tmpdir(), "paddock-store-"));
}

storeCases("SQLite", async () => {
  const folder = makeFolder();
  let store = openSqliteStore(folder, now);
  return {
    store,
    damage: async (damage) => {
      const db = new DatabaseSync(join(folder, "paddock.db"));
      damageRows(db, damage);
      db.close();
    },
    reopen: async () => {
      await store.close();
      store = openSqliteStore(folder, now);
      return store;
    },
    remove: async () => {
      await store.close();
      rmSync(folder, { recursive: true });
    },
  };
});

function damageRows(db: DatabaseSync, damage: Damage): void {
  if (damage.kind === "delete") return void db.prepare("DELETE FROM events WHERE uid = ? AND seq = ?").run(damage.uid, damage.seq);
  if (damage.kind === "rewrite") return void db.prepare("UPDATE events SET body = ? WHERE uid = ? AND seq = ?").run(damage.body, damage.uid, damage.seq);
  const [first, second] = damage.seqs;
  const move = db.prepare("UPDATE events SET seq = ? WHERE uid = ? AND seq = ?");
  for (const [to, from] of [[-1, first], [first, second], [second, -1]] as const) move.run(to, damage.uid, from);
}

test("the file is readable by its owner only, and another store has another identity", async (context) => {
  const folders = [makeFolder(), makeFolder()] as const;
  context.after(() => folders.forEach((folder) => rmSync(folder, { recursive: true })));
  const stores = folders.map((folder) => openSqliteStore(folder, now));
  assert.notEqual(stores[0]?.incarnation, stores[1]?.incarnation);
  for (const store of stores) await store.close();
  assert.equal(statSync(join(folders[0], "paddock.db")).mode & 0o777, 0o600);
});

test("records with large bundles do not all stay in memory", async (context) => {
  const folder = makeFolder();
  context.after(() => rmSync(folder, { recursive: true }));
  const store = openSqliteStore(folder, now);
  const plain = buildTestBundle("u");
  const bundle = { ...plain, agent: { ...plain.agent, spec: { ...plain.agent.spec, instructions: "x".repeat(4 * 1024 * 1024) } } };
  await create(store, "first", { bundle });
  const first = await store.record("first");
  assert.equal(await store.record("first"), first, "it is kept");
  for (let other = 0; other < 14; other += 1) await create(store, `other-${other}`, { name: `job-${other}`, bundle });
  const again = await store.record("first");
  assert.deepEqual(again, first);
  assert.notEqual(again, first, "56 MiB of bundles came after it");
  await store.close();
});

test("what is asked for at once shares a commit, and is told once", async (context) => {
  const folder = makeFolder();
  context.after(() => rmSync(folder, { recursive: true }));
  const groups: number[] = [];
  const store = openSqliteStore(folder, now, { committed: (calls) => groups.push(calls) });
  await Promise.all(["a", "b", "c"].map((uid) => create(store, uid)));
  await store.change("a", () => {
    throw new Error("refused");
  }).catch(() => undefined);
  await store.change("a", () => ({ result: 1 }));
  await store.close();
  assert.deepEqual(groups, [3, 1]);
});

test("nothing that a group may have to undo is kept in a temporary file, which a read-only container cannot make", () => {
  const folder = makeFolder();
  const { db, one } = connect(join(folder, "any.db"));
  assert.equal(one("PRAGMA temp_store")?.temp_store, 2, "MEMORY");
  db.close();
  rmSync(folder, { recursive: true });
});
