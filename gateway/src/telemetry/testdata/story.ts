import type { Bundle } from "@paddock/api/log/bundle";
import type { NewEvent } from "@paddock/api/log/events";
import { fingerprintOf } from "@paddock/api/policy/rules";
import { boundEvents, buildTestBundle, decidedEvent, event, respondedEvent, runFinishedEvent, startedEvent, toolFinishedEvent, toolStartedEvent } from "../../../../test/fakes/session.ts";

// One session with everything that makes a span: a refused and repeated request, two calls at once, one of them approved by a person, a runner replaced in
// the middle of the other, and one replaced in the middle of a request.

export const SECRET_WORDS = { prompt: "Hello", argument: "make dangerous", result: "what the tool said", answer: "Done.", person: "ann@example.com", reason: "looks fine", failure: "try later" } as const;

export function storyBundle(uid: string, content?: "Omitted" | "Recorded"): Bundle {
  const bundle = buildTestBundle(uid, { startTime: "2026-01-01T00:00:00Z" });
  const { environment } = bundle;
  return content === undefined ? bundle : { ...bundle, environment: { ...environment, spec: { ...environment.spec, telemetry: { content } } } };
}

const ARGUMENTS = { command: SECRET_WORDS.argument };

export function askedEvents(bundle: Bundle, call: string): readonly [NewEvent, NewEvent] {
  const fingerprint = fingerprintOf(bundle, "bash", ARGUMENTS);
  return [
    decidedEvent(bundle, call, { arguments: ARGUMENTS, decision: "Ask" }),
    event("approval.requested", { call, tool: "bash", fingerprint, summary: SECRET_WORDS.argument, argumentsDigest: "sha256:arguments", expiresAt: "2026-01-02T00:00:00.000Z" }),
  ];
}

export function approvedEvent(bundle: Bundle, call: string): NewEvent {
  return event("approval.resolved", { call, fingerprint: fingerprintOf(bundle, "bash", ARGUMENTS), decision: "Approved", by: SECRET_WORDS.person, reason: SECRET_WORDS.reason, scope: "Once" });
}

export function grantedEvent(turn: number, attempt: number, through: number): NewEvent {
  const grant = { day: "2026-01-01", inputTokens: 100, outputTokens: 500, reservedNanoUSD: "1500000000" };
  return event("model.requested", { turn, attempt, model: "m", requestDigest: "sha256:request", through, grant });
}

/** The session as the commits that its log came in; 22 events. */
export function tellStory(bundle: Bundle): readonly (readonly NewEvent[])[] {
  return [
    boundEvents(bundle), // 1, 2
    [startedEvent("p1", 1)], // 3
    [grantedEvent(1, 1, 3)], // 4
    [event("model.failed", { turn: 1, attempt: 1, class: "overloaded", status: 503, message: SECRET_WORDS.failure, delaySeconds: 1 })], // 5
    [grantedEvent(1, 2, 3)], // 6
    [respondedEvent(1, 2, [{ name: "bash", arguments: JSON.stringify(ARGUMENTS) }, { name: "read", arguments: '{"path":"a"}' }])], // 7
    [...askedEvents(bundle, "root/1/0"), decidedEvent(bundle, "root/1/1", { tool: "read", arguments: { path: "a" }, effect: "Pure" })], // 8, 9, 10
    [toolStartedEvent("root/1/1", 1)], // 11
    [startedEvent("p2", 2)], // 12
    [toolStartedEvent("root/1/1", 2)], // 13
    [toolFinishedEvent("root/1/1", { content: SECRET_WORDS.result })], // 14
    [approvedEvent(bundle, "root/1/0")], // 15
    [toolStartedEvent("root/1/0", 1)], // 16
    [toolFinishedEvent("root/1/0", { status: "error", content: SECRET_WORDS.result })], // 17
    [grantedEvent(2, 1, 17)], // 18
    [startedEvent("p3", 3)], // 19
    [grantedEvent(2, 2, 17)], // 20
    [respondedEvent(2, 2)], // 21
    [runFinishedEvent()], // 22
  ];
}
