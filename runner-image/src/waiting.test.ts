import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import type { EventDataOf, LogEvent } from "@paddock/api/log/events";
import type { AppendRequest } from "@paddock/api/wire/runner";
import { connectGateway } from "./gateway.ts";
import type { Gateway } from "./gateway.ts";
import { fileAt } from "./testdata/file.ts";
import { openLab } from "./testdata/lab.ts";
import type { Lab, LabOptions } from "./testdata/lab.ts";
import { answer, startModel } from "./testdata/model.ts";
import type { ModelServer, Reply } from "./testdata/model.ts";

const ASKS: NonNullable<LabOptions["tools"]> = [{ name: "bash", permission: "Ask" }, { name: "read" }];
const NOTE: NonNullable<LabOptions["customTools"]> = [
  { name: "post_note", description: "Posts a note for the team.", inputSchema: { type: "object", properties: { text: { type: "string" } }, required: ["text"], additionalProperties: false } },
];

async function open(t: TestContext, replies: readonly Reply[], options: Partial<LabOptions> = {}): Promise<{ readonly lab: Lab; readonly model: ModelServer }> {
  const model = await startModel(t, replies);
  return { lab: await openLab(t, { baseURL: model.baseURL, ...options }), model };
}

function bash(command: string): { readonly name: string; readonly arguments: unknown } {
  return { name: "bash", arguments: { command } };
}

async function waits(lab: Lab, what: EventDataOf<"run.waiting">["for"], count = 1): Promise<LogEvent> {
  let seen = 0;
  return lab.seen((event) => event.type === "run.waiting" && event.data.for === what && (seen += 1) === count);
}

async function typesOf(lab: Lab): Promise<string[]> {
  return (await lab.events()).map(({ type }) => type);
}

function lastContents({ asked }: ModelServer, count: number): unknown[] {
  return asked.at(-1)?.body.messages.slice(-count).map(({ content }) => content) ?? [];
}

test("a call that a person approves runs in the process that waited for it", async (t) => {
  const { lab } = await open(t, [answer({ text: "May I?", calls: [bash("echo hi")] }), answer({ text: "Done." })], { tools: ASKS });
  const ended = lab.run();
  const waiting = await waits(lab, "approval");
  assert.ok(waiting.type === "run.waiting" && waiting.data.text === "May I?");
  await lab.resolve("root/1/0");
  assert.equal(await ended, "finished");
  assert.deepEqual(await typesOf(lab), [
    ...["session.bound", "input.received", "runner.started", "model.requested", "model.responded"],
    ...["tool.decided", "approval.requested", "run.waiting", "approval.resolved"],
    ...["sandbox.requested", "sandbox.bound", "isolation.reported", "tool.started", "tool.finished", "model.requested", "model.responded", "run.finished"],
  ]);
});

test("a call that a person denies is not run, and the model reads the reason", async (t) => {
  const { lab, model } = await open(t, [answer({ calls: [bash("rm -rf /")] }), answer({ text: "I see." })], { tools: ASKS });
  const ended = lab.run();
  await lab.resolve("root/1/0", { decision: "Denied", reason: "That removes everything" });
  assert.equal(await ended, "finished");
  assert.deepEqual(await lab.of("tool.started"), []);
  assert.deepEqual((await lab.of("tool.finished")).map(({ data }) => data.status), ["denied"]);
  assert.match(String(lastContents(model, 1)[0]), /^Denied by a person: That removes everything\. The call was not run/);
});

test("a call that nobody decides is denied when its time is over", async (t) => {
  const { lab, model } = await open(t, [answer({ calls: [bash("echo hi")] }), answer({ text: "I see." })], { tools: ASKS, approvals: { timeoutSeconds: 1 } });
  assert.equal(await lab.run(), "finished");
  assert.partialDeepStrictEqual(await lab.of("approval.resolved"), [{ role: "gateway", data: { decision: "Expired" } }]);
  assert.deepEqual((await lab.of("tool.finished")).map(({ data }) => data.status), ["denied"]);
  assert.match(String(lastContents(model, 1)[0]), /nobody decided in time/);
});

test("of three calls in one turn the allowed one runs at once, and each other when it is decided", async (t) => {
  const calls = [bash("echo first"), { name: "read", arguments: { path: "a" } }, bash("echo third")];
  const { lab, model } = await open(t, [answer({ calls }), answer({ text: "Done." })], { tools: ASKS });
  await writeFile(join(lab.sandbox.workspace, "a"), "second");
  const ended = lab.run();
  await waits(lab, "approval");
  assert.deepEqual((await lab.of("tool.finished")).map(({ data }) => data.call), ["root/1/1"]);
  await lab.resolve("root/1/2");
  await waits(lab, "approval", 2);
  assert.deepEqual((await lab.of("tool.finished")).map(({ data }) => data.call), ["root/1/1", "root/1/2"]);
  await lab.resolve("root/1/0", { decision: "Denied", reason: "Not this one" });
  assert.equal(await ended, "finished");
  const [first, second, third] = lastContents(model, 3);
  assert.match(String(first), /Denied by a person: Not this one/);
  assert.match(String(second), /second/);
  assert.match(String(third), /third/);
});

