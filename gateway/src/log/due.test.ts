import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Bundle } from "@paddock/api/log/bundle";
import type { SessionState } from "@paddock/api/log/state";
import { boundEvents, buildTestBundle, decidedEvent, event, foldAll, requestedEvent, respondedEvent, runFinishedEvent, startedEvent, toolFinishedEvent, toolStartedEvent } from "../../../test/fakes/session.ts";
import { customSeconds, dueAt, dueEvents } from "./due.ts";

const plain = buildTestBundle("u");
const note = { name: "post_note", description: "Post a note.", inputSchema: {}, timeoutSeconds: 90 };
const bundle: Bundle = { ...plain, agent: { ...plain.agent, spec: { ...plain.agent.spec, customTools: [note] } } };
const [CALL, CUSTOM, BUILT_IN] = ["root/1/0", "root/1/1", "root/1/2"] as const;
const EXPIRES = "2026-01-02T00:00:00.000Z";

const called = foldAll([...boundEvents(bundle), startedEvent("p1", 1), requestedEvent(1, 1, 3), respondedEvent(1, 1, ["bash", "post_note", "bash"].map((name) => ({ name, arguments: "{}" })))]);
const asked = foldAll([decidedEvent(bundle, CALL, { decision: "Ask" }), event("approval.requested", { call: CALL, tool: "bash", fingerprint: "f", summary: "true", argumentsDigest: "d", expiresAt: EXPIRES })], called);
/** The helper's calls are due at ten past. */
const custom = foldAll([toolStartedEvent(CUSTOM, 1), toolStartedEvent(BUILT_IN, 1)], asked);
const expired = { type: "approval.resolved", data: { call: CALL, fingerprint: "f", decision: "Expired", scope: "Once" } };

describe("what the gateway appends by itself", () => {
  const rows: readonly { readonly name: string; readonly state: SessionState; readonly at: string | undefined }[] = [
    { name: "nothing where nobody is asked", state: called, at: undefined },
    { name: "a pending approval's end", state: asked, at: EXPIRES },
    { name: "the earliest of all, and nothing about what the runner itself runs", state: custom, at: "2026-01-01T00:10:00.000Z" },
    { name: "nothing for what has its result", state: foldAll([toolFinishedEvent(CUSTOM)], custom), at: EXPIRES },
    { name: "nothing for what is decided", state: foldAll([event("approval.resolved", { call: CALL, fingerprint: "f", decision: "Approved", by: "ann", scope: "Once" })], asked), at: undefined },
    { name: "nothing for a session that has finished", state: foldAll([runFinishedEvent({ outcome: "Cancelled" })], custom), at: undefined },
  ];
  for (const { name, state, at } of rows) {
    test(name, () => assert.equal(dueAt(state, bundle), at));
  }

  test("is each thing from its own time on", () => {
    const due = (at: string): unknown[] => dueEvents(custom, bundle, new Date(at)).map(({ type, data }) => ({ type, data }));
    assert.deepEqual(due("2026-01-01T00:09:59.999Z"), []);
    const late = { type: "tool.finished", data: { call: CUSTOM, status: "timeout", content: "No result came within 90 seconds.", bytes: 33, seconds: 90 } };
    assert.deepEqual(due("2026-01-01T00:10:00.000Z"), [late]);
    assert.deepEqual(due(EXPIRES), [expired, late]);
  });

  test("a custom tool waits 600 seconds when it does not say", () => {
    const { timeoutSeconds: _, ...silent } = note;
    assert.deepEqual([customSeconds(note), customSeconds(silent)], [90, 600]);
  });
});
