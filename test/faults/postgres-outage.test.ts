import assert from "node:assert/strict";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { inspect } from "node:util";
import { canonicalJson } from "@paddock/api/log/canonical";
import type { LogEvent } from "@paddock/api/log/events";
import { hashOf } from "@paddock/api/log/fold";
import { append, create, newRecord, write } from "../../gateway/src/store/testdata/cases-scene.ts";
import { openPostgresStore } from "../../gateway/src/store/postgres.ts";
import type { Store } from "../../gateway/src/store/store.ts";
import { EMPTY_STATE } from "@paddock/api/log/state";
import { boundEvents, event } from "../fakes/session.ts";
import { postgresOfFile, until } from "../postgres/scene.ts";

// A Postgres server that stops, dies and comes back under its stores.

const serverOf = postgresOfFile();
const cancelled = (reason: string) => event("session.cancelled", { reason });

async function openOne(context: TestContext, url: string): Promise<Store> {
  const store = await openPostgresStore(url, { now: () => new Date(), beatMs: 100 });
  context.after(() => store.close());
  return store;
}

/** The reasons in a log, whose chain is checked. */
async function reasonsOf(store: Store, uid: string): Promise<readonly string[]> {
  const events: LogEvent[] = [];
  for (let page = await store.events(uid, { after: 0, limit: 1000 }); page.length > 0; page = await store.events(uid, { after: events.length, limit: 1000 })) events.push(...page);
  let previous = "";
  for (const { hash, ...hashed } of events) {
    assert.equal(hash, hashOf(previous, hashed));
    previous = hash;
  }
  return events.flatMap((one) => (one.type === "session.cancelled" ? [one.data.reason] : []));
}

test("a server that is away: calls are rejected with what is wrong and no secret, and succeed when it is back", async (context) => {
  const server = serverOf();
  const url = await server.createDatabase();
  const password = new URL(url).password;
  const [a, b] = [await openOne(context, url), await openOne(context, url)];
  await create(a, "s");
  const told: number[] = [];
  b.subscribe((change) => {
    if (change.kind === "record") told.push(change.record.state.lastSeq);
  });
  await server.stop();
  const outcomes = await Promise.allSettled([a.check(), a.record("s"), append(a, "s", [cancelled("away")]), a.putBudget({ environmentUid: "e" }), a.events("s", { after: 0, limit: 1 })]);
  for (const outcome of outcomes) {
    assert.ok(outcome.status === "rejected");
    const shown = inspect(outcome.reason, { depth: 10, showHidden: true });
    assert.match(shown, /PostgresError: Postgres: .*(ENOENT|ECONNREFUSED)/);
    assert.ok(!shown.includes(password) && !shown.includes(url), shown);
  }
  // Said to nobody, and no error.
  await a.broadcast("away");
  await server.start();
  await append(a, "s", [cancelled("back")]);
  assert.deepEqual(await reasonsOf(b, "s"), ["back"]);
  await until(() => told.at(-1) === 3, "the other store's listener is told");
});

