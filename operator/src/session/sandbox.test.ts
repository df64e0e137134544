import assert from "node:assert/strict";
import { test } from "node:test";
import type { RecordView } from "@paddock/api/wire/records";
import type { PodView } from "../sources.ts";
import type { SessionWorld } from "./observe.ts";
import { START, at, environment, failed, pod, record, running, world } from "./sample.ts";
import { type SandboxPart, decideSandbox } from "./sandbox.ts";

const bound = { podUid: "uid-of-notes-s1", podName: "notes-s1", address: "10.0.0.7" };

function decide(sandbox: RecordView["sandbox"], pods: readonly PodView[] = [], { seconds = 1, ...change }: Partial<SessionWorld> & { readonly seconds?: number } = {}): SandboxPart {
  return decideSandbox(world({ pods, ...change }), record({ sandbox }), at(seconds));
}

/** Actions in a few words. */
function summary({ actions }: SandboxPart): readonly string[] {
  return actions.map((action) => {
    switch (action.verb) {
      case "create":
        return `create ${action.object.metadata.name}`;
      case "delete":
        return `delete ${action.key.name}`;
      case "append":
        return action.events.map(({ type }) => type).join();
      default:
        return action.verb;
    }
  });
}

test("no sandbox before one is asked for", () => {
  assert.deepEqual(decide({ requested: 0, pending: false }), { actions: [] });
});

test("the n-th request makes the n-th pod", () => {
  assert.deepEqual(summary(decide({ requested: 1, pending: true })), ["create notes-s1"]);
  assert.deepEqual(summary(decide({ requested: 2, pending: true })), ["create notes-s2"]);
});

test("a pod that is coming up is waited for; a running one is registered and bound", () => {
  assert.deepEqual(decide({ requested: 1, pending: true }, [pod("notes-s1", "sandbox")]), { actions: [] });
  const { podIP: _, ...noAddress } = running;
  assert.deepEqual(decide({ requested: 1, pending: true }, [pod("notes-s1", "sandbox", { status: noAddress })]), { actions: [] });
  const { actions } = decide({ requested: 1, pending: true }, [pod("notes-s1", "sandbox", { status: running })]);
  assert.deepEqual(actions, [
    { verb: "register", podUid: "uid-of-notes-s1", registration: { sessionUid: "session-uid", component: "sandbox", podName: "notes-s1" } },
    { verb: "append", uid: "session-uid", events: [{ type: "sandbox.bound", data: bound }] },
  ]);
});

test("a bound pod is left alone while it lives, and reported when it has ended or is gone", () => {
  const state = { requested: 1, pending: false, bound };
  assert.deepEqual(decide(state, [pod("notes-s1", "sandbox", { status: running })]), { actions: [] });
  const lost = (pods: readonly PodView[]): unknown => {
    const [append] = decide(state, pods).actions;
    return append?.verb === "append" ? append.events[0]?.data : undefined;
  };
  assert.deepEqual(lost([]), { podUid: "uid-of-notes-s1", reason: "Pod notes-s1 was deleted" });
  assert.deepEqual(lost([pod("notes-s1", "sandbox", { status: failed(137, { reason: "OOMKilled" }) })]), { podUid: "uid-of-notes-s1", reason: "Pod notes-s1 ended: OOMKilled, exit code 137. Its commands used more memory than they may: raise spec.sandbox.resources.limits.memory of Environment standard." });
  assert.deepEqual(lost([pod("notes-s1", "sandbox", { status: { phase: "Failed", reason: "Evicted", message: "disk" } })]), { podUid: "uid-of-notes-s1", reason: "Pod notes-s1 ended: Evicted: disk" });
});

test("a pod that has ended before it was bound is reported too, so that the runner asks again", () => {
  assert.deepEqual(summary(decide({ requested: 1, pending: true }, [pod("notes-s1", "sandbox", { status: failed(1) })])), ["sandbox.lost"]);
});

test("after a loss nothing is made until the log asks", () => {
  assert.deepEqual(decide({ requested: 1, pending: false, lost: "uid-of-notes-s1" }, [pod("notes-s1", "sandbox", { status: failed(1) })]), { actions: [] });
});

test("a replaced sandbox that still lives is deleted, one that has ended is kept for its logs", () => {
  const state = { requested: 2, pending: true };
  assert.deepEqual(summary(decide(state, [pod("notes-s1", "sandbox", { status: running })], { seconds: 9 })), ["delete notes-s1", "create notes-s2"]);
  assert.deepEqual(summary(decide(state, [pod("notes-s1", "sandbox", { status: failed(1) })], { seconds: 9 })), ["create notes-s2"]);
});

test("sandboxes that die at once are made more and more rarely", () => {
  const dead = pod("notes-s4", "sandbox", { status: failed(1) });
  assert.deepEqual(decide({ requested: 5, pending: true }, [dead], { seconds: 2 }), { actions: [], requeueAfterMs: 6000 });
  assert.deepEqual(summary(decide({ requested: 5, pending: true }, [dead], { seconds: 8 })), ["create notes-s5"]);
});

test("no sandbox pod without a Ready Environment; the session is told", () => {
  const trouble = (change: SessionWorld["environment"]): string => {
    const part = decide({ requested: 1, pending: true }, [], { environment: change });
    assert.deepEqual(part.actions, []);
    return `${part.trouble?.reason ?? ""}: ${part.trouble?.message ?? ""}`;
  };
  assert.match(trouble(undefined), /^EnvironmentNotFound: Environment standard does not exist/);
  assert.match(trouble({ ...environment, status: {} }), /^EnvironmentNotReady: .*being set up/);
  const leaving = { ...environment, metadata: { ...environment.metadata, deletionTimestamp: START } };
  assert.match(trouble(leaving), /^EnvironmentNotReady: .*being deleted/);
});
