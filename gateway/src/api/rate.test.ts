import assert from "node:assert/strict";
import { test } from "node:test";
import type { Caller } from "../auth/roles.ts";
import { ProblemError, problemResponse } from "./problem.ts";
import { RATES, createGate, createRateLimiter } from "./rate.ts";
import type { Gate } from "./rate.ts";

const RATE = { perSecond: 2, burst: 3 };

/** A clock that stands until it is moved. */
function createClock(): { readonly clock: () => number; move(ms: number): void } {
  let now = 1000;
  return {
    clock: () => now,
    move: (ms) => {
      now += ms;
    },
  };
}

function person(username: string): Caller {
  return { role: "person", identity: { username, uid: "", groups: [], extra: {}, forGateway: false } };
}

function runner(podUid: string): Caller {
  return { role: "runner", namespace: "team", podUid, podName: podUid };
}

function refusalOf(gate: Gate, caller: Caller, path = "/v1/x"): ProblemError | undefined {
  try {
    gate(caller, path);
    return undefined;
  } catch (error) {
    assert.ok(error instanceof ProblemError);
    return error;
  }
}

test("a bucket gives its burst at once, then its rate, and fills again up to its burst", () => {
  const { clock, move } = createClock();
  const limiter = createRateLimiter(RATE, clock);
  assert.deepEqual([limiter.take("a"), limiter.take("a"), limiter.take("a"), limiter.take("a")], [0, 0, 0, 500]);
  move(400);
  assert.equal(Math.round(limiter.take("a")), 100, "what was refused took nothing");
  move(100);
  assert.equal(limiter.take("a"), 0);
  assert.equal(limiter.take("a"), 500);
  move(3_600_000);
  assert.deepEqual([1, 2, 3].map(() => limiter.take("a")), [0, 0, 0]);
  assert.equal(limiter.take("a"), 500, "an hour away earns a burst and no more");
});

test("each caller has a bucket of its own", () => {
  const limiter = createRateLimiter(RATE, createClock().clock);
  for (let n = 0; n < 4; n += 1) limiter.take("a");
  assert.equal(limiter.take("a"), 500);
  assert.equal(limiter.take("b"), 0);
});

test("callers are forgotten beyond a number, the one that has not asked for longest first", () => {
  const limiter = createRateLimiter(RATE, createClock().clock, 2);
  for (let n = 0; n < 3; n += 1) for (const key of ["a", "b"]) limiter.take(key);
  assert.ok(limiter.take("a") > 0);
  limiter.take("c");
  assert.equal(limiter.size(), 2);
  assert.ok(limiter.take("a") > 0, "a asked after b and is known");
  for (let n = 0; n < 10_000; n += 1) limiter.take(`stranger-${n}`);
  assert.equal(limiter.size(), 2);
});

test("a person who asks too often is told when to ask again, others are served", () => {
  const { clock, move } = createClock();
  const counted: string[] = [];
  const gate = createGate({ ...RATES, person: RATE }, { clock, count: (audience) => counted.push(audience) });
  for (let n = 0; n < 3; n += 1) assert.equal(refusalOf(gate, person("ann")), undefined);
  const refused = refusalOf(gate, person("ann"));
  assert.ok(refused !== undefined);
  assert.match(refused.message, /^ann asks more than 2 times a second, 3 at once: ask again in 1 s; follow/);
  const { status, headers } = problemResponse(refused);
  assert.deepEqual([status, headers.get("retry-after"), counted], [429, "1", ["person"]]);
  assert.equal(refusalOf(gate, person("bob")), undefined);
  move(1000);
  assert.equal(refusalOf(gate, person("ann")), undefined);
});

test("a pod's deltas are limited apart from its appends, and the operator is not limited", () => {
  const gate = createGate({ ...RATES, delta: RATE }, { clock: createClock().clock, count: () => undefined });
  for (let n = 0; n < 3; n += 1) assert.equal(refusalOf(gate, runner("p"), "/v1/runner/deltas"), undefined);
  assert.match(refusalOf(gate, runner("p"), "/v1/runner/deltas")?.message ?? "", /^pod p asks more than 2 times a second/);
  assert.equal(refusalOf(gate, runner("q"), "/v1/runner/deltas"), undefined);
  for (let n = 0; n < RATES.runner.burst; n += 1) assert.equal(refusalOf(gate, runner("p"), "/v1/runner/events"), undefined);
  for (let n = 0; n < 50_000; n += 1) gate({ role: "operator" }, "/v1/records");
});

test("no pod is kept from the appends that one of 200 writers needs of 10,000 a second", () => {
  assert.ok(RATES.runner.perSecond >= 10_000 / 200);
});
