import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import type { Bundle } from "@paddock/api/log/bundle";
import type { EventDataOf, NewEvent } from "@paddock/api/log/events";
import { RUNNER_EVENTS } from "@paddock/api/wire/runner";
import { buildTestBundle, decidedEvent, event, requestedEvent, respondedEvent, startedEvent, toolStartedEvent } from "../../test/fakes/session.ts";
import { connectGateway } from "./gateway.ts";
import { fileAt } from "./testdata/file.ts";
import { CLOSED, networkOf, openLab } from "./testdata/lab.ts";
import type { Lab, LabOptions } from "./testdata/lab.ts";
import { answer, startModel } from "./testdata/model.ts";
import type { ProcessOptions } from "./testdata/process.ts";
import { startRelay } from "./testdata/relay.ts";
import type { Relay } from "./testdata/relay.ts";

const PROCESS = fileURLToPath(new URL("./testdata/process.ts", import.meta.url));
const BASH_FOR_EVER = answer({ calls: [{ name: "bash", arguments: { command: "echo ran >> ran; touch running; sleep 300" } }] });

/** A runner as a process of its own, in a newly registered pod. */
async function startProcess(t: TestContext, lab: Lab, podUid: string): Promise<ChildProcess> {
  const pod = await lab.register(podUid);
  const options: ProcessOptions = { ...pod, gatewayUrl: lab.gateway.url, gatewayCa: lab.gateway.ca, sandboxPort: lab.sandbox.port, network: networkOf(pod) };
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", PROCESS, JSON.stringify(options)], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  return child;
}

async function outputOf(child: ChildProcess): Promise<string> {
  let output = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => (output += text));
  await once(child, "close");
  return output;
}

async function outcomeOf(lab: Lab): Promise<string | undefined> {
  return (await lab.of("run.finished"))[0]?.data.outcome;
}

/** What an earlier runner left in the log, without one that is still there. */
async function leave(lab: Lab, ...batches: readonly (readonly NewEvent[])[]): Promise<void> {
  const { tokenFile } = await lab.register("gone");
  const gateway = connectGateway({ url: new URL(lab.gateway.url), ca: lab.gateway.ca, tokenFile });
  for (const [index, events] of batches.entries()) {
    await gateway.post(RUNNER_EVENTS, { epoch: 1, batch: index + 1, events: [...(index === 0 ? [startedEvent("gone", 1)] : []), ...events] });
    if (events.some(({ type }) => type === "sandbox.requested")) await lab.seen(({ type }) => type === "sandbox.bound");
  }
  gateway.close();
}

/** The same when the runner was gone just after call root/1/0 had started, in a sandbox that it had bound. */
async function leaveStarted(lab: Lab, decided: readonly NewEvent[]): Promise<void> {
  const isolation = event("isolation.reported", { podUid: "sandbox-1", probed: [`${CLOSED.host}:${CLOSED.port} (tcp)`], open: [] });
  await leave(lab, [...decided, event("sandbox.requested", { reason: "the first call that needs one" })], [isolation, toolStartedEvent("root/1/0", 1)]);
}

test("a runner that is killed in the middle of a command: the next one completes, the command ran once and has one result", async (t) => {
  const model = await startModel(t, [BASH_FOR_EVER, answer({ calls: [{ name: "bash", arguments: { command: "cat ran" } }] }), answer({ text: "It ran once." })]);
  const lab = await openLab(t, { baseURL: model.baseURL });
  const first = await startProcess(t, lab, "p1");
  await fileAt(join(lab.sandbox.workspace, "running"));
  first.kill("SIGKILL");
  await once(first, "close");
  const second = await startProcess(t, lab, "p2");
  assert.match(await outputOf(second), /ended: finished\n$/);
  assert.equal(await outcomeOf(lab), "Completed");
  const results = await lab.of("tool.finished");
  assert.deepEqual(results.map(({ data }) => [data.call, data.status]), [["root/1/0", "indeterminate"], ["root/2/0", "ok"]]);
  assert.match(results[1]?.data.content ?? "", /^ran$/m);
  assert.doesNotMatch(results[1]?.data.content ?? "", /ran\nran/);
  const starts = await lab.of("runner.started");
  assert.deepEqual(starts.map(({ data }) => [data.epoch, data.reason, data.recovered]), [[1, "new", []], [2, "resume", ["root/1/0"]]]);
  assert.match(JSON.stringify(model.asked[1]?.body.messages.at(-1)), /outcome of this call is not known/);
});

