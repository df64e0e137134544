import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { LogEvent } from "@paddock/api/log/events";
import type { AppendRequest } from "@paddock/api/wire/runner";
import { createScriptedModel } from "../../test/scripted-model/server.ts";
import { parseScripts } from "../../test/scripted-model/script.ts";
import { connectGateway } from "./gateway.ts";
import type { Gateway } from "./gateway.ts";
import { fileAt } from "./testdata/file.ts";
import { networkOf, openLab } from "./testdata/lab.ts";
import type { Lab, LabOptions } from "./testdata/lab.ts";
import { answer, startModel } from "./testdata/model.ts";
import type { ModelServer, Reply } from "./testdata/model.ts";
import type { ProcessOptions } from "./testdata/process.ts";

const PROCESS = fileURLToPath(new URL("./testdata/process.ts", import.meta.url));

async function openConversation(t: Parameters<typeof openLab>[0], replies: readonly Reply[], options: Partial<LabOptions> = {}): Promise<{ readonly lab: Lab; readonly model: ModelServer }> {
  const model = await startModel(t, replies);
  return { lab: await openLab(t, { baseURL: model.baseURL, mode: "Conversation", ...options }), model };
}

/** Resolves when the session waits and has done so `count` times. */
async function waits(lab: Lab, count = 1): Promise<void> {
  let seen = 0;
  await lab.seen(({ type }) => type === "run.waiting" && (seen += 1) === count);
}

async function cancel(lab: Lab): Promise<void> {
  await lab.asOperator({ type: "session.cancelled", data: { reason: "spec.cancel" } });
}

/** Role and text of each message of a request but the system's. */
function talk({ asked }: ModelServer, index: number): unknown[] {
  return (asked[index]?.body.messages ?? []).slice(1).map(({ role, content }) => [role, content]);
}

function typesOf(events: readonly LogEvent[]): string[] {
  return events.map(({ type }) => type);
}

const ASKED = ["model.requested", "model.responded"];

test("a conversation answers, waits, and answers the next message in the same sandbox", async (t) => {
  const { lab, model } = await openConversation(t, [
    answer({ calls: [{ name: "bash", arguments: { command: "echo first > note" } }] }),
    answer({ text: "Noted." }),
    answer({ calls: [{ name: "bash", arguments: { command: "cat note" } }] }),
    answer({ text: "You said first." }),
  ]);
  const ended = lab.run();
  await waits(lab);
  assert.partialDeepStrictEqual(await lab.of("run.waiting"), [{ data: { for: "input", text: "Noted." } }]);
  await lab.say("What did I say?");
  await waits(lab, 2);
  assert.match((await lab.of("tool.finished"))[1]?.data.content ?? "", /^first$/m);
  assert.equal((await lab.of("sandbox.requested")).length, 1);
  assert.deepEqual(talk(model, 2).at(-2), ["assistant", "Noted."]);
  assert.deepEqual(talk(model, 2).at(-1), ["user", "What did I say?"]);
  const [, second = [], third = []] = model.asked.map(({ body }) => body.messages);
  assert.deepEqual(third.slice(0, second.length), second, "what was sent before is sent again unchanged");
  await cancel(lab);
  assert.equal(await ended, "finished");
  assert.partialDeepStrictEqual(await lab.of("run.finished"), [{ data: { outcome: "Cancelled" } }]);
});

test("the system message says that limits count for each message", async (t) => {
  const { lab, model } = await openConversation(t, [answer({ text: "Hi." })]);
  const stop = new AbortController();
  const ended = lab.run({ stop: stop.signal });
  await waits(lab);
  stop.abort();
  assert.equal(await ended, "stopped");
  assert.match(String(model.asked[0]?.body.messages[0]?.["content"]), /5 answers of yours and 3600 seconds for each message you are sent/);
});