test("calls whose connections are cut are made again, and their callers do not know", async (context) => {
  const server = serverOf();
  const url = await server.createDatabase();
  const store = await openOne(context, url);
  const uids = ["s0", "s1", "s2"];
  for (const uid of uids) await create(store, uid);
  let isOver = false;
  const cut = async (): Promise<number> => {
    let count = 0;
    for (let round = 0; round < 8; round += 1) {
      count += Number(await server.sql(url, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid();"));
    }
    isOver = true;
    return count;
  };
  const work = async (uid: string): Promise<readonly string[]> => {
    const reasons: string[] = [];
    for (let n = 0; !isOver; n += 1) {
      await append(store, uid, [cancelled(String(n))]);
      reasons.push(String(n));
    }
    return reasons;
  };
  const [count, ...appended] = await Promise.all([cut(), ...uids.map(work)]);
  assert.ok(count > 0);
  for (const [index, uid] of uids.entries()) assert.deepEqual(await reasonsOf(store, uid), appended[index]);
});

test("a server killed under writers of two stores loses nothing that was acknowledged, and stores nothing twice", async (context) => {
  const server = serverOf();
  const url = await server.createDatabase();
  const stores = [await openOne(context, url), await openOne(context, url)];
  const [first] = stores;
  assert.ok(first !== undefined);
  const uids = ["s0", "s1", "s2", "s3"];
  for (const uid of uids) await create(first, uid);
  const acknowledged = new Map(uids.map((uid) => [uid, new Set<string>()]));
  let count = 0;
  let isOver = false;
  const work = async (store: Store, uid: string, name: string): Promise<void> => {
    for (let n = 0; !isOver; n += 1) {
      const reason = `${name} ${n}`;
      const isStored = await append(store, uid, [cancelled(reason)]).then(() => true, () => false);
      if (isStored) {
        acknowledged.get(uid)?.add(reason);
        count += 1;
      }
    }
  };
  const working = Promise.all(stores.flatMap((store, index) => uids.flatMap((uid) => [0, 1].map((writer) => work(store, uid, `store ${index} writer ${writer}`)))));
  for (let kill = 0; kill < 3; kill += 1) {
    const target = count + 100 + kill * 13;
    await until(() => count >= target, "writers get on");
    await server.kill();
    await server.start();
  }
  isOver = true;
  await working;
  for (const uid of uids) {
    const stored = await reasonsOf(first, uid);
    assert.equal(new Set(stored).size, stored.length, "an append is stored twice");
    const lost = [...(acknowledged.get(uid) ?? [])].filter((reason) => !stored.includes(reason));
    assert.deepEqual(lost, []);
  }
});

/** Lets one commit of `work` become durable and its connection break before the answer, as when a server dies at that moment. */
async function loseAnswer<T>(url: string, work: () => Promise<T>): Promise<T> {
  const server = serverOf();
  // A commit is durable here before it waits for a standby that never comes.
  await server.sql(url, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
  await server.sql(url, "SELECT pg_reload_conf()");
  const cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND query = 'COMMIT' AND wait_event = 'SyncRep';";
  try {
    const [result] = await Promise.all([
      work(),
      until(async () => Number(await server.sql(url, cut)) > 0, "a commit waits").then(async () => {
        await server.sql(url, "ALTER SYSTEM RESET synchronous_standby_names");
        await server.sql(url, "SELECT pg_reload_conf()");
      }),
    ]);
    return result;
  } finally {
    await server.sql(url, "ALTER SYSTEM RESET synchronous_standby_names");
    await server.sql(url, "SELECT pg_reload_conf()");
  }
}

test("a commit whose answer is lost is found, and not made again", async (context) => {
  const url = await serverOf().createDatabase();
  const store = await openOne(context, url);
  for (const uid of ["a", "b"]) await create(store, uid);
  const told: number[] = [];
  store.subscribe((change) => {
    if (change.kind === "record") told.push(change.record.version);
  });
  const ledger = [{ day: "2026-01-01", requests: 1 }];
  for (let n = 0; n < 3; n += 1) {
    await loseAnswer(url, () => Promise.all(["a", "b"].map((uid) => append(store, uid, [cancelled(String(n))], { ledger }))));
  }
  for (const uid of ["a", "b"]) assert.deepEqual(await reasonsOf(store, uid), ["0", "1", "2"]);
  assert.equal((await store.usage({ namespace: "team", from: "2026-01-01", to: "2026-01-01", by: [] }))[0]?.requests, 6);
  assert.deepEqual(told, [3, 4, 5, 6, 7, 8]);
  const record = newRecord("made");
  const { created } = await loseAnswer(url, () => store.create(record, write(EMPTY_STATE, boundEvents(record.bundle))));
  assert.equal(created, true);
  assert.equal(told.at(-1), 9);
});

test("what cannot be opened says why, and never with the connection string", async (context) => {
  const server = serverOf();
  const url = await server.createDatabase();
  const { password } = new URL(url);
  const wrong = url.replace(password, "wrong-secret");
  const broken = [
    { url: wrong, says: /password authentication failed/ },
    { url: url.replace(/test_\w+/, "nowhere"), says: /database "nowhere" does not exist/ },
    { url: "postgres://user:wrong-secret@127.0.0.1:1/db", says: /ECONNREFUSED/ },
    { url: "postgres://user:wrong-secret@host:port/db", says: /connection string of Postgres must be/ },
    { url: "postgres://user:wrong secret@host/db", says: /connection string of Postgres must be/ },
    { url: "host=localhost password=wrong-secret", says: /connection string of Postgres must be/ },
  ];
  for (const { url: bad, says } of broken) {
    const error: unknown = await openPostgresStore(bad, { now: () => new Date() }).then((store) => store.close(), (reason: unknown) => reason);
    const shown = inspect(error, { depth: 10, showHidden: true });
    assert.match(shown, says);
    assert.doesNotMatch(shown, /wrong.secret/);
    assert.ok(!shown.includes(password));
  }
  const store = await openOne(context, `${url}\n`);
  await store.check();
});

test("a database of a newer release, and one that could lose what it acknowledged, are not opened", async () => {
  const server = serverOf();
  const url = await server.createDatabase();
  const open = () => openPostgresStore(url, { now: () => new Date() });
  await (await open()).close();
  await server.sql(url, "UPDATE meta SET value = '99' WHERE key = 'schema';");
  await assert.rejects(open(), /schema version 99 and this release knows 1/);
  await server.sql(url, "UPDATE meta SET value = '1' WHERE key = 'schema'; ALTER ROLE postgres SET synchronous_commit = off;");
  await assert.rejects(open(), /synchronous_commit = off/);
  await server.sql(url, "ALTER ROLE postgres RESET synchronous_commit;");
  await (await open()).close();
});

test("a record that cannot be read is told from its events, and hides no other", async (context) => {
  const server = serverOf();
  const url = await server.createDatabase();
  const reports: string[] = [];
  const store = await openPostgresStore(url, { now: () => new Date(), report: (error) => reports.push(String(error)) });
  context.after(() => store.close());
  for (const uid of ["a", "b", "c"]) await create(store, uid);
  const before = await store.record("a");
  await server.sql(url, "UPDATE records SET state = '{' WHERE uid = 'a'; UPDATE records SET bundle = '{', batch = '{' WHERE uid = 'b';");
  const again = await openOne(context, url);
  assert.equal(canonicalJson(await again.record("a")), canonicalJson(before));
  await assert.rejects(again.record("b"), /its bundle cannot be read/);
  await assert.rejects(append(again, "b", [cancelled("")]), /its bundle cannot be read/);
  assert.deepEqual((await again.recordsAfter({ after: 0, limit: 10, acknowledged: true })).map(({ uid }) => uid), ["a", "c"]);
  assert.deepEqual((await again.recordsAfter({ after: 1, limit: 1, acknowledged: true })).map(({ uid }) => uid), ["c"]);
  await append(again, "a", [cancelled("goes on")]);
  await append(again, "c", [cancelled("goes on")]);
  assert.deepEqual(await reasonsOf(store, "a"), ["goes on"]);
  assert.ok(reports.every((report) => /^Error: record [ab]: /.test(report)), reports.join("\n"));
});
