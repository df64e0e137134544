import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import { startedEvent } from "../../test/fakes/session.ts";
import { createAppend, Detached } from "./append.ts";
import type { Gateway } from "./gateway.ts";
import { createRedactor } from "./redaction.ts";
import { BUNDLE, stored } from "./testdata/view.ts";
import { createTranscript } from "./transcript.ts";

test("a process that ends does not wait for events of a broken stream before its own", async () => {
  const stop = new AbortController();
  const events = [startedEvent("p1", 1)];
  const reply = { events: stored([...events, ...events]).slice(-1) };
  const gateway: Pick<Gateway, "post"> = { post: () => Promise.resolve(reply) };
  const transcript = createTranscript(BUNDLE, () => undefined);
  const append = createAppend({
    gateway: gateway as Gateway,
    transcript,
    // What was before the event never comes.
    intake: { take: transcript.take, remember: () => () => undefined },
    redactor: createRedactor(),
    logger: pino({ level: "silent" }),
    random: () => 0,
    signal: stop.signal,
    epoch: 1,
    lastBatch: 0,
  });
  const appended = append(events);
  setImmediate(() => stop.abort());
  await assert.rejects(appended, (error) => error instanceof Detached && error.why === "stopped");
});
