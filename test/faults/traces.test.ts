import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, it } from "node:test";
import type { Bundle } from "@paddock/api/log/bundle";
import type { LogEvent, NewEvent } from "@paddock/api/log/events";
import { openLogWriter } from "../../gateway/src/log/append.ts";
import type { AppendResult, LogWriter } from "../../gateway/src/log/append.ts";
import { openSqliteStore } from "../../gateway/src/store/sqlite.ts";
import type { Store } from "../../gateway/src/store/store.ts";
import { createTracing } from "../../gateway/src/telemetry/tracing.ts";
import type { Tracing } from "../../gateway/src/telemetry/tracing.ts";
import { findProgram, run } from "../cluster/command.ts";
import { buildTestBundle, decidedEvent, event, requestedEvent, respondedEvent, runFinishedEvent, startedEvent, toolFinishedEvent, toolStartedEvent } from "../fakes/session.ts";
import { ROOT } from "../steps.ts";

// What an OTLP receiver sees of a session whose runner and gateway are replaced in the middle. The receiver is OpenTelemetry's own Go code: what
// neither we nor the package that sends has written.

/** A span as the receiver prints it. */
interface Received {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly name: string;
  readonly kind: string;
  readonly startNano: string;
  readonly endNano: string;
  readonly status: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly resource: Readonly<Record<string, unknown>>;
}

interface Receiver {
  readonly endpoint: string;
  /** Everything received so far, in order. */
  readonly spans: Received[];
}

const folder = mkdtempSync(join(tmpdir(), "paddock-traces-"));
after(() => rmSync(folder, { recursive: true }));
const go = findProgram("go");
let receive: () => Promise<Receiver>;

async function startReceiver(program: string): Promise<Receiver> {
  const child = spawn(program, { stdio: ["ignore", "pipe", "inherit"] });
  after(() => child.kill());
  const spans: Received[] = [];
  const lines = createInterface({ input: child.stdout });
  const [port] = (await once(lines, "line")) as [string];
  lines.on("line", (line) => spans.push(JSON.parse(line) as Received));
  return { endpoint: `http://127.0.0.1:${port}`, spans };
}

/** A gateway's store, append path and tracing, without its HTTP. */
interface Gateway {
  readonly store: Store;
  readonly writer: LogWriter;
  stop(): Promise<void>;
}

async function startGateway(data: string, endpoint: string): Promise<Gateway> {
  const now = (): Date => new Date();
  const store = openSqliteStore(data, now);
  const metrics = { spans: (result: string, count: number) => assert.equal(result, "exported", `${count} spans`) };
  const tracing: Tracing = await createTracing({ endpoint, events: store.events, metrics, logger: { warn: (...said: unknown[]) => assert.fail(JSON.stringify(said)), info: () => undefined } });
  const writer = openLogWriter({ store, now, stored: tracing.stored, count: () => undefined });
  return {
    store,
    writer,
    stop: async () => {
      await tracing.close();
      await store.close();
    },
  };
}

function mustStore(result: AppendResult): readonly LogEvent[] {
  if (result?.kind !== "stored") assert.fail(JSON.stringify(result));
  return result.events;
}

/** A runner pod: registers, starts its epoch, and appends a batch for each call. */
async function startRunner({ store, writer }: Gateway, uid: string, epoch: number): Promise<(...events: readonly NewEvent[]) => Promise<readonly LogEvent[]>> {
  const podUid = `p${epoch}`;
  await store.register({ podUid, sessionUid: uid, component: "runner", podName: podUid }, new Date().toISOString());
  let batch = 0;
  const append = async (...events: readonly NewEvent[]) => mustStore(await writer.appendByRunner(uid, podUid, { epoch, batch: (batch += 1), events }));
  await append(startedEvent(podUid, epoch));
  return append;
}

async function lastSeq({ store }: Gateway, uid: string): Promise<number> {
  return (await store.record(uid))?.state.lastSeq ?? 0;
}

const COMMAND = "make everything";
const PERSON = "ann@example.com";

