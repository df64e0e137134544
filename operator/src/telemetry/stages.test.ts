import assert from "node:assert/strict";
import { test } from "node:test";
import type { Session } from "@paddock/api/session";
import type { RecordView } from "@paddock/api/wire/records";
import type { Action } from "../kernel/kind.ts";
import { createStageTrace } from "./stages.ts";

function traced() {
  const state = { now: 1000, stages: [] as string[] };
  const trace = createStageTrace({ nowMs: () => state.now, onStage: (stage, seconds) => state.stages.push(`${stage} ${seconds}`) });
  return { state, trace };
}

// Only what the trace reads.
const session = (uid: string, status?: object): Session => ({ metadata: { uid, name: uid, namespace: "team" }, ...(status === undefined ? {} : { status }) }) as unknown as Session;
const record = (uid: string, connected: boolean, kind: "Active" | "Finished"): RecordView => ({ uid, runner: { connected }, activity: { kind } }) as unknown as RecordView;
const bind = (uid: string): Action => ({ verb: "bind", uid }) as unknown as Action;
const pod = (uid: string): Action => ({ verb: "create", object: { kind: "Pod", metadata: { name: "p", namespace: "team", ownerReferences: [{ uid }] } } }) as unknown as Action;

test("each stage is timed once, from the first sight", () => {
  const { state, trace } = traced();
  trace.onSession(session("u"));
  state.now += 3;
  trace.onAction(bind("u"));
  state.now += 4;
  trace.onAction(pod("u"));
  trace.onSession(session("u", {}));
  state.now += 100;
  trace.onRecord(record("u", true, "Active"));
  trace.onRecord(record("u", true, "Active"));
  trace.onAction(pod("u"));
  state.now += 1000;
  trace.onRecord(record("u", false, "Finished"));
  trace.onStatus("u", false);
  state.now += 2;
  trace.onStatus("u", true);
  trace.onStatus("u", true);
  assert.deepEqual(state.stages, ["bound 0.003", "dispatched 0.007", "connected 0.107", "finished 1.107", "terminal 1.109"]);
});

test("a Session whose beginning was not seen is not timed", () => {
  const { state, trace } = traced();
  trace.onSession(session("u", { startTime: "2026-05-05T10:00:00Z" }));
  trace.onAction(pod("u"));
  trace.onStatus("u", true);
  assert.deepEqual(state.stages, []);
});