test("a call like one that was approved for the session is not asked for again", async (t) => {
  const { lab } = await open(t, [answer({ calls: [bash("echo hi")] }), answer({ calls: [bash("echo hi")] }), answer({ text: "Done." })], { tools: ASKS });
  const ended = lab.run();
  await lab.resolve("root/1/0", { scope: "Session" });
  assert.equal(await ended, "finished");
  assert.equal((await lab.of("approval.requested")).length, 1);
  assert.deepEqual((await lab.of("tool.finished")).map(({ data }) => [data.call, data.status]), [["root/1/0", "ok"], ["root/2/0", "ok"]]);
});

test("a custom tool is offered, its call waits without a sandbox, and a person's result goes to the model", async (t) => {
  const { lab, model } = await open(t, [answer({ calls: [{ name: "post_note", arguments: { text: "hi" } }] }), answer({ text: "Posted." })], { customTools: NOTE });
  const ended = lab.run();
  await waits(lab, "tool");
  const [start] = await lab.of("tool.started");
  assert.ok(Math.abs(Date.parse(start?.data.deadline ?? "") - Date.parse(start?.at ?? "") - 600_000) <= 60_000);
  const offered = model.asked[0]?.body["tools"] as readonly { function: unknown }[];
  assert.deepEqual(offered.at(-1)?.function, { name: "post_note", description: NOTE[0]?.description, parameters: NOTE[0]?.inputSchema });
  await lab.give("root/1/0", "note 17");
  assert.equal(await ended, "finished");
  assert.deepEqual(lastContents(model, 1), ["note 17"]);
  assert.deepEqual(await lab.of("sandbox.requested"), []);
  assert.equal((await lab.of("tool.started")).length, 1);
});

test("arguments that a custom tool does not take are told to the model, and nobody is bothered with them", async (t) => {
  const call = (args: unknown): Reply => answer({ calls: [{ name: "post_note", arguments: args }] });
  const { lab, model } = await open(t, [call({ text: 7, colour: "red" }), call({ text: "hi" }), answer({ text: "Posted." })], { customTools: NOTE });
  const ended = lab.run();
  await waits(lab, "tool");
  assert.deepEqual((await lab.of("tool.finished")).map(({ data }) => [data.call, data.status]), [["root/1/0", "error"]]);
  const told = String(lastContents(model, 1)[0]);
  assert.match(told, /The arguments of post_note do not fit its schema:/);
  assert.match(told, /\/text must be string/);
  assert.match(told, /additional properties: "colour" is none/);
  await lab.give("root/2/0", "note 17");
  assert.equal(await ended, "finished");
  assert.deepEqual((await lab.of("tool.started")).map(({ data }) => data.call), ["root/2/0"]);
});

test("a custom tool that nobody answers is timed out by the log, and the model goes on", async (t) => {
  const quick = NOTE.map((tool) => ({ ...tool, timeoutSeconds: 1 }));
  const { lab, model } = await open(t, [answer({ calls: [{ name: "post_note", arguments: { text: "hi" } }] }), answer({ text: "Nobody was there." })], { customTools: quick });
  assert.equal(await lab.run(), "finished");
  assert.partialDeepStrictEqual(await lab.of("tool.finished"), [{ role: "gateway", data: { status: "timeout" } }]);
  assert.match(String(lastContents(model, 1)[0]), /No result came/);
});

test("suspend and resume during a tool call: the call ends and is recorded, nothing new begins, and it goes on", async (t) => {
  const { lab, model } = await open(t, [answer({ calls: [bash("touch running; until [ -e go ]; do sleep 0.05; done; echo went")] }), answer({ text: "Done." })]);
  const ended = lab.run();
  await fileAt(join(lab.sandbox.workspace, "running"));
  await lab.asOperator({ type: "session.suspended", data: { by: "ann" } });
  await writeFile(join(lab.sandbox.workspace, "go"), "");
  await waits(lab, "resume");
  assert.deepEqual((await lab.of("tool.finished")).map(({ data }) => data.status), ["ok"]);
  assert.equal(model.asked.length, 1);
  await lab.asOperator({ type: "session.resumed", data: { by: "ann" } });
  assert.equal(await ended, "finished");
  assert.deepEqual((await typesOf(lab)).slice(-7), ["session.suspended", "tool.finished", "run.waiting", "session.resumed", "model.requested", "model.responded", "run.finished"]);
});

test("suspend during a model call: the answer is recorded, its calls are not started before the session is resumed", async (t) => {
  let suspend: () => Promise<void> = () => Promise.resolve();
  const first = answer({ calls: [bash("echo hi")] });
  const { lab } = await open(t, [(response, asked, request) => void suspend().then(() => first(response, asked, request)), answer({ text: "Done." })]);
  suspend = () => lab.asOperator({ type: "session.suspended", data: {} });
  const ended = lab.run();
  await waits(lab, "resume");
  assert.deepEqual((await typesOf(lab)).slice(3), ["model.requested", "session.suspended", "model.responded", "run.waiting"]);
  await lab.asOperator({ type: "session.resumed", data: {} });
  assert.equal(await ended, "finished");
  assert.deepEqual((await lab.of("tool.finished")).map(({ data }) => data.status), ["ok"]);
});