test("the scripted model of the examples holds a conversation", async (t) => {
  const turns = [{ content: "Seven." }, { content: "Eight." }];
  const { server, close } = await createScriptedModel(parseScripts("script", JSON.stringify({ prompt: "Count", turns })), "/nonexistent", () => undefined);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(close);
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  const lab = await openLab(t, { baseURL: `http://127.0.0.1:${address.port}/v1`, prompt: "Count on from six.", mode: "Conversation" });
  const ended = lab.run();
  await waits(lab);
  await lab.say("And on.");
  await waits(lab, 2);
  assert.deepEqual((await lab.of("run.waiting")).map(({ data }) => data.text), ["Seven.", "Eight."]);
  await cancel(lab);
  await ended;
});

test("a message while a tool runs follows its result in the next request", async (t) => {
  const { lab, model } = await openConversation(t, [
    answer({ calls: [{ name: "bash", arguments: { command: "touch running; until [ -e go ]; do sleep 0.05; done; echo went" } }] }),
    answer({ text: "Both done." }),
  ]);
  const ended = lab.run();
  await fileAt(join(lab.sandbox.workspace, "running"));
  await lab.say("Also say hi");
  await writeFile(join(lab.sandbox.workspace, "go"), "");
  await waits(lab);
  const [result, message] = talk(model, 1).slice(-2) as [string, string][];
  assert.equal(result?.[0], "tool");
  assert.match(result[1], /went/);
  assert.deepEqual(message, ["user", "Also say hi"]);
  assert.equal(model.asked.length, 2);
  await cancel(lab);
  await ended;
});

test("a message while the model answers is answered before the session waits", async (t) => {
  let say: () => Promise<unknown> = () => Promise.resolve();
  const first = answer({ text: "One." });
  const { lab, model } = await openConversation(t, [(response, asked, request) => void say().then(() => first(response, asked, request)), answer({ text: "Two." })]);
  say = () => lab.say("And two?");
  const ended = lab.run();
  await waits(lab);
  assert.deepEqual(talk(model, 1), [["user", "Hello"], ["assistant", "One."], ["user", "And two?"]]);
  assert.deepEqual(typesOf((await lab.events()).slice(3)), ["model.requested", "input.received", "model.responded", ...ASKED, "run.waiting"]);
  await cancel(lab);
  await ended;
});

test("a message that lands just before run.waiting: it is refused as stale, and the message is answered", async (t) => {
  const { lab, model } = await openConversation(t, [answer({ text: "One." }), answer({ text: "Two." })]);
  const pod = await lab.register("p1");
  const client = connectGateway({ url: new URL(lab.gateway.url), ca: lab.gateway.ca, tokenFile: pod.tokenFile });
  let refused = 0;
  const gateway: Gateway = {
    ...client,
    post: async (path, body) => {
      const { events = [] } = body as Partial<AppendRequest>;
      const isWaiting = events.some(({ type }) => type === "run.waiting");
      if (isWaiting && refused === 0) await lab.say("And two?", "late");
      return client.post(path, body).catch((error: unknown) => {
        if (isWaiting) refused += 1;
        throw error;
      });
    },
  };
  const ended = lab.run({ podUid: "p1", ports: { gateway } });
  await waits(lab);
  assert.equal(refused, 1);
  assert.deepEqual(typesOf((await lab.events()).slice(3)), [...ASKED, "input.received", ...ASKED, "run.waiting"]);
  assert.deepEqual(talk(model, 1).at(-1), ["user", "And two?"]);
  await cancel(lab);
  await ended;
  client.close();
});

test("the same message sent twice is answered once", async (t) => {
  const { lab, model } = await openConversation(t, [answer({ text: "One." }), answer({ text: "Two." })]);
  const ended = lab.run();
  await waits(lab);
  const [first, again] = [await lab.say("And two?", "k"), await lab.say("And two?", "k")];
  assert.deepEqual(again, first);
  await waits(lab, 2);
  assert.deepEqual(await lab.say("And two?", "k"), first, "also when it was answered");
  await cancel(lab);
  await ended;
  assert.equal(model.asked.length, 2);
  assert.deepEqual(typesOf((await lab.events()).slice(3)), [...ASKED, "run.waiting", "input.received", ...ASKED, "run.waiting", "session.cancelled", "run.finished"]);
});

