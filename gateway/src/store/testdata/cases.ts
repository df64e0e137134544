import assert from "node:assert/strict";
import { describe } from "node:test";
import { canonicalJson } from "@paddock/api/log/canonical";
import { hashOf } from "@paddock/api/log/fold";
import { EMPTY_STATE } from "@paddock/api/log/state";
import { boundEvents, buildTestBundle, event, runFinishedEvent, startedEvent } from "../../../../test/fakes/session.ts";
import { concurrencyCases } from "./cases-concurrency.ts";
import { damageCases } from "./cases-damage.ts";
import { lifetimeCases } from "./cases-lifetime.ts";
import { moneyCases } from "./cases-money.ts";
import { AT, append, checkWith, create, newRecord, write } from "./cases-scene.ts";
import type { Check, StoreUnderTest } from "./cases-scene.ts";
import type { RecordQuery } from "../store.ts";

// What every store must do, run against each implementation.

/** Registers the cases; `open` gives an empty store. */
export function storeCases(name: string, open: () => Promise<StoreUnderTest>): void {
  describe(`a store on ${name}`, () => {
    const check = checkWith(open);
    recordCases(check);
    concurrencyCases(check);
    moneyCases(check);
    lifetimeCases(check);
    damageCases(check);
  });
}

function recordCases(check: Check): void {
  check("gives back a record and its events as they were written", async ({ store, reopen }) => {
    const record = newRecord("a");
    const written = write(EMPTY_STATE, boundEvents(record.bundle));
    const { created, record: stored } = await store.create(record, written);
    assert.equal(created, true);
    assert.equal(canonicalJson(stored.state), canonicalJson(written.state));
    assert.deepEqual(stored.bundle, record.bundle);
    assert.equal(stored.version, 1);
    assert.deepEqual(await store.events("a", { after: 0, limit: 10 }), written.events);
    const again = await reopen();
    assert.deepEqual(await again.events("a", { after: 0, limit: 10 }), written.events);
    assert.deepEqual(await again.record("a"), stored);
  });

  check("keeps a chain of hashes over the text as stored", async ({ store }) => {
    await create(store, "a");
    await append(store, "a", [startedEvent("p1", 1)]);
    let previous = "";
    for (const { hash, ...hashed } of await store.events("a", { after: 0, limit: 10 })) {
      assert.equal(hash, hashOf(previous, hashed));
      previous = hash;
    }
    assert.equal((await store.record("a"))?.state.lastHash, previous);
  });

  check("creates a record once", async ({ store }) => {
    await create(store, "a");
    const other = newRecord("a", { bundleDigest: "other" });
    const { created, record } = await store.create(other, write(EMPTY_STATE, boundEvents(other.bundle)));
    assert.equal(created, false);
    assert.equal(record.bundleDigest, "digest-a");
    assert.equal((await store.events("a", { after: 0, limit: 10 })).length, 2);
  });

  check("writes nothing when a decision throws", async ({ store }) => {
    await create(store, "a");
    const before = await store.record("a");
    await assert.rejects(
      store.change("a", () => {
        throw new Error("no");
      }),
      /no/,
    );
    assert.deepEqual(await store.record("a"), before);
    await append(store, "a", [startedEvent("p1", 1)]);
  });

  check("writes nothing of an append that cannot be stored whole", async ({ store }) => {
    await create(store, "a");
    const before = await store.record("a");
    const twice = write(EMPTY_STATE, boundEvents(buildTestBundle("a")));
    await assert.rejects(store.change("a", () => ({ write: twice, result: undefined })));
    assert.deepEqual(await store.record("a"), before);
    assert.equal((await store.events("a", { after: 0, limit: 10 })).length, 2);
  });

  check("says that there is no such record", async ({ store }) => {
    assert.equal(await store.change("x", () => ({ result: 1 })), undefined);
    assert.equal(await store.record("x"), undefined);
    assert.equal(await store.acknowledge("x"), "unknown");
    assert.equal(await store.register({ podUid: "p", sessionUid: "x", component: "runner", podName: "p" }, AT), "unknown-session");
  });

  check("pages and filters events", async ({ store }) => {
    await create(store, "a");
    await append(store, "a", [event("session.cancelled", { reason: "" }), runFinishedEvent()]);
    const seqs = async (after: number, limit: number): Promise<number[]> => (await store.events("a", { after, limit })).map(({ seq }) => seq);
    assert.deepEqual(await seqs(0, 2), [1, 2]);
    assert.deepEqual(await seqs(2, 2), [3, 4]);
    assert.deepEqual(await seqs(4, 2), []);
    const cancelled = await store.events("a", { after: 0, limit: 10, types: ["session.cancelled", "session.bound"] });
    assert.deepEqual(cancelled.map(({ seq }) => seq), [1, 3]);
  });

  check("gives large events in several pages", async ({ store }) => {
    await create(store, "a");
    for (let n = 0; n < 6; n += 1) await append(store, "a", [event("session.cancelled", { reason: "x".repeat(1_000_000) })]);
    const first = await store.events("a", { after: 0, limit: 100 });
    assert.ok(first.length < 8 && first.length > 2, `${first.length} events in one page`);
    const rest = await store.events("a", { after: first.length, limit: 100 });
    assert.equal(first.length + rest.length, 8);
  });

  check("counts commits over all records and tells listeners in that order", async ({ store, reopen }) => {
    const told: string[] = [];
    const unsubscribe = store.subscribe((change) => {
      if (change.kind === "record") told.push(`${change.record.uid}${change.record.version}`);
    });
    await create(store, "a");
    await create(store, "b");
    await Promise.all([append(store, "a", [startedEvent("p1", 1)]), append(store, "b", [startedEvent("p2", 1)])]);
    await store.change("a", () => ({ result: "looked" }));
    unsubscribe();
    await append(store, "b", [event("session.cancelled", { reason: "" })]);
    assert.deepEqual(told, ["a1", "b2", "a3", "b4"]);
    assert.equal(await store.version(), 5);
    const again = await reopen();
    await append(again, "a", [event("session.cancelled", { reason: "" })]);
    assert.equal((await again.record("a"))?.version, 6);
  });

  check("lists what changed, acknowledged records only to those who may have seen them", async ({ store }) => {
    for (const uid of ["a", "b", "c"]) await create(store, uid);
    await append(store, "a", [runFinishedEvent()]);
    assert.equal(await store.acknowledge("b"), "unfinished");
    assert.equal(await store.acknowledge("a"), "acknowledged");
    assert.equal(await store.acknowledge("a"), "acknowledged");
    const listed = async (query: RecordQuery): Promise<string[]> => (await store.recordsAfter(query)).map(({ uid }) => uid);
    assert.deepEqual(await listed({ after: 0, limit: 10, acknowledged: false }), ["b", "c"]);
    assert.deepEqual(await listed({ after: 2, limit: 10, acknowledged: false }), ["c"]);
    assert.deepEqual(await listed({ after: 2, limit: 10, acknowledged: true }), ["c", "a"]);
    assert.deepEqual(await listed({ after: 0, limit: 1, acknowledged: true }), ["b"]);
    assert.equal((await store.events("a", { after: 0, limit: 10 })).length, 3);
  });

  check("finds sessions by name, the newest first, and none of an older namespace", async ({ store }) => {
    await create(store, "old", { namespaceUid: "n0" });
    assert.equal((await store.recordNamed("team", "job"))?.uid, "old");
    await create(store, "first");
    await create(store, "second");
    await create(store, "elsewhere", { namespace: "other", namespaceUid: "o1" });
    assert.equal((await store.recordNamed("team", "job"))?.uid, "second");
    assert.equal((await store.recordNamed("team", "job", "first"))?.uid, "first");
    assert.equal(await store.recordNamed("team", "job", "old"), undefined);
    assert.equal(await store.recordNamed("team", "job", "elsewhere"), undefined);
    assert.equal(await store.recordNamed("team", "nothing"), undefined);
  });

  check("knows the newest registered runner, and each pod's one session", async ({ store }) => {
    await create(store, "a");
    await create(store, "b");
    const pod = (podUid: string, sessionUid: string, component: "runner" | "sandbox") => store.register({ podUid, sessionUid, component, podName: podUid }, AT);
    assert.equal(await pod("r1", "a", "runner"), "registered");
    assert.equal(await pod("r2", "a", "runner"), "registered");
    assert.equal(await pod("r1", "a", "runner"), "registered");
    assert.equal(await pod("s1", "a", "sandbox"), "registered");
    assert.equal(await pod("r1", "b", "runner"), "conflict");
    assert.equal(await pod("s1", "a", "runner"), "conflict");
    assert.deepEqual((await store.record("a"))?.runner, { podUid: "r2", connected: false, since: AT });
    assert.deepEqual(await store.registration("s1"), { podUid: "s1", sessionUid: "a", component: "sandbox", podName: "s1" });
    assert.equal(await store.registration("r9"), undefined);
  });

  check("notes whether the newest runner is connected, and forgets it at a start", async ({ store, reopen }) => {
    await create(store, "a");
    await store.register({ podUid: "r1", sessionUid: "a", component: "runner", podName: "r1" }, AT);
    const later = "2026-01-01T00:00:05.000Z";
    await store.connected("a", "r0", true, later);
    assert.equal((await store.record("a"))?.runner.connected, false);
    await store.connected("a", "r1", true, later);
    await store.connected("a", "r1", true, "2026-01-01T00:00:09.000Z");
    const record = await store.record("a");
    assert.deepEqual(record?.runner, { podUid: "r1", connected: true, since: later });
    const again = await reopen();
    const after = await again.record("a");
    assert.equal(after?.runner.connected, false);
    assert.equal(after.version, (record?.version ?? 0) + 1);
  });

  check("keeps the reply of the last batch", async ({ store, reopen }) => {
    await create(store, "a");
    const batch = { epoch: 1, batch: 1, digest: "sha256:d", seqs: [3] };
    await store.change("a", ({ record: { state } }) => ({ write: { ...write(state, [startedEvent("p1", 1)]), batch }, result: undefined }));
    await append(store, "a", [event("session.cancelled", { reason: "" })]);
    assert.deepEqual((await (await reopen()).record("a"))?.batch, batch);
  });

  check("makes a secret once and keeps its own identity", async ({ store, reopen }) => {
    let made = 0;
    const make = async (): Promise<string> => `secret ${(made += 1)}`;
    const values = await Promise.all([store.secret("ca", make), store.secret("ca", make)]);
    assert.equal(values[0], values[1]);
    const { incarnation } = store;
    const again = await reopen();
    assert.equal(await again.secret("ca", make), values[0]);
    assert.equal(again.incarnation, incarnation);
    await again.check();
  });
}