test("a runner that is killed while the model answers: the next one asks again", async (t) => {
  const model = await startModel(t, [() => undefined, answer({ text: "Done." })]);
  const lab = await openLab(t, { baseURL: model.baseURL });
  const first = await startProcess(t, lab, "p1");
  await model.reached;
  first.kill("SIGKILL");
  await once(first, "close");
  assert.equal(await lab.run({ podUid: "p2" }), "finished");
  assert.deepEqual((await lab.of("model.requested")).map(({ data }) => [data.turn, data.attempt]), [[1, 1], [1, 2]]);
  assert.equal(await outcomeOf(lab), "Completed");
});

test("a runner that is told to stop starts nothing new, records what it knows and leaves the rest to the next one", async (t) => {
  const model = await startModel(t, [() => undefined, answer({ text: "Done." })]);
  const lab = await openLab(t, { baseURL: model.baseURL });
  const first = await startProcess(t, lab, "p1");
  await model.reached;
  const output = outputOf(first);
  first.kill("SIGTERM");
  assert.match(await output, /ended: stopped\n$/);
  assert.partialDeepStrictEqual(await lab.of("model.failed"), [{ data: { class: "cancelled" } }]);
  assert.equal(await lab.run({ podUid: "p2" }), "finished");
  assert.equal(await outcomeOf(lab), "Completed");
});

test("a call that may be repeated is run again by the next runner, with the same idempotency key", async (t) => {
  const model = await startModel(t, [answer({ text: "Done." })]);
  const lab = await openLab(t, { baseURL: model.baseURL });
  const args = { path: "a.txt", content: "hello" };
  const decided = decidedEvent(buildTestBundle(lab.uid), "root/1/0", { tool: "write", arguments: args, effect: "Idempotent" });
  await leaveStarted(lab, [requestedEvent(1, 1, 3), respondedEvent(1, 1, [{ name: "write", arguments: JSON.stringify(args) }]), decided]);
  await lab.run({ podUid: "p2" });
  const starts = await lab.of("tool.started");
  assert.deepEqual(starts.map(({ data }) => data.attempt), [1, 2]);
  assert.equal(starts[1]?.data.idempotencyKey, `${lab.uid}/root/1/0`);
  assert.deepEqual((await lab.of("tool.finished")).map(({ data }) => data.status), ["ok"]);
  assert.equal(await outcomeOf(lab), "Completed");
});

test("answered calls that were not decided are decided by the next runner", async (t) => {
  const model = await startModel(t, [answer({ text: "Done." })]);
  const lab = await openLab(t, { baseURL: model.baseURL });
  await leave(lab, [requestedEvent(1, 1, 3), respondedEvent(1, 1, [{ name: "bash", arguments: '{"command":"echo hi"}' }])]);
  await lab.run({ podUid: "p2" });
  assert.match((await lab.of("tool.finished"))[0]?.data.content ?? "", /hi/);
});

/** Turn 1 asked for these calls and the last runner was gone before any of them started. */
function leftDecided(lab: Lab, tool: string, args: Readonly<Record<string, unknown>>, change: Partial<EventDataOf<"tool.decided">> = {}): readonly NewEvent[] {
  const bundle = { ...buildTestBundle(lab.uid), ...(tool === "post_note" ? { agent: withNote(lab.uid) } : {}) };
  const decided = decidedEvent(bundle, "root/1/0", { tool, arguments: args, ...change });
  return [requestedEvent(1, 1, 3), respondedEvent(1, 1, [{ name: tool, arguments: JSON.stringify(args) }]), decided];
}

function withNote(uid: string): Bundle["agent"] {
  const { agent } = buildTestBundle(uid);
  return { ...agent, spec: { ...agent.spec, customTools: NOTE } };
}

const NOTE: NonNullable<Bundle["agent"]["spec"]["customTools"]> = [{ name: "post_note", description: "Posts a note.", inputSchema: { type: "object" } }];
const ASKS: NonNullable<LabOptions["tools"]> = [{ name: "bash", permission: "Ask" }];
const HI = { command: "echo hi" };

async function openDone(t: TestContext, options: Partial<LabOptions>): Promise<Lab> {
  const model = await startModel(t, [answer({ text: "Done." })]);
  return openLab(t, { baseURL: model.baseURL, ...options });
}

