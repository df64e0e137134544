import assert from "node:assert/strict";
import { test } from "node:test";
import type { Announcement, Self } from "../kernel/kind.ts";
import type { BaseStatus } from "@paddock/api/object";
import { ApiError } from "./errors.ts";
import { type EventBounds, type EventFate, buildEvent, createEventRecorder } from "./events.ts";
import type { ApiRequest } from "./http.ts";

const metadata = { name: "hello", namespace: "team", uid: "u-1", resourceVersion: "1", creationTimestamp: "2026-05-05T10:00:00Z" };
const SELF: Self<BaseStatus> = { apiVersion: "paddock.dev/v1alpha1", kind: "Session", metadata };
const MISSING: Announcement = { type: "Warning", reason: "AgentNotFound", message: "Agent greeter does not exist in team" };

interface StoredEvent {
  readonly reason: string;
  readonly series?: { readonly count: number };
}

/** Events as the API server keeps them: created once, patched by merge. */
function house(bounds: Partial<EventBounds> = {}) {
  const state = { now: 0, stored: new Map<string, StoredEvent>(), requests: [] as string[], fates: [] as EventFate[], hold: undefined as Promise<void> | undefined, isAway: false };
  const answer = ({ method, path, body }: ApiRequest): StoredEvent => {
    if (state.isAway) throw new Error("away");
    if (method === "POST") {
      const event = body as StoredEvent & { readonly metadata: { readonly name: string } };
      if (state.stored.has(event.metadata.name)) throw new ApiError(409, "POST events", '{"reason":"AlreadyExists"}');
      state.stored.set(event.metadata.name, event);
      return event;
    }
    const name = path.split("/").at(-1) ?? "";
    const existing = state.stored.get(name);
    if (existing === undefined) throw new ApiError(404, "PATCH events", '{"reason":"NotFound"}');
    const patched = { ...existing, ...(body as object) };
    state.stored.set(name, patched);
    return patched;
  };
  const client = {
    request: async (request: ApiRequest) => {
      state.requests.push(`${request.method} ${request.path.split("/").slice(-1)[0] ?? ""}`);
      await state.hold;
      return answer(request);
    },
  };
  const fresh = () => createEventRecorder({ client, instance: "op-a", bounds, nowMs: () => state.now, onFate: (fate) => state.fates.push(fate) });
  const settle = async (): Promise<void> => {
    for (let turns = 0; turns < 10; turns += 1) await new Promise((resolve) => setImmediate(resolve));
  };
  const counts = (): readonly (number | undefined)[] => [...state.stored.values()].map(({ series }) => series?.count);
  return { state, fresh, settle, counts };
}

test("an event that repeats is one Event whose count is written at most once in five minutes", async () => {
  const { state, fresh, settle, counts } = house();
  const recorder = fresh();
  for (let times = 0; times < 4; times += 1) {
    recorder.record(SELF, [MISSING]);
    await settle();
  }
  assert.deepEqual([state.requests.length, counts()], [1, [undefined]]);
  state.now += 300_000;
  recorder.record(SELF, [MISSING]);
  await settle();
  assert.deepEqual([state.requests.length, counts()], [2, [5]]);
  assert.deepEqual(state.fates, ["written", "counted", "counted", "counted", "written"]);
});

test("the next operator goes on counting", async () => {
  const { fresh, settle, counts } = house();
  for (let operators = 0; operators < 3; operators += 1) {
    fresh().record(SELF, [MISSING]);
    await settle();
  }
  assert.deepEqual(counts(), [3]);
});

test("an Event that the API server has forgotten is made anew", async () => {
  const { state, fresh, settle, counts } = house();
  const recorder = fresh();
  recorder.record(SELF, [MISSING]);
  await settle();
  state.stored.clear();
  state.now += 3_600_000;
  recorder.record(SELF, [MISSING]);
  await settle();
  assert.deepEqual(counts(), [undefined]);
});

test("one object has so many events and then one a minute", async () => {
  const { state, fresh, settle } = house({ burst: 3 });
  const recorder = fresh();
  const say = async (number: number): Promise<void> => {
    recorder.record(SELF, [{ ...MISSING, message: `trouble ${number}` }]);
    await settle();
  };
  for (let number = 0; number < 10; number += 1) await say(number);
  assert.equal(state.stored.size, 3);
  state.now += 60_000;
  await say(20);
  await say(21);
  assert.equal(state.stored.size, 4);
  recorder.record({ ...SELF, metadata: { ...metadata, uid: "u-2" } }, [MISSING]);
  await settle();
  assert.equal(state.stored.size, 5);
});

test("an API server that does not answer makes no queue", async () => {
  const { state, fresh, settle } = house({ inFlight: 2, burst: 100 });
  let answerAll = (): void => undefined;
  state.hold = new Promise((resolve) => {
    answerAll = resolve;
  });
  const recorder = fresh();
  for (let number = 0; number < 50; number += 1) recorder.record(SELF, [{ ...MISSING, message: `trouble ${number}` }]);
  await settle();
  assert.equal(state.requests.length, 2);
  answerAll();
  await settle();
  assert.deepEqual([state.stored.size, state.fates.filter((fate) => fate === "dropped").length], [2, 48]);
});

test("a failed write is nobody's fault but its own", async () => {
  const { state, fresh, settle } = house();
  state.isAway = true;
  fresh().record(SELF, [MISSING]);
  await settle();
  assert.deepEqual(state.fates, ["failed"]);
});

test("what is remembered is bounded", async () => {
  const { state, fresh, settle } = house({ memory: 2, burst: 100 });
  const recorder = fresh();
  const say = async (number: number): Promise<void> => {
    recorder.record(SELF, [{ ...MISSING, message: `trouble ${number}` }]);
    await settle();
  };
  for (const number of [1, 2, 3, 1]) await say(number);
  // The first was forgotten, and is found at the API server.
  assert.deepEqual(state.fates, ["written", "written", "written", "written"]);
  assert.equal(state.stored.size, 3);
});

test("an event is within the API server's bounds and names the same thing the same way", () => {
  const now = new Date("2026-05-05T10:00:00.123Z");
  const long: Self<BaseStatus> = { ...SELF, metadata: { ...metadata, name: `${"a".repeat(229)}.${"b".repeat(23)}` } };
  const event = buildEvent(long, { ...MISSING, message: "ö".repeat(2000) }, { instance: "op-a", now });
  assert.ok(event.metadata.name.length <= 253);
  assert.match(event.metadata.name, /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/);
  assert.ok(Buffer.byteLength(event.note) <= 1024, String(Buffer.byteLength(event.note)));
  assert.equal(event.eventTime, "2026-05-05T10:00:00.123000Z");
  assert.equal(buildEvent(SELF, MISSING, { instance: "op-b", now: new Date() }).metadata.name, buildEvent(SELF, MISSING, { instance: "op-a", now }).metadata.name);
});
