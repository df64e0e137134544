import assert from "node:assert/strict";
import { test } from "node:test";
import { createDeltas } from "./deltas.ts";
import { createFollowers } from "./follow.ts";

/** Two ends of what tells gateways with one store apart from the store itself. */
function createAir(): { readonly broadcast: (from: number, text: string) => void; listen(at: number, listener: (text: string) => void): () => void } {
  const listeners = new Map<number, (text: string) => void>();
  return {
    broadcast: (from, text) => {
      for (const [at, listener] of listeners) if (at !== from) listener(text);
    },
    listen: (at, listener) => {
      listeners.set(at, listener);
      return () => listeners.delete(at);
    },
  };
}

function open(air: ReturnType<typeof createAir>, at: number) {
  const followers = createFollowers();
  const broadcast = (text: string): Promise<void> => Promise.resolve(air.broadcast(at, text));
  return { followers, deltas: createDeltas({ broadcast, onBroadcast: (listener) => air.listen(at, listener) }, followers) };
}

const delta = { turn: 1, attempt: 1, text: "Hel" };

test("what a model streams through one gateway is shown to readers at the others too, once", () => {
  const air = createAir();
  const [one, other] = [open(air, 1), open(air, 2)];
  const readers = [one, other].map(({ followers }) => followers.join("u"));
  const stranger = other.followers.join("v");
  one.deltas.show({ uid: "u", after: 4, delta });
  for (const reader of readers) {
    assert.deepEqual(reader.takeDeltas(3), [], "not before the event that it follows");
    assert.deepEqual(reader.takeDeltas(4), [delta]);
    assert.deepEqual(reader.takeDeltas(4), []);
  }
  assert.deepEqual(stranger.takeDeltas(4), []);
});

test("what another release broadcasts, and what comes after closing, is let be", () => {
  const air = createAir();
  const { followers, deltas } = open(air, 1);
  const reader = followers.join("u");
  for (const text of ["", "{", "[]", '{"uid":"u"}', '{"uid":"u","after":1,"delta":{"turn":0,"attempt":1}}']) air.broadcast(2, text);
  assert.deepEqual(reader.takeDeltas(9), []);
  deltas.close();
  air.broadcast(2, JSON.stringify({ uid: "u", after: 1, delta }));
  assert.deepEqual(reader.takeDeltas(9), []);
});
