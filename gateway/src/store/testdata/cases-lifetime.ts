import assert from "node:assert/strict";
import { sha256 } from "@paddock/api/log/canonical";
import type { Blob } from "@paddock/api/log/blobs";
import { EMPTY_STATE } from "@paddock/api/log/state";
import { boundEvents, buildTestBundle, event, runFinishedEvent, toolFinishedEvent } from "../../../../test/fakes/session.ts";
import { append, create, write } from "./cases-scene.ts";
import type { Check } from "./cases-scene.ts";
import type { Store } from "../store.ts";

const cancelled = event("session.cancelled", { reason: "" });

function blobOf(text: string): Blob {
  return { text, ref: { sha256: sha256(text), bytes: Buffer.byteLength(text), mediaType: "text/plain" } };
}

async function appendResult(store: Store, uid: string, blob: Blob, blobs: readonly Blob[] = [blob]): Promise<void> {
  await append(store, uid, [toolFinishedEvent("root/1/0", { content: "start", blob: blob.ref })], { blobs });
}

/** A record that finished at a time and was acknowledged. */
async function finish(store: Store, uid: string): Promise<void> {
  await append(store, uid, [runFinishedEvent()]);
  await store.acknowledge(uid);
}

/** What a record holds beside its events, and how long. */
export function lifetimeCases(check: Check): void {
  check("keeps payloads once, for those sessions only that reference them", async ({ store, reopen }) => {
    for (const uid of ["a", "b", "c"]) await create(store, uid);
    const blob = blobOf(`${"\0 ümlaut 🐎 \n".repeat(3000)}end`);
    await appendResult(store, "a", blob);
    await appendResult(store, "a", blob);
    // Another session with the same content.
    await appendResult(store, "b", blob);
    const again = await reopen();
    assert.equal(await again.blob("a", blob.ref.sha256), blob.text);
    assert.equal(await again.blob("b", blob.ref.sha256), blob.text);
    assert.equal(await again.blob("c", blob.ref.sha256), undefined);
    assert.equal(await again.blob("x", blob.ref.sha256), undefined);
    assert.equal(await again.blob("a", sha256("something else")), undefined);
  });

  check("a payload of an append that fails is not there", async ({ store }) => {
    await create(store, "a");
    const blob = blobOf("payload");
    const twice = write(EMPTY_STATE, boundEvents(buildTestBundle("a")));
    await assert.rejects(store.change("a", () => ({ write: { ...twice, blobs: [blob] }, result: undefined })));
    assert.equal(await store.blob("a", blob.ref.sha256), undefined);
    await assert.rejects(appendResult(store, "a", blob, []), /nobody stored/);
  });

  check("tells whose time has come, the earliest first, and when the next one does", async ({ store, reopen }) => {
    for (const uid of ["a", "b", "c", "d"]) await create(store, uid);
    assert.equal(await store.nextDueAt(), undefined);
    await append(store, "a", [cancelled], { dueAt: "2026-01-01T00:00:03.000Z" });
    await append(store, "b", [cancelled], { dueAt: "2026-01-01T00:00:01.000Z" });
    await append(store, "c", [cancelled], { dueAt: "2026-01-01T00:00:02.000Z" });
    await append(store, "d", [runFinishedEvent()], { dueAt: "2026-01-01T00:00:00.000Z" });
    const again = await reopen();
    assert.equal((await again.record("a"))?.dueAt, "2026-01-01T00:00:03.000Z");
    assert.equal(await again.nextDueAt(), "2026-01-01T00:00:01.000Z");
    assert.deepEqual(await again.due("2026-01-01T00:00:00.999Z", 10), []);
    assert.deepEqual(await again.due("2026-01-01T00:00:02.000Z", 10), ["b", "c"]);
    assert.deepEqual(await again.due("2026-01-02T00:00:00.000Z", 2), ["b", "c"]);
  });

  check("keeps when a record is due until a write says otherwise", async ({ store }) => {
    await create(store, "a");
    await append(store, "a", [cancelled], { dueAt: "2026-01-01T00:00:03.000Z" });
    await append(store, "a", [cancelled]);
    assert.equal((await store.record("a"))?.dueAt, "2026-01-01T00:00:03.000Z");
    await append(store, "a", [cancelled], { dueAt: undefined });
    assert.equal((await store.record("a"))?.dueAt, undefined);
    assert.equal(await store.nextDueAt(), undefined);
    assert.deepEqual(await store.due("2027-01-01T00:00:00.000Z", 10), []);
  });

  check("deletes what is old, finished and acknowledged, the oldest first, and nothing else", async ({ store, reopen }) => {
    for (const uid of ["a", "b", "live", "unseen"]) await create(store, uid);
    await store.register({ podUid: "p1", sessionUid: "a", component: "runner", podName: "p1" }, "2026-01-01T00:00:00.000Z");
    const [own, shared] = [blobOf("only of a"), blobOf("of a and live")];
    await appendResult(store, "a", own);
    await appendResult(store, "a", shared);
    await appendResult(store, "live", shared);
    await append(store, "unseen", [runFinishedEvent()]);
    await finish(store, "a");
    await finish(store, "b");
    assert.equal(await store.expire("2026-01-01T00:00:00.000Z", 10), 0, "they finished at that moment, not before it");
    assert.equal(await store.expire("2026-02-01T00:00:00.000Z", 1), 1);
    const left = async (of: Store) => (await of.recordsAfter({ after: 0, limit: 10, acknowledged: true })).map(({ uid }) => uid).sort();
    assert.equal((await left(store)).length, 3);
    assert.equal(await store.expire("2026-02-01T00:00:00.000Z", 10), 1);
    assert.equal(await store.expire("2026-02-01T00:00:00.000Z", 10), 0);
    const again = await reopen();
    assert.deepEqual(await left(again), ["live", "unseen"]);
    assert.equal(await again.record("a"), undefined);
    assert.deepEqual(await again.events("a", { after: 0, limit: 10 }), []);
    assert.equal(await again.registration("p1"), undefined);
    assert.equal(await again.blob("a", shared.ref.sha256), undefined);
    assert.equal(await again.blob("live", shared.ref.sha256), shared.text);
    // Nobody's any more, so an event that claims it finds nothing to reference.
    await assert.rejects(appendResult(again, "live", own, []), /nobody stored/);
  });

  check("goes on counting commits when the newest record is deleted", async ({ store, reopen }) => {
    await create(store, "a");
    await create(store, "b");
    await finish(store, "b");
    const newest = await store.version();
    await store.expire("2026-02-01T00:00:00.000Z", 10);
    assert.equal(await store.version(), newest);
    const again = await reopen();
    await append(again, "a", [cancelled]);
    assert.equal((await again.record("a"))?.version, newest + 1);
  });

  check("makes a record anew whose older one was deleted", async ({ store }) => {
    await create(store, "a");
    await finish(store, "a");
    const [gone] = await Promise.all([store.expire("2026-02-01T00:00:00.000Z", 10), create(store, "b")]);
    assert.equal(gone, 1);
    await create(store, "a");
    assert.equal((await store.events("a", { after: 0, limit: 10 })).length, 2);
  });
}