test("a runner that is killed while the session waits: the next one idles, and answers the next message", { timeout: 120_000 }, async (t) => {
  const { lab, model } = await openConversation(t, [answer({ text: "One." }), answer({ text: "Two." })]);
  const pod = await lab.register("p1");
  const options: ProcessOptions = { ...pod, gatewayUrl: lab.gateway.url, gatewayCa: lab.gateway.ca, sandboxPort: lab.sandbox.port, network: networkOf(pod) };
  const first = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", PROCESS, JSON.stringify(options)], { stdio: ["ignore", "ignore", "inherit"] });
  t.after(() => first.kill("SIGKILL"));
  await waits(lab);
  first.kill("SIGKILL");
  await once(first, "close");
  const ended = lab.run({ podUid: "p2" });
  await lab.seen((event) => event.type === "runner.started" && event.data.epoch === 2);
  await lab.say("And two?");
  await waits(lab, 2);
  assert.deepEqual(talk(model, 1), [["user", "Hello"], ["assistant", "One."], ["user", "And two?"]]);
  await cancel(lab);
  assert.equal(await ended, "finished");
  // The log is the proof that the second runner did nothing before the message.
  assert.deepEqual(typesOf((await lab.events()).slice(5)), ["run.waiting", "runner.started", "input.received", ...ASKED, "run.waiting", "session.cancelled", "run.finished"]);
  assert.equal(model.asked.length, 2);
});

test("a message that comes while no runner is there is answered by the next one", async (t) => {
  const { lab, model } = await openConversation(t, [answer({ text: "One." }), answer({ text: "Two." })]);
  const stop = new AbortController();
  const first = lab.run({ podUid: "p1", stop: stop.signal });
  await waits(lab);
  stop.abort();
  assert.equal(await first, "stopped");
  await lab.say("And two?");
  const second = lab.run({ podUid: "p2" });
  await waits(lab, 2);
  assert.deepEqual(talk(model, 1).at(-1), ["user", "And two?"]);
  await cancel(lab);
  assert.equal(await second, "finished");
});

test("a gateway that restarts while the session waits: the next message arrives all the same", async (t) => {
  const { lab } = await openConversation(t, [answer({ text: "One." }), answer({ text: "Two." })]);
  const ended = lab.run();
  await waits(lab);
  await lab.gateway.restart();
  await lab.say("And two?");
  await waits(lab, 2);
  assert.equal((await lab.of("runner.started")).length, 1, "the runner kept its epoch");
  await cancel(lab);
  await ended;
});

test("each message has turns of its own, and one that uses them up ends the conversation", async (t) => {
  const { lab } = await openConversation(t, [answer({ text: "One." }), answer({ text: "Two." }), answer({ text: "Hm.", calls: [{ name: "bash", arguments: { command: "true" } }] })], { limits: { maxTurns: 1, timeoutSeconds: 600 } });
  const ended = lab.run();
  await waits(lab);
  await lab.say("two");
  await waits(lab, 2);
  await lab.say("three");
  assert.equal(await ended, "finished");
  const [end] = await lab.of("run.finished");
  assert.deepEqual([end?.data.outcome, end?.data.text], ["MaxTurns", "Hm."]);
  assert.match(end?.data.reason ?? "", /1 turns \(model answers\) of the newest message/);
});

test("each message has time of its own, and one that uses it up ends the conversation", async (t) => {
  const { lab } = await openConversation(t, [answer({ text: "One." }), () => undefined], { limits: { maxTurns: 5, timeoutSeconds: 3 }, startTime: new Date(Date.now() + 120_000).toISOString() });
  // The prompt's time counts from the start, here two minutes ahead; the second message's from its arrival.
  const ended = lab.run();
  await waits(lab);
  const { at } = await lab.say("two");
  assert.equal(await ended, "finished");
  const [end] = await lab.of("run.finished");
  assert.equal(end?.data.outcome, "DeadlineExceeded");
  assert.match(end.data.reason, /3 s of the newest message were over/);
  assert.ok(Date.parse(end.at) > Date.parse(at));
});
