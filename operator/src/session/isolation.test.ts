import assert from "node:assert/strict";
import { test } from "node:test";
import type { SandboxState } from "@paddock/api/log/state";
import type { RecordView } from "@paddock/api/wire/records";
import { decideSession } from "./decide.ts";
import { claimIsolated } from "./isolation.ts";
import { START, at, attempted, pod, record, running, session, world } from "./sample.ts";

const bound = { podUid: "uid-of-notes-s1", podName: "notes-s1", address: "10.0.0.7" };
const OPEN = ["API server (tcp 10.96.0.1:443)"];

function probed(open: readonly string[], { sandbox = {}, enforcement }: { sandbox?: Partial<SandboxState>; enforcement?: "Unverified" } = {}): RecordView {
  const { bundle } = record();
  const spec = { ...bundle.environment.spec, network: { ...bundle.environment.spec.network, ...(enforcement === undefined ? {} : { enforcement }) } };
  return record({ bundle: { ...bundle, environment: { ...bundle.environment, spec } }, sandbox: { requested: 1, pending: false, bound, isolation: { podUid: bound.podUid, open }, ...sandbox } });
}

const CASES: readonly (readonly [string, RecordView | undefined, string, RegExp])[] = [
  ["no record", undefined, "Unknown NotProbed", /^$/],
  ["no sandbox", record(), "Unknown NotProbed", /^$/],
  ["a sandbox that has not reported", record({ sandbox: { requested: 1, pending: false, bound } }), "Unknown NotProbed", /^$/],
  ["nothing open", probed([]), "True Proven", /nothing open/],
  ["nothing open, and the pod is gone", record({ sandbox: { requested: 1, pending: false, lost: bound.podUid, isolation: { podUid: bound.podUid, open: [] } } }), "True Proven", /nothing open/],
  ["something open", probed(OPEN), "False NotIsolated", /API server \(tcp 10\.96\.0\.1:443\).*Cilium or Calico.*network\.enforcement: Unverified in Environment standard/],
  ["something open, accepted", probed(OPEN, { enforcement: "Unverified" }), "False Unverified", /API server .* Unverified, so the session goes on/],
  ["a newer sandbox than the one that reported", probed([], { sandbox: { requested: 2, bound: { ...bound, podUid: "newer" } } }), "Unknown NotProbed", /newest sandbox has not reported/],
];

for (const [name, found, expected, says] of CASES) {
  test(`Isolated with ${name} is ${expected}`, () => {
    const { status, reason, message } = claimIsolated({ self: session(), record: found });
    assert.equal(`${status} ${reason}`, expected);
    assert.match(message, says);
  });
}

test("what a sandbox says it has reached cannot move a reader's cursor, nor fill a condition", () => {
  const { message } = claimIsolated({ self: session(), record: probed(["\u001b[2J\u202eevil\n", ...Array.from({ length: 7 }, () => "x".repeat(256))]) });
  assert.match(message, /^[ -~…]*$/);
  assert.ok(message.length <= 1024);
});

test("the condition is there from the first word on, stays when the log is not known, and is told with the end", () => {
  const claimed = (plan: ReturnType<typeof decideSession>) => plan.claims?.filter(({ type }) => type === "Isolated").map(({ status, reason }) => `${status} ${reason}`);
  assert.deepEqual(claimed(decideSession(world({ agent: undefined }), at(0))), ["Unknown NotProbed"]);
  const told = { type: "Isolated" as const, status: "True" as const, reason: "Proven" as const, message: "m", lastTransitionTime: START };
  const status = { ...attempted(1), conditions: [...(attempted(1).conditions ?? []), told] };
  assert.deepEqual(claimed(decideSession(world({ self: session({ status }) }), at(0))), ["True Proven"], "the log is lost");
  const activity = { kind: "Finished" as const, outcome: "NotIsolated" as const, at: START };
  const result = { outcome: "NotIsolated" as const, text: "", truncated: false, message: "The sandbox reached the API server." };
  const plan = decideSession(world({ self: session({ status: attempted(1) }), record: { ...probed(OPEN), activity, result } }), at(9));
  assert.deepEqual(claimed(plan), ["False NotIsolated"]);
  assert.equal(plan.claims?.find(({ type }) => type === "Succeeded")?.message, result.message);
});

test("a session whose pods run is told once that it is isolated", () => {
  const pods = [pod("notes-r1", "runner", { status: running }), pod("notes-s1", "sandbox", { status: running })];
  const log = { ...probed([]), runner: { podUid: "uid-of-notes-r1", epoch: 1, connected: true, since: START }, turns: 1 };
  const plan = decideSession(world({ self: session({ status: attempted(1) }), record: log, pods }), at(30));
  assert.ok(plan.claims?.some(({ type, reason }) => type === "Isolated" && reason === "Proven"));
});
