import assert from "node:assert/strict";
import { test } from "node:test";
import type { NewEvent } from "@paddock/api/log/events";
import { decidedEvent, event, requestedEvent, respondedEvent, runFinishedEvent, startedEvent, toolFinishedEvent, toolStartedEvent } from "../../../test/fakes/session.ts";
import { BUNDLE, by, viewOf } from "../testdata/view.ts";
import { createGate, isEgressAllowed } from "./gate.ts";
import type { GateFacts } from "./gate.ts";

const CALL = "root/1/0";
const NOW = Date.parse(BUNDLE.startTime) + 1000;
const FACTS: GateFacts = { nowMs: NOW, epoch: 1, isEnding: false, isBehind: false, underWay: new Set() };

const started = [startedEvent("p1", 1)];
const running = [...started, requestedEvent(1, 1, 3), respondedEvent(1, 1, [{ name: "bash", arguments: "{}" }]), decidedEvent(BUNDLE, CALL), toolStartedEvent(CALL, 1)];
const suspended = by("operator", event("session.suspended", {}));

interface Row {
  readonly name: string;
  readonly log: readonly NewEvent[];
  readonly facts?: Partial<GateFacts>;
  readonly open: boolean;
}

const rows: readonly Row[] = [
  { name: "before this runner has its epoch", log: [], open: false },
  { name: "while the session works", log: started, open: true },
  { name: "while a call runs", log: running, facts: { underWay: new Set([CALL]) }, open: true },
  { name: "cancelled", log: [...running, event("session.cancelled", { reason: "asked" })], facts: { underWay: new Set([CALL]) }, open: false },
  { name: "finished", log: [...started, runFinishedEvent()], open: false },
  { name: "while its end is being recorded", log: started, facts: { underWay: new Set(["finish"]) }, open: false },
  { name: "past its deadline", log: started, facts: { nowMs: NOW + 86_400_000 }, open: false },
  { name: "another runner's", log: [...started, startedEvent("p2", 2)], open: false },
  { name: "of a runner that ends", log: running, facts: { isEnding: true, underWay: new Set([CALL]) }, open: false },
  { name: "that nobody can record", log: running, facts: { isBehind: true, underWay: new Set([CALL]) }, open: false },
  { name: "suspended while a call runs", log: [...running, suspended], facts: { underWay: new Set([CALL]) }, open: true },
  { name: "suspended after its call", log: [...running, suspended, toolFinishedEvent(CALL)], open: false },
  { name: "suspended with a call that no process of ours runs", log: [...running, suspended], open: false },
  { name: "resumed", log: [...started, suspended, by("operator", event("session.resumed", {}))], open: true },
  { name: "interrupted", log: [...running, by("person", event("turn.interrupted", { id: "i1" }))], open: true },
  { name: "while it waits for a message, however long", log: [...started, event("run.waiting", { for: "input", text: "", through: 3 })], facts: { nowMs: NOW + 86_400_000 }, open: true },
];

for (const { name, log, facts, open } of rows) {
  test(`a session ${name}: its sandbox's way out is ${open ? "open" : "closed"}`, () => assert.equal(isEgressAllowed(viewOf(log), { ...FACTS, ...facts }), open));
}

test("closing ends what is under way at once, opening gives a new signal, and what is shut stays shut", () => {
  const gate = createGate();
  assert.equal(gate.isOpen(), false);
  gate.set(true);
  const first = gate.signal();
  gate.set(true);
  assert.equal(gate.signal(), first);
  assert.equal(gate.isOpen() && !first.aborted, true);
  gate.set(false);
  assert.equal(first.aborted, true);
  gate.set(true);
  assert.notEqual(gate.signal(), first);
  gate.shut();
  assert.equal(gate.signal().aborted, true);
  gate.set(true);
  assert.equal(gate.isOpen(), false);
});