test("a call that was allowed and not started is started by the next runner", async (t) => {
  const lab = await openDone(t, {});
  await leave(lab, leftDecided(lab, "bash", HI));
  await lab.run({ podUid: "p2" });
  assert.deepEqual((await lab.of("tool.started")).map(({ data }) => data.attempt), [1]);
  assert.match((await lab.of("tool.finished"))[0]?.data.content ?? "", /hi/);
});

test("a call that is asked for and not decided is waited for by the next runner, without a sandbox", async (t) => {
  const lab = await openDone(t, { tools: ASKS });
  await leave(lab, leftDecided(lab, "bash", HI, { decision: "Ask" }));
  const ended = lab.run({ podUid: "p2" });
  await lab.seen((event) => event.type === "run.waiting" && event.data.for === "approval");
  assert.deepEqual(await lab.of("sandbox.requested"), []);
  await lab.resolve("root/1/0");
  assert.equal(await ended, "finished");
  assert.equal((await lab.of("approval.requested")).length, 1, "nobody is asked twice");
  assert.deepEqual((await lab.of("tool.finished")).map(({ data }) => data.status), ["ok"]);
});

test("a call that was approved while no runner was there is started by the next one", async (t) => {
  const lab = await openDone(t, { tools: ASKS });
  await leave(lab, leftDecided(lab, "bash", HI, { decision: "Ask" }));
  await lab.resolve("root/1/0");
  assert.equal(await lab.run({ podUid: "p2" }), "finished");
  assert.deepEqual(await lab.of("run.waiting"), []);
  assert.deepEqual((await lab.of("tool.finished")).map(({ data }) => data.status), ["ok"]);
});

test("a call that was denied while no runner was there has its result from the next one", async (t) => {
  const lab = await openDone(t, { tools: ASKS });
  await leave(lab, leftDecided(lab, "bash", HI, { decision: "Ask" }));
  await lab.resolve("root/1/0", { decision: "Denied", reason: "No echo" });
  assert.equal(await lab.run({ podUid: "p2" }), "finished");
  assert.deepEqual(await lab.of("tool.started"), []);
  assert.partialDeepStrictEqual(await lab.of("tool.finished"), [{ data: { status: "denied" } }]);
  assert.match((await lab.of("tool.finished"))[0]?.data.content ?? "", /No echo/);
});

test("a call whose approval expired while no runner was there is denied by the next one", async (t) => {
  const lab = await openDone(t, { tools: ASKS, approvals: { timeoutSeconds: 1 } });
  await leave(lab, leftDecided(lab, "bash", HI, { decision: "Ask" }));
  await lab.seen(({ type }) => type === "approval.resolved");
  assert.equal(await lab.run({ podUid: "p2" }), "finished");
  assert.partialDeepStrictEqual(await lab.of("tool.finished"), [{ data: { status: "denied" } }]);
  assert.match((await lab.of("tool.finished"))[0]?.data.content ?? "", /nobody decided in time/);
});

test("a call of a custom tool that was started is waited for by the next runner, never started again and never indeterminate", async (t) => {
  const lab = await openDone(t, { customTools: NOTE });
  await leave(lab, [...leftDecided(lab, "post_note", { text: "hi" }), toolStartedEvent("root/1/0", 1)]);
  const ended = lab.run({ podUid: "p2" });
  await lab.seen((event) => event.type === "run.waiting" && event.data.for === "tool");
  await lab.give("root/1/0", "note 17");
  assert.equal(await ended, "finished");
  assert.equal((await lab.of("tool.started")).length, 1);
  assert.deepEqual((await lab.of("tool.finished")).map(({ data, role }) => [data.status, role]), [["ok", "person"]]);
});

test("a result of a custom tool that came while no runner was there goes to the model", async (t) => {
  const lab = await openDone(t, { customTools: NOTE });
  await leave(lab, [...leftDecided(lab, "post_note", { text: "hi" }), toolStartedEvent("root/1/0", 1)]);
  await lab.give("root/1/0", "note 17");
  assert.equal(await lab.run({ podUid: "p2" }), "finished");
  assert.deepEqual(await lab.of("run.waiting"), []);
  assert.equal(await outcomeOf(lab), "Completed");
});

test("a call that changes nothing and was started is run again by the next runner", async (t) => {
  const lab = await openDone(t, {});
  await writeFile(join(lab.sandbox.workspace, "a"), "forty-two");
  await leaveStarted(lab, leftDecided(lab, "read", { path: "a" }, { effect: "Pure" }));
  assert.equal(await lab.run({ podUid: "p2" }), "finished");
  assert.deepEqual((await lab.of("tool.started")).map(({ data }) => data.attempt), [1, 2]);
  assert.match((await lab.of("tool.finished"))[0]?.data.content ?? "", /forty-two/);
});

