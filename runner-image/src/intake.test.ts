import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import { detachPayload } from "@paddock/api/log/blobs";
import type { LogEvent, NewEvent } from "@paddock/api/log/events";
import { PROBLEM_BASE } from "@paddock/api/wire/problem";
import { boundEvents, event, requestedEvent, respondedEvent, startedEvent, toolFinishedEvent } from "../../test/fakes/session.ts";
import { GatewayRefusal } from "./gateway.ts";
import type { Gateway } from "./gateway.ts";
import { createIntake } from "./intake.ts";
import type { Intake } from "./intake.ts";
import { openLab } from "./testdata/lab.ts";
import { answer, startModel } from "./testdata/model.ts";
import { BUNDLE, stored } from "./testdata/view.ts";
import { createTranscript } from "./transcript.ts";
import type { Transcript } from "./transcript.ts";

const LARGE = "ü".repeat(20_000);
const SENT: readonly NewEvent[] = [startedEvent("p1", 1), requestedEvent(1, 1, 3), respondedEvent(1, 1, [{ name: "write", arguments: JSON.stringify({ path: "a", content: LARGE }) }]), toolFinishedEvent("root/1/0", { content: LARGE })];

/** The log as the gateway keeps it, and its payloads by their paths. */
function keep(events: readonly NewEvent[]): { readonly log: readonly LogEvent[]; readonly payloads: ReadonlyMap<string, string> } {
  const detached = [...boundEvents(BUNDLE), ...events].map(detachPayload);
  const blobs = detached.map(({ blob }) => blob).filter((blob) => blob !== undefined);
  return { log: stored(detached.map(({ event: kept }) => kept)), payloads: new Map(blobs.map(({ ref, text }) => [`/v1/runner/blobs/${ref.sha256}`, text])) };
}

interface Scene {
  readonly transcript: Transcript;
  readonly intake: Intake;
  readonly asked: string[];
  readonly faults: Error[];
  /** Resolves with the next fault. */
  readonly failed: Promise<Error>;
}

function open(answerTo: (path: string, count: number) => Promise<string>): Scene {
  const asked: string[] = [];
  const faults: Error[] = [];
  const { promise: failed, resolve } = Promise.withResolvers<Error>();
  const transcript = createTranscript(BUNDLE, () => undefined);
  const none = (): never => {
    throw new Error("only payloads are read here");
  };
  const gateway: Gateway = {
    post: none,
    stream: none,
    peer: none,
    close: none,
    read(path) {
      asked.push(path);
      return answerTo(path, asked.filter((one) => one === path).length);
    },
  };
  const onFault = (error: Error): void => {
    faults.push(error);
    resolve(error);
  };
  const intake = createIntake({ gateway, transcript, logger: pino({ level: "silent" }), random: () => 0, signal: new AbortController().signal, onFault });
  return { transcript, intake, asked, faults, failed };
}

function contentOf({ transcript }: Scene): string | undefined {
  const finished = transcript.view().events.find((one) => one.type === "tool.finished");
  return finished?.type === "tool.finished" ? finished.data.content : undefined;
}

test("payloads beside the log are in their events when these are read, in the log's order", async () => {
  const { log, payloads } = keep(SENT);
  const scene = open((path) => Promise.resolve(payloads.get(path) ?? ""));
  scene.intake.take(log.slice(0, 5));
  // Later ones wait for it, and are taken once.
  scene.intake.take(log.slice(4));
  await scene.transcript.reached(log.length);
  const { events } = scene.transcript.view();
  assert.deepEqual(events.map(({ seq }) => seq), log.map(({ seq }) => seq));
  assert.equal(contentOf(scene), LARGE);
  const said = events.find((one) => one.type === "model.responded");
  assert.ok(said?.type === "model.responded" && said.data.message.toolCalls[0]?.arguments.includes(LARGE));
  assert.deepEqual(scene.asked.toSorted(), [...payloads.keys()].toSorted(), "each is fetched once");
});