function buildBundle(uid: string, content: "Recorded" | undefined): Bundle {
  const bundle = buildTestBundle(uid);
  const { agent, environment } = bundle;
  return {
    ...bundle,
    agent: { ...agent, spec: { ...agent.spec, tools: [{ name: "bash", permission: "Ask" }, { name: "read" }] } },
    environment: { ...environment, spec: { ...environment.spec, ...(content === undefined ? {} : { telemetry: { content } }) } },
  };
}

/** Two calls, one of them approved; the runner is replaced in the middle of the other, the gateway too, and again in the middle of a request. */
async function playSession(uid: string, content: "Recorded" | undefined, { endpoint }: Receiver): Promise<{ readonly bundle: Bundle; readonly log: readonly LogEvent[] }> {
  const data = join(folder, uid);
  const bundle = buildBundle(uid, content);
  const first = await startGateway(data, endpoint);
  assert.equal((await first.writer.create({ bundle, namespaceUid: "n1", prompt: "Hello" })).kind, "created");
  const one = await startRunner(first, uid, 1);
  await one(requestedEvent(1, 1, 3));
  const calls = [{ name: "bash", arguments: JSON.stringify({ command: COMMAND }) }, { name: "read", arguments: '{"path":"a"}' }];
  await one(respondedEvent(1, 1, calls));
  const [asked] = await one(decidedEvent(bundle, "root/1/0", { arguments: { command: COMMAND }, decision: "Ask" }));
  await one(decidedEvent(bundle, "root/1/1", { tool: "read", arguments: { path: "a" }, effect: "Pure" }), toolStartedEvent("root/1/1", 1));
  await first.stop();

  const second = await startGateway(data, endpoint);
  const two = await startRunner(second, uid, 2);
  await two(toolStartedEvent("root/1/1", 2), toolFinishedEvent("root/1/1"));
  assert.equal(asked?.type, "tool.decided");
  const { fingerprint } = asked.data as { fingerprint: string };
  mustStore(await second.writer.appendByOperator(uid, [event("approval.resolved", { call: "root/1/0", fingerprint, decision: "Approved", by: PERSON, scope: "Once" })]));
  await two(toolStartedEvent("root/1/0", 1), toolFinishedEvent("root/1/0"));
  await two(requestedEvent(2, 1, await lastSeq(second, uid)));
  await second.stop();

  const third = await startGateway(data, endpoint);
  const three = await startRunner(third, uid, 3);
  await three(requestedEvent(2, 2, await lastSeq(third, uid)));
  await three(respondedEvent(2, 2));
  await three(runFinishedEvent({ through: await lastSeq(third, uid) }));
  const log = await third.store.events(uid, { after: 0, limit: 1000 });
  await third.stop();
  return { bundle, log };
}