test("two parallel calls with the runner killed between them: the recorded one stays, the other is never run again", async (t) => {
  const slow = "echo ran >> ran; touch running; sleep 300";
  const calls = ["echo first >> first", slow].map((command) => ({ name: "bash", arguments: { command } }));
  const model = await startModel(t, [answer({ calls }), answer({ calls: [{ name: "bash", arguments: { command: "cat first ran" } }] }), answer({ text: "Each ran once." })]);
  const lab = await openLab(t, { baseURL: model.baseURL });
  const first = await startProcess(t, lab, "p1");
  await fileAt(join(lab.sandbox.workspace, "running"));
  await lab.seen((event) => event.type === "tool.finished" && event.data.call === "root/1/0");
  first.kill("SIGKILL");
  await once(first, "close");
  assert.equal(await lab.run({ podUid: "p2" }), "finished");
  const results = await lab.of("tool.finished");
  assert.deepEqual(results.map(({ data }) => [data.call, data.status]), [["root/1/0", "ok"], ["root/1/1", "indeterminate"], ["root/2/0", "ok"]]);
  assert.match(results[2]?.data.content ?? "", /^first\nran$/m);
  assert.doesNotMatch(results[2]?.data.content ?? "", /first\nfirst|ran\nran/);
});

test("a runner that is killed in a suspended session: the next one waits, and settles the call when it is resumed", async (t) => {
  const model = await startModel(t, [BASH_FOR_EVER, answer({ text: "Done." })]);
  const lab = await openLab(t, { baseURL: model.baseURL });
  const first = await startProcess(t, lab, "p1");
  await fileAt(join(lab.sandbox.workspace, "running"));
  await lab.asOperator({ type: "session.suspended", data: {} });
  first.kill("SIGKILL");
  await once(first, "close");
  const second = lab.run({ podUid: "p2" });
  await lab.seen((event) => event.type === "run.waiting" && event.data.for === "resume");
  await lab.asOperator({ type: "session.resumed", data: {} });
  assert.equal(await second, "finished");
  assert.deepEqual((await lab.of("tool.finished")).map(({ data }) => data.status), ["indeterminate"]);
  assert.equal((await lab.of("tool.started")).length, 1);
});

test("a runner of a session that has finished ends and does nothing", async (t) => {
  const model = await startModel(t, [answer({ text: "Done." })]);
  const lab = await openLab(t, { baseURL: model.baseURL });
  await lab.run({ podUid: "p1" });
  const before = await lab.events();
  assert.equal(await lab.run({ podUid: "p2" }), "finished");
  assert.deepEqual([await lab.events(), model.asked.length], [before, 1]);
});

test("an older runner is fenced when a newer one is registered", async (t) => {
  const model = await startModel(t, [() => undefined, answer({ text: "Done." })]);
  const lab = await openLab(t, { baseURL: model.baseURL });
  const older = lab.run({ podUid: "p1" });
  await model.reached;
  assert.equal(await lab.run({ podUid: "p2" }), "finished");
  assert.equal(await older, "fenced");
  assert.equal((await lab.of("runner.started")).length, 2);
});

test("a gateway that restarts in the middle of a call loses nothing, and the call's result waits for it", async (t) => {
  const model = await startModel(t, [answer({ calls: [{ name: "bash", arguments: { command: "until [ -e go ]; do sleep 0.05; done; echo went" } }] }), answer({ text: "Done." })]);
  const lab = await openLab(t, { baseURL: model.baseURL });
  const ended = lab.run();
  await lab.seen(({ type }) => type === "tool.started");
  await lab.gateway.restart();
  await writeFile(`${lab.sandbox.workspace}/go`, "");
  assert.equal(await ended, "finished");
  assert.deepEqual((await lab.of("tool.finished")).map(({ data }) => data.status), ["ok"]);
  assert.equal(await outcomeOf(lab), "Completed");
  assert.equal((await lab.of("runner.started")).length, 1, "the runner kept its epoch");
});