test("a session that is suspended while it waits for an approval goes on when it is both approved and resumed", async (t) => {
  const { lab } = await open(t, [answer({ calls: [bash("echo hi")] }), answer({ text: "Done." })], { tools: ASKS });
  const ended = lab.run();
  await waits(lab, "approval");
  await lab.asOperator({ type: "session.suspended", data: {} });
  await lab.resolve("root/1/0");
  await lab.asOperator({ type: "session.resumed", data: {} });
  assert.equal(await ended, "finished");
  assert.deepEqual((await lab.of("run.waiting")).map(({ data }) => data.for), ["approval"]);
  assert.deepEqual((await lab.of("tool.finished")).map(({ data }) => data.status), ["ok"]);
});

test("an interrupt aborts the model request, the Task waits, and the next message goes on", async (t) => {
  const { lab, model } = await open(t, [() => undefined, answer({ text: "Better." })]);
  const ended = lab.run();
  await model.reached;
  await lab.interrupt();
  await waits(lab, "input");
  assert.partialDeepStrictEqual(await lab.of("model.failed"), [{ data: { class: "cancelled" } }]);
  await lab.say("Do it another way");
  assert.equal(await ended, "finished");
  assert.deepEqual(lastContents(model, 2), ["Hello", "Do it another way"]);
  assert.partialDeepStrictEqual(await lab.of("run.finished"), [{ data: { outcome: "Completed", text: "Better." } }]);
});

test("an interrupt stops the call that runs and cancels the one that waits for approval", async (t) => {
  const calls = [bash("echo never"), { name: "write", arguments: { path: "a", content: "b" } }];
  const { lab, model } = await open(t, [answer({ calls: [{ name: "read", arguments: { path: "a" } }, ...calls] }), answer({ text: "Stopped." })], { tools: [...ASKS, { name: "write", permission: "Ask" }] });
  const ended = lab.run();
  await waits(lab, "approval");
  await lab.interrupt();
  await waits(lab, "input");
  assert.deepEqual((await lab.of("tool.finished")).map(({ data }) => [data.call, data.status]), [["root/1/0", "error"], ["root/1/1", "cancelled"], ["root/1/2", "cancelled"]]);
  await lab.say("Leave it");
  assert.equal(await ended, "finished");
  assert.match(String(lastContents(model, 2)[0]), /a person interrupted the turn\. It was not run/);
});

test("an interrupt with a message right behind it stops the command all the same, and the message is answered", async (t) => {
  const { lab, model } = await open(t, [answer({ calls: [bash("touch running; sleep 300")] }), answer({ text: "Stopped." })]);
  const ended = lab.run();
  await fileAt(join(lab.sandbox.workspace, "running"));
  await lab.interrupt();
  await lab.say("Never mind");
  assert.equal(await ended, "finished");
  assert.deepEqual((await lab.of("tool.finished")).map(({ data }) => data.status), ["cancelled"]);
  assert.match(String(lastContents(model, 2)[0]), /may have done part of its work/);
  assert.equal(lastContents(model, 1)[0], "Never mind");
});

test("a custom result that lands while the run is about to wait for it is not missed", async (t) => {
  const { lab } = await open(t, [answer({ calls: [{ name: "post_note", arguments: { text: "hi" } }] }), answer({ text: "Posted." })], { customTools: NOTE });
  const ended = lab.run();
  await lab.seen(({ type }) => type === "tool.started");
  await lab.give("root/1/0", "note 17");
  assert.equal(await ended, "finished");
  assert.deepEqual((await lab.of("tool.finished")).map(({ data }) => data.content), ["note 17"]);
});

test("a client's result that lands just before an interrupt would cancel its call stands, and the run goes on", async (t) => {
  const { lab } = await open(t, [answer({ calls: [{ name: "post_note", arguments: { text: "hi" } }] }), answer({ text: "Posted." })], { customTools: NOTE });
  const pod = await lab.register("p1");
  const client = connectGateway({ url: new URL(lab.gateway.url), ca: lab.gateway.ca, tokenFile: pod.tokenFile });
  t.after(() => client.close());
  let given = 0;
  const gateway: Gateway = {
    ...client,
    async post(path, body) {
      const { events = [] } = body as Partial<AppendRequest>;
      if (events[0]?.type === "tool.finished" && (given += 1) === 1) await lab.give("root/1/0", "note 17");
      return client.post(path, body);
    },
  };
  const ended = lab.run({ podUid: "p1", ports: { gateway } });
  await waits(lab, "tool");
  await lab.interrupt();
  await waits(lab, "input");
  assert.deepEqual((await lab.of("tool.finished")).map(({ data, role }) => [data.status, role]), [["ok", "person"]]);
  await lab.say("Thank you");
  assert.equal(await ended, "finished");
});
