import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import { PROBLEM_BASE } from "@paddock/api/wire/problem";
import type { AppendRequest } from "@paddock/api/wire/runner";
import { event, startedEvent } from "../../test/fakes/session.ts";
import { createAppend, Detached, Refused } from "./append.ts";
import type { Append } from "./append.ts";
import { GatewayRefusal } from "./gateway.ts";
import type { Gateway } from "./gateway.ts";
import { createRedactor } from "./redaction.ts";
import { BUNDLE, stored } from "./testdata/view.ts";
import { createTranscript } from "./transcript.ts";

function open(post: (request: AppendRequest) => Promise<unknown>, signal = new AbortController().signal): Append {
  const gateway: Pick<Gateway, "post"> = { post: (_, body) => post(body as AppendRequest) };
  const { take, view, reached } = createTranscript(BUNDLE, () => undefined);
  return createAppend({
    gateway: gateway as Gateway,
    transcript: { take, view, reached },
    // What was before the event never comes.
    intake: { take, remember: () => () => undefined },
    redactor: createRedactor(),
    logger: pino({ level: "silent" }),
    random: () => 0,
    signal,
    epoch: 1,
    lastBatch: 0,
  });
}

test("a process that ends does not wait for events of a broken stream before its own", async () => {
  const stop = new AbortController();
  const events = [startedEvent("p1", 1)];
  const appended = open(() => Promise.resolve({ events: stored([...events, ...events]).slice(-1) }), stop.signal)(events);
  setImmediate(() => stop.abort());
  await assert.rejects(appended, (error) => error instanceof Detached && error.why === "stopped");
});

test("decisions of the egress proxy that are too many for a minute hold nothing up: they are put off, and the next append takes their place", async () => {
  const decided = event("egress.decided", { host: "example.com", port: 443, decision: "Deny", rule: "HostNotAllowed", count: 1, bytesSent: 0, bytesReceived: 0 });
  const batches: (readonly [number, string | undefined])[] = [];
  const append = open(({ batch, events }) => {
    batches.push([batch, events[0]?.type]);
    if (events[0]?.type === "runner.started") return Promise.resolve({ events: stored([startedEvent("p1", 1)]) });
    return Promise.reject(new GatewayRefusal(429, { type: `${PROBLEM_BASE}too-many`, title: "Too many at once", status: 429, detail: "enough for this minute", refusal: "wait" }));
  });
  const [told, started] = await Promise.allSettled([append([decided]), append([startedEvent("p1", 1)])]);
  assert.ok(told.status === "rejected" && told.reason instanceof Refused && told.reason.refusal === "wait");
  assert.equal(started.status, "fulfilled");
  assert.deepEqual(batches, [[1, "egress.decided"], [1, "runner.started"]]);
});
