import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Bundle } from "@paddock/api/log/bundle";
import type { EventDataOf, NewEvent } from "@paddock/api/log/events";
import { deadlineAt } from "@paddock/api/log/state";
import type { SessionState } from "@paddock/api/log/state";
import {
  boundEvents,
  buildTestBundle,
  event,
  foldAll,
  requestedEvent,
  respondedEvent,
  runFinishedEvent,
  startedEvent,
  toolFinishedEvent,
} from "../../../test/fakes/session.ts";
import { admit } from "./admit.ts";
import type { Admission, Appender } from "./admission.ts";
import { rowsOf } from "./testdata/rows.ts";

const bundle = buildTestBundle("u", { mode: "Conversation", limits: { maxTurns: 2, timeoutSeconds: 60 }, startTime: "2025-12-31T23:59:30.000Z" });
const task: Bundle = { ...bundle, mode: "Task" };
const CALL = "root/1/0";
/** What foldAll stamps every event with. */
const NOW = new Date("2026-01-01T00:00:00.000Z");

const bound = foldAll(boundEvents(bundle));
const started = foldAll([startedEvent("p1", 1)], bound);
const requested = foldAll([requestedEvent(1, 1, 3)], started);
const answered = foldAll([respondedEvent(1, 1)], requested);
const called = foldAll([respondedEvent(1, 1, [{ name: "bash", arguments: "{}" }])], requested);
const ran = foldAll([toolFinishedEvent(CALL, { status: "error" })], called);
const waiting = foldAll([waits(answered)], answered);
const asked = foldAll([input("again")], waiting);
const cancelled = foldAll([event("session.cancelled", { reason: "spec.cancel" })], waiting);
const over = foldAll([runFinishedEvent({ outcome: "Cancelled", through: cancelled.lastSeq })], cancelled);
/** The second message came while the first was being answered. */
const unseen = foldAll([input("meanwhile"), respondedEvent(1, 1)], requested);

function waits({ lastSeq }: SessionState, through = lastSeq): NewEvent {
  return event("run.waiting", { for: "input", text: "Done.", through });
}

function input(id: string, content = "more"): NewEvent {
  return event("input.received", { id, content });
}

/** An input as a person's append is stored. */
function inputBy(state: SessionState, id: string, by: string): SessionState {
  const folded = foldAll([input(id)], state);
  return { ...folded, inputs: folded.inputs.map((one) => (one.seq === folded.lastSeq ? { ...one, by } : one)) };
}

interface Asked {
  readonly who?: Appender["role"];
  readonly bundle?: Bundle;
  readonly now?: Date;
}

const WHO: Readonly<Record<Appender["role"], Appender>> = {
  gateway: { role: "gateway" },
  operator: { role: "operator" },
  person: { role: "person", username: "ann" },
  runner: { role: "runner", podUid: "p1", epoch: 1, newestPodUid: "p1" },
};

function ask(state: SessionState, appended: NewEvent, { who = "runner", bundle: frozen = bundle, now = NOW }: Asked = {}): Admission {
  return admit(state, frozen, appended, { who: WHO[who], now });
}

const { accepts, refuses, knows } = rowsOf(ask);

describe("run.waiting", () => {
  accepts("an answer to everything that was said", answered, waits(answered));
  refuses("a Task", ["denied", "final"], answered, waits(answered), { bundle: task });
  refuses("it of the operator", ["forbidden", "final"], answered, waits(answered), { who: "operator" });
  refuses("it of a person", ["forbidden", "final"], answered, waits(answered), { who: "person" });
  refuses("a session that nobody answered", ["unexpected", "final"], started, waits(started));
  refuses("an open request", ["unexpected", "wait"], requested, waits(requested));
  refuses("an open call", ["unexpected", "wait"], called, waits(called));
  refuses("results that the model has not seen", ["unexpected", "final"], ran, waits(ran));
  refuses("a message that landed just before", ["stale", "wait"], foldAll([input("again")], answered), waits(answered));
  refuses("a message that landed while the model answered", ["stale", "wait"], unseen, waits(unseen));
  refuses("a log that is not there yet", ["unexpected", "final"], answered, waits(answered, answered.lastSeq + 1));
  refuses("a session that waits", ["unexpected", "final"], waiting, waits(waiting));
  refuses("a cancelled session", ["stopped", "final"], foldAll([event("session.cancelled", { reason: "" })], answered), waits(foldAll([event("session.cancelled", { reason: "" })], answered)));
});

describe("input.received", () => {
  for (const who of ["operator", "person"] as const) {
    accepts(`a message of the ${who} while it waits`, waiting, input("again"), { who });
    accepts(`a message of the ${who} while a call runs`, called, input("again"), { who });
    accepts(`a message of the ${who} to a Task that runs`, called, input("again"), { who, bundle: task });
    refuses(`a message of the ${who} after the end`, ["finished", "final"], over, input("again"), { who });
    refuses(`a message of the ${who} to a cancelled session`, ["stopped", "final"], cancelled, input("again"), { who });
    refuses(`a message of the ${who} when the time of the one before is over`, ["stopped", "final"], requested, input("again"), { who, now: new Date(deadlineAt(requested)) });
  }
  refuses("a message of a runner", ["forbidden", "final"], waiting, input("again"));
  accepts("a message long after the deadline of the answered one", waiting, input("again"), { who: "operator", now: new Date("2026-02-01T00:00:00Z") });
  knows("the operator's message by its id", { seq: asked.lastSeq }, asked, input("again", "other words"), { who: "operator" });
  knows("a message that was taken before the end", { seq: 2 }, over, input("prompt"), { who: "operator" });
  accepts("a person's message with an id of the operator's", asked, input("again"), { who: "person" });
  const annsOwn = inputBy(waiting, "mine", "ann");
  knows("a person's message by its id", { seq: annsOwn.lastSeq }, annsOwn, input("mine"), { who: "person" });
  accepts("a message with an id that another person used", inputBy(waiting, "mine", "bob"), input("mine"), { who: "person" });
  test("replaces what looks like a credential", () => {
    const answer = ask(waiting, input("again", `use sk-${"a1B2".repeat(8)} for it`), { who: "person" });
    assert.deepEqual(answer, { kind: "accept", event: input("again", "use [redacted] for it") });
  });
});

