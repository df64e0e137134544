import assert from "node:assert/strict";
import { hashOf } from "@paddock/api/log/fold";
import { EMPTY_STATE } from "@paddock/api/log/state";
import { boundEvents, buildTestBundle, event, startedEvent } from "../../../../test/fakes/session.ts";
import { append, create, newRecord, write } from "./cases-scene.ts";
import type { Check } from "./cases-scene.ts";

const WRITERS = 60;

const cancelled = (reason: string) => event("session.cancelled", { reason });

/** Calls at the same time: each is whole, in one order, and none takes another with it. */
export function concurrencyCases(check: Check): void {
  check("gives every one of many writers its own place in one log", async ({ store }) => {
    await create(store, "a");
    await Promise.all(Array.from({ length: WRITERS }, (_, n) => append(store, "a", [cancelled(`by ${n}`)])));
    const events = await store.events("a", { after: 0, limit: 1000 });
    assert.deepEqual(events.map(({ seq }) => seq), Array.from({ length: WRITERS + 2 }, (_, n) => n + 1));
    let previous = "";
    for (const { hash, ...hashed } of events) {
      assert.equal(hash, hashOf(previous, hashed));
      previous = hash;
    }
    assert.equal(new Set(events.map(({ data }) => JSON.stringify(data))).size, WRITERS + 2);
  });

  check("a call that fails takes none of those beside it with it", async ({ store, reopen }) => {
    for (const uid of ["a", "b", "c"]) await create(store, uid);
    const twice = write(EMPTY_STATE, boundEvents(buildTestBundle("b")));
    const outcomes = await Promise.allSettled([
      append(store, "a", [cancelled("")]),
      store.change("a", () => {
        throw new Error("no");
      }),
      store.change("b", () => ({ write: { ...twice, ledger: [{ day: "2026-01-01", requests: 1 }] }, result: undefined })),
      append(store, "b", [cancelled("")]),
      store.change("c", ({ record }) => ({ write: write(record.state, [cancelled("")]), result: "done" })),
      store.create(newRecord("d"), write(EMPTY_STATE, boundEvents(buildTestBundle("d")))),
    ]);
    assert.deepEqual(outcomes.map(({ status }) => status), ["fulfilled", "rejected", "rejected", "fulfilled", "fulfilled", "fulfilled"]);
    const again = await reopen();
    for (const uid of ["a", "b", "c"]) assert.equal((await again.events(uid, { after: 0, limit: 10 })).length, 3, uid);
    assert.equal((await again.record("d"))?.bundleDigest, "digest-d");
    assert.deepEqual(await again.usage({ namespace: "team", from: "2026-01-01", to: "2026-01-01", by: [] }), []);
  });

  check("a call that fails at its last step leaves the next one what was there before", async ({ store, reopen }) => {
    await create(store, "a");
    const [broken, whole] = await Promise.allSettled([
      append(store, "a", [cancelled("undone")], { ledger: [{ day: undefined as never, requests: 1 }] }),
      append(store, "a", [cancelled("kept")]),
    ]);
    assert.deepEqual([broken.status, whole.status], ["rejected", "fulfilled"]);
    for (const open of [async () => store, reopen]) {
      const opened = await open();
      const events = await opened.events("a", { after: 0, limit: 10 });
      assert.deepEqual(events.map(({ data }) => ("reason" in data ? data.reason : "")), ["", "", "kept"]);
      assert.equal((await opened.record("a"))?.state.lastHash, events.at(-1)?.hash);
    }
  });

  check("a create that fails leaves nothing behind for the next one", async ({ store }) => {
    const { events, state } = write(EMPTY_STATE, boundEvents(buildTestBundle("a")));
    const [first] = events;
    assert.ok(first !== undefined);
    const other = newRecord("a", { bundle: buildTestBundle("a", { traceId: "f".repeat(32) }) });
    const [broken, whole] = await Promise.allSettled([
      store.create(newRecord("a"), { events: [...events, first], state }),
      store.create(other, write(EMPTY_STATE, boundEvents(other.bundle))),
    ]);
    assert.equal(broken.status, "rejected");
    assert.equal(whole.status, "fulfilled");
    assert.deepEqual((await store.record("a"))?.bundle, other.bundle);
  });

  check("makes one record of many creates at once", async ({ store }) => {
    const made = await Promise.all(
      Array.from({ length: 8 }, (_, n) => store.create(newRecord("a", { bindKey: `key ${n}` }), write(EMPTY_STATE, boundEvents(buildTestBundle("a"))))),
    );
    assert.equal(made.filter(({ created }) => created).length, 1);
    assert.equal(new Set(made.map(({ record }) => record.bindKey)).size, 1);
  });

  check("tells listeners in commit order, each time the record as it was then, before the caller knows", async ({ store }) => {
    const uids = ["a", "b", "c"];
    for (const uid of uids) await create(store, uid);
    const told: { readonly version: number; readonly uid: string; readonly lastSeq: number }[] = [];
    store.subscribe((change) => {
      if (change.kind === "record") told.push({ version: change.record.version, uid: change.record.uid, lastSeq: change.record.state.lastSeq });
    });
    const isTold: boolean[] = [];
    await Promise.all(
      Array.from({ length: WRITERS }, async (_, n) => {
        const uid = uids[n % uids.length] ?? "";
        const seq = await store.change(uid, ({ record }) => ({ write: write(record.state, [cancelled("")]), result: record.state.lastSeq + 1 }));
        isTold.push(told.some((one) => one.uid === uid && one.lastSeq === seq));
      }),
    );
    assert.deepEqual(told.map(({ version }) => version), Array.from({ length: WRITERS }, (_, n) => n + 4));
    for (const uid of uids) {
      const seqs = told.filter((one) => one.uid === uid).map(({ lastSeq }) => lastSeq);
      assert.deepEqual(seqs, Array.from({ length: WRITERS / 3 }, (_, n) => n + 3));
    }
    assert.deepEqual(isTold, isTold.map(() => true));
  });

  check("a listener that throws keeps nobody from knowing", async ({ store }) => {
    await create(store, "a");
    let told = 0;
    store.subscribe(() => {
      throw new Error("a listener's own fault");
    });
    store.subscribe(() => (told += 1));
    await append(store, "a", [startedEvent("p1", 1)]);
    assert.equal(told, 1);
    assert.equal((await store.events("a", { after: 0, limit: 10 })).length, 3);
  });

  check("finishes what was asked for before it closes", async ({ store, reopen }) => {
    await create(store, "a");
    const appended = Promise.all(Array.from({ length: WRITERS }, () => append(store, "a", [cancelled("")])));
    const again = await reopen();
    await appended;
    assert.equal((await again.events("a", { after: 0, limit: 1000 })).length, WRITERS + 2);
  });

  check("does not hear itself", async ({ store }) => {
    const heard: string[] = [];
    const unsubscribe = store.onBroadcast((text) => heard.push(text));
    await store.broadcast("hello");
    await create(store, "a");
    assert.deepEqual(heard, []);
    unsubscribe();
  });
}
