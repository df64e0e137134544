import assert from "node:assert/strict";
import { event, runFinishedEvent } from "../../../../test/fakes/session.ts";
import { append, create } from "./cases-scene.ts";
import type { Check, Damage, StoreUnderTest } from "./cases-scene.ts";
import { LogCorruptError } from "../store.ts";

const DAMAGES: readonly { readonly title: string; readonly damage: Damage; readonly says: RegExp }[] = [
  { title: "an event in the middle is missing", damage: { kind: "delete", uid: "a", seq: 3 }, says: /^event 3: it is missing/ },
  { title: "the first event is missing", damage: { kind: "delete", uid: "a", seq: 1 }, says: /^event 1: it is missing/ },
  { title: "the last event is missing", damage: { kind: "delete", uid: "a", seq: 5 }, says: /^event 5: it is missing/ },
  { title: "two events changed places", damage: { kind: "swap", uid: "a", seqs: [3, 4] }, says: /^event 3: its hash/ },
  { title: "an event's text is another", damage: { kind: "rewrite", uid: "a", seq: 4, body: '{"seq":4,"type":"session.cancelled","data":{"reason":"forged"}}' }, says: /^event 4: its hash/ },
  { title: "an event's text is no JSON", damage: { kind: "rewrite", uid: "a", seq: 2, body: '{"seq":' }, says: /^event 2: its/ },
];

async function setScene({ store }: StoreUnderTest): Promise<void> {
  for (const uid of ["a", "b"]) {
    await create(store, uid);
    for (const reason of ["x", "y", "z"]) await append(store, uid, [event("session.cancelled", { reason })]);
  }
}

/** Logs that are not what was appended: seen when they are read, and nobody else's trouble. */
export function damageCases(check: Check): void {
  for (const { title, damage, says } of DAMAGES) {
    check(`sees that ${title}, and serves the other sessions`, async (opened) => {
      await setScene(opened);
      await opened.damage(damage);
      // What a store still holds in memory is whole.
      const store = await opened.reopen();
      await assert.rejects(store.events("a", { after: 0, limit: 100 }), (error) => error instanceof LogCorruptError && error.uid === "a" && says.test(error.message));
      assert.equal((await store.events("b", { after: 0, limit: 100 })).length, 5);
      await append(store, "b", [event("session.cancelled", { reason: "" })]);
      assert.deepEqual((await store.recordsAfter({ after: 0, limit: 10, acknowledged: true })).map(({ uid }) => uid), ["a", "b"]);
    });
  }

  check("checks each page against the one before it", async (opened) => {
    await setScene(opened);
    await opened.damage({ kind: "rewrite", uid: "a", seq: 4, body: "{}" });
    const store = await opened.reopen();
    assert.equal((await store.events("a", { after: 0, limit: 3 })).length, 3);
    await assert.rejects(store.events("a", { after: 3, limit: 3 }), LogCorruptError);
    await assert.rejects(store.events("a", { after: 0, limit: 3, types: ["session.cancelled"] }), LogCorruptError);
    assert.equal((await store.events("a", { after: 4, limit: 3 })).length, 1);
  });

  check("sees between events of some types that the one before is missing", async (opened) => {
    await setScene(opened);
    await opened.damage({ kind: "delete", uid: "a", seq: 2 });
    const store = await opened.reopen();
    await assert.rejects(store.events("a", { after: 0, limit: 10, types: ["session.cancelled"] }), /event 2: it is missing/);
  });

  check("remembers the first thing that was wrong with a log, and lets its session end", async (opened) => {
    await setScene(opened);
    const { store, reopen } = opened;
    const told: (string | undefined)[] = [];
    store.subscribe((change) => {
      if (change.kind === "record") told.push(change.record.corrupt);
    });
    const before = await store.version();
    await store.markCorrupt("a", "event 3: it is missing");
    await store.markCorrupt("a", "something else");
    await store.markCorrupt("unknown", "nothing");
    assert.deepEqual(told, ["event 3: it is missing"]);
    assert.equal(await store.version(), before + 1);
    await opened.damage({ kind: "delete", uid: "a", seq: 3 });
    await append(store, "a", [runFinishedEvent({ outcome: "LogCorrupt" })]);
    const again = await reopen();
    const record = await again.record("a");
    assert.equal(record?.corrupt, "event 3: it is missing");
    assert.equal(record.state.finished?.outcome, "LogCorrupt");
    assert.equal((await again.record("b"))?.corrupt, undefined);
  });
}