/** By name, then turn and attempt: a span whose beginning is read from the log may be sent after a later one. */
function inOrder(spans: readonly Received[]): readonly Received[] {
  const keyOf = ({ name, attributes }: Received) => [name, attributes["paddock.turn"], attributes["paddock.attempt"]].join(" ");
  return spans.toSorted((a, b) => keyOf(a).localeCompare(keyOf(b)));
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

describe("traces", { skip: go === undefined ? "Go is not installed, and the receiver is Go" : false }, () => {
  before(async () => {
    const program = join(folder, "receiver");
    await run([go ?? "", "build", "-o", program, "."], { cwd: join(ROOT, "test/traces/receiver") });
    receive = () => startReceiver(program);
  });

  it("a session with an approval, two runner replacements and two gateway restarts is one trace: a span per attempt, call and approval, each under its own", async () => {
    const receiver = await receive();
    const { bundle, log } = await playSession("u1", undefined, receiver);
    const { spans } = receiver;
    await until(() => spans.length >= 7);
    const named = (name: string) => inOrder(spans).filter((span) => span.name === name);
    const [root, ...moreRoots] = named("invoke_agent agent");
    assert.ok(root !== undefined && moreRoots.length === 0);
    assert.deepEqual(new Set(spans.map(({ traceId }) => traceId)), new Set([bundle.traceId]));
    assert.equal(new Set(spans.map(({ spanId }) => spanId)).size, spans.length);
    const [bash] = named("execute_tool bash");
    assert.deepEqual(
      inOrder(spans).map(({ name, parentSpanId, kind, status }) => [name, parentSpanId, kind, status]),
      [
        ["approval bash", bash?.spanId, "SPAN_KIND_INTERNAL", "STATUS_CODE_UNSET"],
        ["chat scripted", root.spanId, "SPAN_KIND_CLIENT", "STATUS_CODE_UNSET"],
        ["chat scripted", root.spanId, "SPAN_KIND_CLIENT", "STATUS_CODE_ERROR"],
        ["chat scripted", root.spanId, "SPAN_KIND_CLIENT", "STATUS_CODE_UNSET"],
        ["execute_tool bash", root.spanId, "SPAN_KIND_INTERNAL", "STATUS_CODE_UNSET"],
        ["execute_tool read", root.spanId, "SPAN_KIND_INTERNAL", "STATUS_CODE_UNSET"],
        ["invoke_agent agent", "", "SPAN_KIND_INTERNAL", "STATUS_CODE_UNSET"],
      ],
    );
    const nano = (type: string, nth = 0) => `${Date.parse(log.filter((each) => each.type === type)[nth]?.at ?? "")}000000`;
    const timesOf = ([span]: readonly Received[]) => [span?.startNano, span?.endNano];
    assert.deepEqual(timesOf([root]), [nano("session.bound"), nano("run.finished")]);
    // From before the restart, and before the second attempt.
    assert.deepEqual(timesOf(named("execute_tool read")), [nano("tool.started", 0), nano("tool.finished", 0)]);
    assert.deepEqual(timesOf(named("execute_tool bash")), [nano("tool.started", 2), nano("tool.finished", 1)]);
    assert.deepEqual(timesOf(named("approval bash")), [nano("approval.requested"), nano("approval.resolved")]);
    assert.deepEqual(timesOf(named("chat scripted").slice(1)), [nano("model.requested", 1), nano("runner.started", 2)]);
    assert.equal(named("chat scripted")[1]?.attributes["error.type"], "lost");
    for (const { name, attributes, resource } of spans) {
      assert.equal(resource["service.name"], "paddock-gateway");
      assert.deepEqual([attributes["k8s.namespace.name"], attributes["session.id"], attributes["gen_ai.agent.name"]], ["team", "u1", "agent"], name);
    }
    const text = JSON.stringify(spans);
    for (const word of ["Hello", COMMAND, PERSON, "Done."]) assert.ok(!text.includes(word), word);
  });

  it("ids are the same whoever sends them: the same session again has the same spans", async () => {
    const [one, two] = [await receive(), await receive()];
    await playSession("u2", undefined, one);
    rmSync(join(folder, "u2"), { recursive: true });
    await playSession("u2", undefined, two);
    await until(() => one.spans.length >= 7 && two.spans.length >= 7);
    const idsOf = ({ spans }: Receiver) => inOrder(spans).map(({ name, traceId, spanId, parentSpanId }) => [name, traceId, spanId, parentSpanId]);
    assert.deepEqual(idsOf(one), idsOf(two));
  });

  it("content is in it where the Environment says On", async () => {
    const receiver = await receive();
    await playSession("u3", "Recorded", receiver);
    const { spans } = receiver;
    await until(() => spans.length >= 7);
    const told = (name: string, attribute: string) => spans.find((span) => span.name === name)?.attributes[attribute];
    assert.match(String(told("invoke_agent agent", "gen_ai.input.messages")), /"content":"Hello"/);
    assert.equal(told("execute_tool bash", "gen_ai.tool.call.arguments"), JSON.stringify({ command: COMMAND }));
    assert.equal(told("execute_tool bash", "gen_ai.tool.call.result"), "output");
    assert.equal(told("approval bash", "user.name"), PERSON);
  });
});
