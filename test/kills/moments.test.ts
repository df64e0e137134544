import assert from "node:assert/strict";
import { test } from "node:test";
import type { LogEvent, NewEvent } from "@paddock/api/log/events";
import { boundEvents, buildTestBundle, event, requestedEvent, respondedEvent, runFinishedEvent, startedEvent, toolFinishedEvent, toolStartedEvent } from "../fakes/session.ts";
import { createNaming, planKills, planRandom } from "./moments.ts";
import type { Baseline } from "./moments.ts";

const events: readonly NewEvent[] = [
  ...boundEvents(buildTestBundle("u1")),
  startedEvent("p1", 1),
  requestedEvent(1, 1, 2),
  respondedEvent(1, 1, [{ name: "bash", arguments: "{}" }]),
  event("sandbox.requested", { reason: "bash" }),
  event("sandbox.bound", { podUid: "s1", podName: "s1", address: "127.0.0.1" }),
  toolStartedEvent("root/1/0", 1),
  event("sandbox.lost", { podUid: "s1", reason: "gone" }),
  startedEvent("p2", 2),
  toolFinishedEvent("root/1/0"),
  runFinishedEvent(),
];
const OTHERS: ReadonlySet<string> = new Set(["session.bound", "input.received", "sandbox.bound", "sandbox.lost"]);
const log = events.map((one, index) => ({ ...one, seq: index + 1, role: OTHERS.has(one.type) ? "operator" : "runner" })) as unknown as readonly LogEvent[];
const baseline: Baseline = { log, steps: [0, 1], marks: ["one"], decided: ["root/1/0"], pods: ["r1", "s1"], milliseconds: 1000 };

test("events of one subject are told apart by their order", () => {
  const naming = createNaming();
  const names = events.map((one) => naming.name(one));
  assert.equal(new Set(names).size, events.length);
  assert.deepEqual([names[3], names[7], names[9]], ["model.requested 1 (1)", "tool.started root/1/0 (1)", "runner.started ~2"]);
  assert.equal(naming.next(startedEvent("p3", 3)), "runner.started ~3");
});

test("each event is a boundary for runner, operator and gateway, on both sides of those that the runner appends", () => {
  const count = (victim: "runner" | "operator" | "gateway", kind: string): number => planKills(baseline, victim).filter(({ moment }) => moment.kind === kind).length;
  assert.deepEqual([count("runner", "before"), count("runner", "after"), count("runner", "event")], [8, 8, 4]);
  assert.deepEqual([count("operator", "event"), count("operator", "made"), count("operator", "decided")], [12, 2, 1]);
  assert.deepEqual([count("gateway", "event"), count("gateway", "before"), count("gateway", "asked"), count("gateway", "effect")], [12, 8, 2, 1]);
});

test("a sandbox is killed while there is one", () => {
  const keys = planKills(baseline, "sandbox").flatMap(({ moment }) => ("key" in moment ? [moment.key] : []));
  assert.deepEqual(keys, ["sandbox.bound", "tool.started root/1/0 (1)"]);
});

test("random kills are those of their seed", () => {
  const plan = planRandom(baseline, { count: 40, seed: 7 });
  assert.deepEqual(planRandom(baseline, { count: 40, seed: 7 }), plan);
  assert.notDeepEqual(planRandom(baseline, { count: 40, seed: 8 }), plan);
  assert.deepEqual(new Set(plan.map(({ victim }) => victim)).size, 4);
  assert.ok(plan.every(({ moment }) => moment.kind === "time" && moment.ms < 1000));
});