describe("a session that waits", () => {
  refuses("a request", ["unexpected", "wait"], waiting, requestedEvent(2, 1, waiting.lastSeq));
  refuses("a sandbox", ["unexpected", "wait"], waiting, event("sandbox.requested", { reason: "Eager" }));
  test("accepts the next runner", () => {
    const who: Appender = { role: "runner", podUid: "p2", epoch: 2, newestPodUid: "p2" };
    assert.equal(admit(waiting, bundle, startedEvent("p2", 2), { who, now: NOW }).kind, "accept");
  });
  accepts("the loss of its sandbox", waiting, event("sandbox.lost", { podUid: "s1", reason: "idle" }), { who: "operator" });
  accepts("its cancellation", waiting, event("session.cancelled", { reason: "spec.cancel" }), { who: "operator" });
  const long = new Date("2026-02-01T00:00:00Z");
  for (const who of ["operator", "runner"] as const) {
    refuses(`DeadlineExceeded by the ${who}`, ["unexpected", "final"], waiting, ends(waiting, "DeadlineExceeded"), { who, now: long });
    accepts(`Cancelled by the ${who}`, cancelled, ends(cancelled, "Cancelled"), { who });
  }
});

describe("limits of a Conversation", () => {
  const second = foldAll([requestedEvent(2, 1, asked.lastSeq)], asked);
  const third = foldAll([requestedEvent(3, 1, asked.lastSeq)], foldAll([respondedEvent(2, 1, [{ name: "bash", arguments: "{}" }]), toolFinishedEvent("root/2/0", { status: "error" })], second));
  const used = foldAll([respondedEvent(3, 1, [{ name: "bash", arguments: "{}" }]), toolFinishedEvent("root/3/0", { status: "error" })], third);
  accepts("a request when the turns of the message before are used", foldAll([input("b")], { ...waiting, turns: 2 }), requestedEvent(3, 1, waiting.lastSeq + 1), { now: NOW });
  refuses("a request when the turns of the message are used", ["limit", "final"], used, requestedEvent(4, 1, used.lastSeq));
  accepts("MaxTurns when they are", used, ends(used, "MaxTurns"));
  refuses("MaxTurns before", ["unexpected", "final"], foldAll([respondedEvent(2, 1)], second), ends(foldAll([respondedEvent(2, 1)], second), "MaxTurns"));
  refuses("a Task's request when the session's are", ["limit", "final"], foldAll([input("b")], { ...withoutMode(waiting), turns: 2 }), requestedEvent(3, 1, waiting.lastSeq + 1), { bundle: task });
  const inTime = new Date(deadlineAt(asked) - 1);
  const late = new Date(deadlineAt(asked));
  test("the time of a message counts from its arrival", () => assert.equal(deadlineAt(asked), NOW.getTime() + 60_000));
  accepts("a request within the message's time", asked, requestedEvent(2, 1, asked.lastSeq), { now: inTime });
  refuses("a request after it", ["stopped", "final"], asked, requestedEvent(2, 1, asked.lastSeq), { now: late });
  accepts("DeadlineExceeded then", asked, ends(asked, "DeadlineExceeded"), { who: "operator", now: late });
  refuses("an answer as the end", ["denied", "final"], answered, ends(answered, "Completed"));
});

describe("the end of a Task with several messages", () => {
  refuses("Completed while the model has not seen one", ["stale", "wait"], unseen, ends(unseen, "Completed"), { bundle: task });
  const seen = foldAll([requestedEvent(2, 1, unseen.lastSeq), respondedEvent(2, 1)], unseen);
  accepts("Completed when it has", seen, ends(seen, "Completed"), { bundle: task });
});

describe("outcomes that the operator finds", () => {
  for (const outcome of ["ImagePullFailed", "NotIsolated"] as const) {
    accepts(`${outcome} by the operator`, started, ends(started, outcome), { who: "operator" });
    refuses(`${outcome} by a runner`, ["denied", "final"], started, ends(started, outcome));
    refuses(`${outcome} that has not seen the newest result`, ["stale", "wait"], ran, { type: "run.finished", data: { outcome, text: "", reason: "r", through: ran.lastSeq - 1 } }, { who: "operator" });
  }
});

function ends({ lastSeq }: SessionState, outcome: EventDataOf<"run.finished">["outcome"]): NewEvent {
  return runFinishedEvent({ outcome, through: lastSeq });
}

function withoutMode({ mode: _, ...state }: SessionState): SessionState {
  return state;
}