test("an append whose answer is lost is repeated, and stored once", async (t) => {
  const relays: Relay[] = [];
  const model = await startModel(t, [
    (response, asked, request) => {
      relays[0]?.loseNextAnswer();
      answer({ calls: [{ name: "bash", arguments: { command: "echo hi" } }] })(response, asked, request);
    },
    answer({ text: "Done." }),
  ]);
  const lab = await openLab(t, { baseURL: model.baseURL });
  const relay = await startRelay(t, Number(new URL(lab.gateway.url).port));
  relays.push(relay);
  assert.equal(await lab.run({ gatewayUrl: `https://127.0.0.1:${relay.port}` }), "finished");
  assert.ok(relay.hasLost());
  assert.equal((await lab.of("model.responded")).length, 2);
  assert.equal(await outcomeOf(lab), "Completed");
});

test("a runner that cannot reach the gateway waits, and ends when it is told to", async (t) => {
  const model = await startModel(t, [answer({ text: "Done." })]);
  const lab = await openLab(t, { baseURL: model.baseURL });
  const relay = await startRelay(t, 9);
  const stop = new AbortController();
  const nobody = lab.run({ gatewayUrl: `https://127.0.0.1:${relay.port}`, stop: stop.signal });
  await relay.reached;
  stop.abort();
  assert.equal(await nobody, "stopped");
  assert.equal(model.asked.length, 0);
});

test("a call that ends in the grace of a stop has its result recorded", async (t) => {
  const model = await startModel(t, [answer({ calls: [{ name: "bash", arguments: { command: "touch running; until [ -e go ]; do sleep 0.05; done; echo went" } }] }), answer({ text: "Done." })]);
  const lab = await openLab(t, { baseURL: model.baseURL });
  const stop = new AbortController();
  const first = lab.run({ podUid: "p1", stop: stop.signal });
  await fileAt(join(lab.sandbox.workspace, "running"));
  stop.abort();
  await writeFile(join(lab.sandbox.workspace, "go"), "");
  assert.equal(await first, "stopped");
  assert.deepEqual((await lab.of("tool.finished")).map(({ data }) => data.status), ["ok"]);
  assert.equal(model.asked.length, 1);
  assert.equal(await lab.run({ podUid: "p2" }), "finished");
  assert.equal(await outcomeOf(lab), "Completed");
});

test("a runner that connects before it is registered is held and then goes on", async (t) => {
  const model = await startModel(t, [answer({ text: "Done." })]);
  const lab = await openLab(t, { baseURL: model.baseURL });
  const relay = await startRelay(t, Number(new URL(lab.gateway.url).port));
  const ended = lab.run({ podUid: "p1", unregistered: true, gatewayUrl: `https://127.0.0.1:${relay.port}` });
  await relay.reached;
  await lab.register("p1");
  assert.equal(await ended, "finished");
});

test("a sandbox that does not answer is replaced, and the call runs in the next one", async (t) => {
  const model = await startModel(t, [answer({ calls: [{ name: "bash", arguments: { command: "echo hi" } }] }), answer({ text: "Done." })]);
  const lab = await openLab(t, { baseURL: model.baseURL, sandboxes: ["127.0.0.2", "127.0.0.1"] });
  await lab.run({ ports: { linkTimes: { connectMs: 0 } } });
  const requests = await lab.of("sandbox.requested");
  assert.deepEqual(requests.map(({ data }) => data.replaces), [undefined, "sandbox-1"]);
  assert.match(requests[1]?.data.reason ?? "", /127\.0\.0\.2 could not be bound/);
  assert.deepEqual((await lab.of("tool.finished")).map(({ data }) => data.status), ["ok"]);
});

test("a sandbox that is lost under a command: nobody knows its outcome, and the next result says that the place is new", async (t) => {
  const model = await startModel(t, [BASH_FOR_EVER, answer({ calls: [{ name: "bash", arguments: { command: "echo hi" } }] }), answer({ text: "Done." })]);
  const lab = await openLab(t, { baseURL: model.baseURL });
  const ended = lab.run();
  await fileAt(join(lab.sandbox.workspace, "running"));
  await lab.asOperator({ type: "sandbox.lost", data: { podUid: "sandbox-1", reason: "OOMKilled" } });
  assert.equal(await ended, "finished");
  const results = await lab.of("tool.finished");
  assert.deepEqual(results.map(({ data }) => data.status), ["indeterminate", "ok"]);
  assert.match(results[0]?.data.content ?? "", /the sandbox was lost \(OOMKilled\)/);
  assert.match(results[1]?.data.note ?? "", /new one/);
  assert.match(String(model.asked[2]?.body.messages.at(-1)?.["content"]), /new one/);
});
