import assert from "node:assert/strict";
import { test } from "node:test";
import type { Fault } from "../kernel/kind.ts";
import { explainFault } from "./claim.ts";
import { decideSession } from "./decide.ts";
import { START, at, attempted, record, session, world } from "./sample.ts";

function explained(kind: Fault["kind"], observed = world({ self: session({ status: attempted(1) }) })): unknown {
  return explainFault(observed, { kind, message: "the API server says no", retry: false, cause: undefined }).find(({ type }) => type === "Succeeded")?.reason;
}

test("faults that people can cure are told, others are not", () => {
  assert.equal(explained("forbidden"), "Forbidden");
  assert.equal(explained("invalid"), "Invalid");
  assert.equal(explained("name-conflict"), "NameConflict");
  for (const kind of ["conflict", "log-conflict", "namespace-terminating", "unavailable", "programming"] as const) assert.equal(explained(kind), undefined, kind);
});

test("an outage is told only to a Session that has heard nothing yet", () => {
  assert.equal(explained("unavailable", world()), "Pending");
  assert.equal(explained("unavailable"), undefined);
});

test("a finished Session hears of no fault any more", () => {
  const finished = { conditions: [{ type: "Finished", status: "True" as const, reason: "Completed", message: "", lastTransitionTime: START }] };
  assert.equal(explained("forbidden", world({ self: session({ status: finished }) })), undefined);
});

test("a run that has ended is told as finished even when its pods may not be deleted", () => {
  const ended = record({ activity: { kind: "Finished", outcome: "Completed", at: START } });
  assert.equal(explained("forbidden", world({ self: session({ status: attempted(1) }), record: ended })), undefined);
});

test("a name that is taken outside our caches ends the session in the pass after it was told", () => {
  const observed = world({ self: session({ status: attempted(1) }), record: record() });
  const [told] = explainFault(observed, { kind: "name-conflict", message: "Pod demo/notes-r1 exists already", retry: false, cause: undefined });
  const conditions = (attempted(1).conditions ?? []).map((condition) => (condition.type === told?.type ? { ...condition, ...told } : condition));
  const [action] = decideSession({ ...observed, self: session({ status: { ...attempted(1), conditions } }) }, at(2)).actions;
  const event = action?.verb === "append" ? action.events[0] : undefined;
  assert.deepEqual(event, { type: "run.finished", data: { outcome: "NameConflict", text: "", reason: "Pod demo/notes-r1 exists already", through: 2 } });
});