test("what this process has just sent is not fetched, and only what it has", async () => {
  const { log, payloads } = keep([...SENT, event("input.received", { id: "m", content: `${LARGE}!` })]);
  const scene = open((path) => Promise.resolve(payloads.get(path) ?? ""));
  const forget = scene.intake.remember(SENT);
  scene.intake.take(log.slice(0, -1));
  assert.equal(contentOf(scene), LARGE);
  forget();
  scene.intake.take(log);
  await scene.transcript.reached(log.length);
  assert.deepEqual(scene.asked.map((path) => payloads.get(path)), [`${LARGE}!`]);
});

test("a payload that does not match its digest is never taken, and fetched again", async () => {
  const { log, payloads } = keep([toolFinishedEvent("root/1/0", { content: LARGE })]);
  const scene = open((path, count) => Promise.resolve(count < 3 ? "something else" : (payloads.get(path) ?? "")));
  scene.intake.take(log);
  await scene.transcript.reached(log.length);
  assert.equal(contentOf(scene), LARGE);
  assert.equal(scene.asked.length, 3);
});

test("a payload that cannot be had ends the process with its digest, and the event is not read without it", async () => {
  const { log } = keep([toolFinishedEvent("root/1/0", { content: LARGE })]);
  for (const wrong of [() => Promise.resolve("something else"), () => Promise.reject(new GatewayRefusal(404, { type: `${PROBLEM_BASE}not-found`, title: "not found", status: 404, detail: "no event references it" }))]) {
    const scene = open(wrong);
    scene.intake.take(log);
    const error = await scene.failed;
    assert.match(error.message, /the payload sha256:[0-9a-f]{64} \(40000 bytes\) of the log cannot be had: (the gateway sent something else|.*no event references it)/);
    assert.equal(contentOf(scene), undefined);
  }
});

test("a gateway that cannot be reached is asked for a payload until it can", async () => {
  const { log, payloads } = keep([toolFinishedEvent("root/1/0", { content: LARGE })]);
  const scene = open((path, count) => (count <= 6 ? Promise.reject(new Error("connect ECONNREFUSED")) : Promise.resolve(payloads.get(path) ?? "")));
  scene.intake.take(log);
  await scene.transcript.reached(log.length);
  assert.deepEqual([contentOf(scene), scene.faults], [LARGE, []]);
});

test("large arguments, results and messages reach the model whole, after a change of the runner too", async (t) => {
  const content = Array.from({ length: 1200 }, (_, index) => `line ${index} of it`).join("\n");
  const said = `Write this: ${"please ".repeat(4000)}`;
  const model = await startModel(t, [answer({ calls: [{ name: "write", arguments: { path: "a.txt", content } }] }), () => undefined, answer({ calls: [{ name: "read", arguments: { path: "a.txt", limit: 10_000 } }] }), answer({ text: "Done." })]);
  const lab = await openLab(t, { baseURL: model.baseURL, prompt: said });
  const stop = new AbortController();
  const first = lab.run({ podUid: "p1", stop: stop.signal });
  await lab.seen((one) => one.type === "model.requested" && one.data.turn === 2);
  stop.abort();
  assert.equal(await first, "stopped");
  assert.equal(await lab.run({ podUid: "p2" }), "finished");
  const blobs = (await lab.events()).filter((one) => "blob" in one.data && one.data.blob !== undefined).map(({ type }) => type);
  assert.deepEqual(blobs, ["input.received", "model.responded", "tool.decided", "tool.finished"]);
  const [, prompt, called, , , result] = model.asked.at(-1)?.body.messages ?? [];
  assert.equal(prompt?.["content"], said);
  assert.ok(JSON.stringify(called).includes("line 1199"));
  const lines = String(result?.["content"]).split("\n");
  assert.equal(lines.filter((line) => / of it$/.test(line)).length, 1200);
});
