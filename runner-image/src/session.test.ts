import assert from "node:assert/strict";
import { once } from "node:events";
import { rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { createScriptedModel } from "../../test/scripted-model/server.ts";
import { parseScripts } from "../../test/scripted-model/script.ts";
import { networkOf, openLab } from "./testdata/lab.ts";
import type { Lab, LabOptions } from "./testdata/lab.ts";
import { answer, chunk, fail, openStream, startModel } from "./testdata/model.ts";
import type { ModelServer } from "./testdata/model.ts";

const SANDBOXED = ["tool.started", "tool.finished"];

function lastMessages({ asked }: ModelServer, count: number): unknown[] {
  return asked.at(-1)?.body.messages.slice(-count).map(({ content }) => content) ?? [];
}

test("a session of two tools runs to its end", async (t) => {
  const model = await startModel(t, [
    answer({ text: "I write it.", calls: [{ name: "write", arguments: { path: "a.js", content: "console.log(6 * 7)\n" } }], extra: { reasoning_content: "hm" } }),
    answer({ calls: [{ name: "bash", arguments: { command: "node a.js" } }] }),
    answer({ text: "It printed 42." }),
  ]);
  const lab = await openLab(t, { baseURL: model.baseURL, prompt: "What is 6 * 7?" });
  assert.equal(await lab.run(), "finished");
  assert.deepEqual(
    (await lab.events()).map(({ type }) => type),
    [
      ...["session.bound", "input.received", "runner.started"],
      ...["model.requested", "model.responded", "tool.decided", "sandbox.requested", "sandbox.bound", "isolation.reported", ...SANDBOXED],
      ...["model.requested", "model.responded", "tool.decided", ...SANDBOXED],
      ...["model.requested", "model.responded", "run.finished"],
    ],
  );
  assert.partialDeepStrictEqual(await lab.of("run.finished"), [{ data: { outcome: "Completed", text: "It printed 42.", reason: "" } }]);
  const results = await lab.of("tool.finished");
  assert.match(results[1]?.data.content ?? "", /^42$/m);
  const answers = await lab.of("model.responded");
  assert.partialDeepStrictEqual(answers[0]?.data, { usage: { inputTokens: 100, cachedInputTokens: 60, outputTokens: 20 }, message: { extra: { reasoning_content: "hm" } } });
  assert.equal(model.connections(), 1, "one connection serves all turns");
});

test("the session's files are in the sandbox, and the model is told of them", async (t) => {
  const model = await startModel(t, [answer({ calls: [{ name: "read", arguments: { path: "notes/a.md" } }] }), answer({ text: "Read." })]);
  const lab = await openLab(t, { baseURL: model.baseURL, files: [{ path: "notes/a.md", content: "forty-two" }] });
  assert.equal(await lab.run(), "finished");
  assert.match((await lab.of("tool.finished"))[0]?.data.content ?? "", /forty-two/);
  assert.match(String(model.asked[0]?.body.messages[0]?.["content"]), /Files given to you in the workspace: notes\/a\.md\./);
});

test("an eager sandbox is asked for before the model, comes up beside its answer, and is used", async (t) => {
  let boundFirst: () => Promise<unknown> = () => Promise.resolve();
  const late = answer({ calls: [{ name: "bash", arguments: { command: "echo here" } }] });
  const model = await startModel(t, [(response, asked, request) => void boundFirst().then(() => late(response, asked, request)), answer({ text: "Done." })]);
  const lab = await openLab(t, { baseURL: model.baseURL, provisioning: "Eager" });
  // The answer is held back until the sandbox is bound: nothing but an eager request can bind it.
  boundFirst = () => lab.seen(({ type }) => type === "sandbox.bound");
  assert.equal(await lab.run(), "finished");
  const types = (await lab.events()).map(({ type }) => type);
  assert.deepEqual(types.slice(2, 4), ["runner.started", "sandbox.requested"]);
  assert.deepEqual([types.filter((type) => type === "sandbox.requested").length, types.indexOf("sandbox.bound") < types.indexOf("model.responded")], [1, true]);
  assert.match((await lab.of("tool.finished"))[0]?.data.content ?? "", /here/);
});

test("sandboxes that do not take the files are told and replaced, and given up in the end", async (t) => {
  const model = await startModel(t, [answer({ calls: [{ name: "read", arguments: { path: "a" } }] }), answer({ text: "It cannot be read." })]);
  const lab = await openLab(t, { baseURL: model.baseURL, files: [{ path: "a", content: "" }] });
  await rm(lab.sandbox.workspace, { recursive: true });
  assert.equal(await lab.run(), "finished");
  const reported = await lab.of("runner.reported");
  assert.deepEqual(reported.map(({ data }) => [data.problem, data.subject]), [1, 2, 3, 4].map((count) => ["SandboxUnreachable", `sandbox-${count}`]));
  assert.match(reported[0]?.data.message ?? "", /does not take the session's files \(spec\.files\): a does not exist/);
  assert.deepEqual((await lab.of("sandbox.requested")).map(({ data }) => data.replaces), [undefined, "sandbox-1", "sandbox-2", "sandbox-3"]);
  assert.partialDeepStrictEqual(await lab.of("tool.finished"), [{ data: { status: "error" } }]);
  assert.match((await lab.of("tool.finished"))[0]?.data.content ?? "", /there is no sandbox to run it in .*does not take the session's files/);
});

test("what the model is sent only grows, and holds what it said before", async (t) => {
  const model = await startModel(t, [
    answer({ calls: [{ name: "bash", arguments: { command: "echo one" } }], extra: { reasoning_content: "hm" } }),
    answer({ calls: [{ name: "bash", arguments: { command: "echo two" } }] }),
    answer({ text: "Done." }),
  ]);
  const lab = await openLab(t, { baseURL: model.baseURL, tools: [{ name: "bash" }, { name: "glob", permission: "Deny" }] });
  await lab.run();
  const [first = [], second = [], third = []] = model.asked.map(({ body }) => body.messages);
  assert.deepEqual(second.slice(0, first.length), first);
  assert.deepEqual(third.slice(0, second.length), second);
  assert.equal(second[2]?.["reasoning_content"], "hm");
  const body = model.asked[0]?.body;
  assert.deepEqual((body?.["tools"] as { function: { name: string } }[]).map((tool) => tool.function.name), ["bash"], "a denied tool is not offered");
  assert.deepEqual(body?.["stream_options"], { include_usage: true });
});

test("the scripted model of the examples is understood", async (t) => {
  const turns = [
    { toolCalls: [{ name: "write", arguments: { path: "p.js", content: "console.log('primes: ' + 4)" } }] },
    { toolCalls: [{ name: "bash", arguments: { command: "node p.js" } }] },
    { content: "The program printed {{lastToolResult:primes: \\d+}}.", expect: "primes" },
  ];
  const { server, close } = await createScriptedModel(parseScripts("script", JSON.stringify({ prompt: "primes", turns })), "/nonexistent", () => undefined);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(close);
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  const lab = await openLab(t, { baseURL: `http://127.0.0.1:${address.port}/v1`, prompt: "How many primes?" });
  await lab.run();
  assert.partialDeepStrictEqual(await lab.of("run.finished"), [{ data: { outcome: "Completed", text: "The program printed primes: 4." } }]);
});

test("calls of one turn run together, and their results are in the assistant's order", async (t) => {
  const calls = [
    // Each waits for the other: they end only if both run.
    { name: "bash", arguments: { command: "touch a; until [ -e b ]; do sleep 0.05; done; echo first" } },
    { name: "bash", arguments: { command: "until [ -e a ]; do sleep 0.05; done; touch b; echo second" } },
  ];
  const model = await startModel(t, [answer({ calls }), answer({ text: "Done." })]);
  const lab = await openLab(t, { baseURL: model.baseURL });
  await lab.run();
  const [first, second] = lastMessages(model, 2);
  assert.match(String(first), /first/);
  assert.match(String(second), /second/);
});

test("calls that cannot run become results that the model reads", async (t) => {
  const calls = [
    { name: "fly", arguments: {} },
    { name: "bash", arguments: { cmd: "ls" } },
    { name: "glob", arguments: { pattern: "*" } },
  ];
  const model = await startModel(t, [answer({ calls }), answer({ text: "I see." })]);
  const lab = await openLab(t, { baseURL: model.baseURL });
  await lab.run();
  assert.deepEqual((await lab.of("tool.finished")).map(({ data }) => data.status), ["error", "error", "denied"]);
  assert.deepEqual(await lab.of("sandbox.requested"), [], "no sandbox was needed");
  const [unknown, invalid, denied] = lastMessages(model, 3);
  assert.match(String(unknown), /No tool is called "fly"/);
  assert.match(String(invalid), /command/);
  assert.match(String(denied), /Denied by policy: agent\.spec\.tools denies glob/);
});

test("calls of a cut answer are not run, and the model is told", async (t) => {
  const model = await startModel(t, [answer({ calls: [{ name: "bash", arguments: '{"command":"rm -r' }], finish: "length" }), answer({ text: "Done." })]);
  const lab = await openLab(t, { baseURL: model.baseURL });
  await lab.run();
  assert.deepEqual(await lab.of("tool.started"), []);
  assert.match(String(lastMessages(model, 1)[0]), /output limit/);
});

test("turns that are used up end the session, after the last results", async (t) => {
  const model = await startModel(t, [answer({ text: "Still at it.", calls: [{ name: "bash", arguments: { command: "true" } }] })]);
  const lab = await openLab(t, { baseURL: model.baseURL, limits: { maxTurns: 2, timeoutSeconds: 60 } });
  await lab.run();
  assert.equal(model.asked.length, 2);
  assert.partialDeepStrictEqual(await lab.of("run.finished"), [{ data: { outcome: "MaxTurns", text: "Still at it." } }]);
});

test("an answer that fills its event ends the session all the same, told in part", async (t) => {
  const model = await startModel(t, [answer({ text: "x".repeat(1_000_000), calls: [{ name: "bash", arguments: { command: "true" } }] })]);
  const lab = await openLab(t, { baseURL: model.baseURL, limits: { maxTurns: 1, timeoutSeconds: 60 } });
  assert.equal(await lab.run(), "finished");
  const [end] = await lab.of("run.finished");
  assert.equal(end?.data.outcome, "MaxTurns");
  assert.match(end.data.text, /^x+$/);
  assert.deepEqual([end.data.blob?.bytes, (await lab.of("model.responded"))[0]?.data.blob?.bytes], [262_144, 1_000_096]);
});

test("a session past its deadline is stopped in the middle of a call", async (t) => {
  const model = await startModel(t, [answer({ calls: [{ name: "bash", arguments: { command: "sleep 300" } }] })]);
  const lab = await openLab(t, { baseURL: model.baseURL, limits: { maxTurns: 2, timeoutSeconds: 3 } });
  await lab.run();
  assert.deepEqual((await lab.of("tool.finished")).map(({ data }) => data.status), ["cancelled"]);
  assert.partialDeepStrictEqual(await lab.of("run.finished"), [{ data: { outcome: "DeadlineExceeded" } }]);
});

test("a session whose clock was set back is stopped at its deadline all the same", { timeout: 60_000 }, async (t) => {
  const model = await startModel(t, [() => undefined]);
  const lab = await openLab(t, { baseURL: model.baseURL, limits: { maxTurns: 2, timeoutSeconds: 3 } });
  let setBackMs = 0;
  const ended = lab.run({ ports: { now: () => Date.now() - setBackMs } });
  await model.reached;
  setBackMs = 200;
  await ended;
  assert.partialDeepStrictEqual(await lab.of("run.finished"), [{ data: { outcome: "DeadlineExceeded" } }]);
});

test("a cancelled session stops its call and ends at once", async (t) => {
  const model = await startModel(t, [answer({ calls: [{ name: "bash", arguments: { command: "touch running; sleep 300" } }] })]);
  const lab = await openLab(t, { baseURL: model.baseURL });
  const ended = lab.run();
  await lab.seen(({ type }) => type === "tool.started");
  await lab.asOperator({ type: "session.cancelled", data: { reason: "spec.cancel" } });
  assert.equal(await ended, "finished");
  assert.deepEqual((await lab.events()).slice(-3).map(({ type }) => type), ["session.cancelled", "tool.finished", "run.finished"]);
  assert.partialDeepStrictEqual(await lab.of("run.finished"), [{ data: { outcome: "Cancelled" } }]);
});

test("a cancelled session does not wait for the model", async (t) => {
  const model = await startModel(t, [() => undefined]);
  const lab = await openLab(t, { baseURL: model.baseURL });
  const ended = lab.run();
  await model.reached;
  await lab.asOperator({ type: "session.cancelled", data: { reason: "spec.cancel" } });
  await ended;
  assert.partialDeepStrictEqual(await lab.of("model.failed"), [{ data: { class: "cancelled" } }]);
  assert.partialDeepStrictEqual(await lab.of("run.finished"), [{ data: { outcome: "Cancelled" } }]);
});

test("a failed attempt is recorded, waited out and repeated", async (t) => {
  const model = await startModel(t, [fail(429, "slow down", { "retry-after": "0.6" }), answer({ text: "Done." })]);
  const lab = await openLab(t, { baseURL: model.baseURL });
  await lab.run();
  assert.partialDeepStrictEqual(await lab.of("model.failed"), [{ data: { turn: 1, attempt: 1, class: "rate_limited", status: 429, delaySeconds: 0.6 } }]);
  assert.deepEqual((await lab.of("model.requested")).map(({ data }) => data.attempt), [1, 2]);
  assert.partialDeepStrictEqual(await lab.of("run.finished"), [{ data: { outcome: "Completed" } }]);
});

const KEYED = { apiKey: { secretKeyRef: { name: "openai", key: "api-key" } } };
const KEY = "paddock-test-key-123456";

test("a refused key ends the session with the Secret's name, and never with the key", async (t) => {
  const model = await startModel(t, [fail(401, `Incorrect API key provided: ${KEY} (${Buffer.from(KEY).toString("base64")})`)]);
  const lab = await openLab(t, { baseURL: model.baseURL, model: KEYED });
  await lab.credential("model-m", `${KEY}\n`);
  await lab.run();
  assert.equal(model.asked[0]?.headers.authorization, `Bearer ${KEY}`);
  const [finished] = await lab.of("run.finished");
  assert.equal(finished?.data.outcome, "ModelError");
  assert.match(finished.data.reason, /answered 401.*Check key api-key of Secret openai, named by apiKey in spec\.models\[m\] of Environment environment/);
  const log = JSON.stringify(await lab.events());
  assert.ok(!log.includes(KEY) && !log.includes(Buffer.from(KEY).toString("base64").slice(0, 20)));
});

test("a key that a tool prints does not reach the log or the model", async (t) => {
  const model = await startModel(t, [answer({ calls: [{ name: "bash", arguments: { command: "cat leak" } }] }), answer({ text: "Done." })]);
  const lab = await openLab(t, { baseURL: model.baseURL, model: KEYED });
  await lab.credential("model-m", KEY);
  await writeFile(join(lab.sandbox.workspace, "leak"), `a ${KEY} b`);
  await lab.run();
  assert.match(String(lastMessages(model, 1)[0]), /a \[redacted\] b/);
  assert.ok(!JSON.stringify(await lab.events()).includes(KEY));
});

test("a missing key is reported by name and waited for", async (t) => {
  const model = await startModel(t, [answer({ text: "Done." })]);
  const lab = await openLab(t, { baseURL: model.baseURL, model: KEYED });
  const ended = lab.run();
  const reported = await lab.seen(({ type }) => type === "runner.reported");
  assert.partialDeepStrictEqual(reported, { data: { problem: "CredentialMissing", subject: "secret openai, key api-key" } });
  assert.equal(model.asked.length, 0);
  await lab.credential("model-m", KEY);
  await ended;
  assert.equal((await lab.of("runner.reported")).length, 1);
  assert.partialDeepStrictEqual(await lab.of("run.finished"), [{ data: { outcome: "Completed" } }]);
});

test("a key that was replaced while it was refused is tried at once", async (t) => {
  let replace: () => Promise<void> = () => Promise.resolve();
  const model = await startModel(t, [
    (response, asked, request) => void replace().then(() => fail(401, "expired")(response, asked, request)),
    answer({ text: "Done." }),
  ]);
  const lab = await openLab(t, { baseURL: model.baseURL, model: KEYED });
  await lab.credential("model-m", KEY);
  replace = () => lab.credential("model-m", "paddock-second-key-654321");
  await lab.run();
  assert.deepEqual(model.asked.map(({ headers }) => headers.authorization), [`Bearer ${KEY}`, "Bearer paddock-second-key-654321"]);
  assert.partialDeepStrictEqual(await lab.of("run.finished"), [{ data: { outcome: "Completed" } }]);
});

test("a program in the sandbox that wants out is told which host and why not, and the log which host", async (t) => {
  const program = `require("http").get({ host: "127.0.0.1", port: new URL(process.env.HTTP_PROXY).port, path: "http://example.com/x" }, (r) => r.on("data", (d) => process.stdout.write(r.statusCode + " " + d)))`;
  const model = await startModel(t, [answer({ calls: [{ name: "write", arguments: { path: "out.js", content: program } }] }), answer({ calls: [{ name: "bash", arguments: { command: "node out.js" } }] }), answer({ text: "Done." })]);
  const lab = await openLab(t, { baseURL: model.baseURL });
  await lab.run();
  const [, printed] = await lab.of("tool.finished");
  assert.match(printed?.data.content ?? "", /403 [^]*example\.com[^]*Environment environment/);
  assert.partialDeepStrictEqual(await lab.of("egress.decided"), [{ data: { host: "example.com", decision: "Deny", rule: "HostNotAllowed", count: 1 } }]);
});

test("a sandbox that reaches what it must not runs nothing, and the run ends with what answered and what to do", { timeout: 60_000 }, async (t) => {
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  t.after(() => listener.close());
  const { port } = listener.address() as AddressInfo;
  const canaries = { canaries: [{ host: "127.0.0.1", port }] };
  const ends = async (network?: LabOptions["network"]): Promise<Lab> => {
    const model = await startModel(t, [answer({ calls: [{ name: "bash", arguments: { command: "echo ran" } }] }), answer({ text: "Done." })]);
    const lab = await openLab(t, { baseURL: model.baseURL, ...(network === undefined ? {} : { network }) });
    await lab.run({ ports: { network: { ...networkOf({ credentials: lab.folder }), ...canaries } } });
    assert.partialDeepStrictEqual(await lab.of("isolation.reported"), [{ data: { open: [`canary (tcp 127.0.0.1:${port})`] } }]);
    return lab;
  };
  const stopped = await ends();
  assert.deepEqual((await stopped.of("tool.started")).length, 0);
  assert.partialDeepStrictEqual(await stopped.of("tool.finished"), [{ data: { status: "cancelled" } }]);
  const [finished] = await stopped.of("run.finished");
  assert.equal(finished?.data.outcome, "NotIsolated");
  assert.match(finished.data.reason, /canary \(tcp 127\.0\.0\.1:\d+\)[^]*Cilium or Calico[^]*network\.enforcement: Unverified in Environment environment/);
  assert.partialDeepStrictEqual(await (await ends({ enforcement: "Unverified" })).of("run.finished"), [{ data: { outcome: "Completed" } }]);
});

test("text is shown to those who watch while the model still speaks", async (t) => {
  const { promise: goOn, resolve } = Promise.withResolvers<void>();
  const model = await startModel(t, [
    (response) => {
      openStream(response);
      chunk(response, { content: "Forty-two, " });
      void goOn.then(() => {
        chunk(response, { content: "I think." }, "stop");
        response.end();
      });
    },
  ]);
  const lab = await openLab(t, { baseURL: model.baseURL });
  const shown = await lab.deltas();
  const ended = lab.run();
  assert.deepEqual((await shown.next()).value, { turn: 1, attempt: 1, text: "Forty-two, " });
  resolve();
  await shown.return(undefined);
  await ended;
  assert.partialDeepStrictEqual(await lab.of("run.finished"), [{ data: { text: "Forty-two, I think." } }]);
});

test("what was shown of an attempt that failed is taken back", async (t) => {
  const { promise: goOn, resolve } = Promise.withResolvers<void>();
  const model = await startModel(t, [
    (response) => {
      openStream(response);
      chunk(response, { content: "Forty-" });
      void goOn.then(() => response.end());
    },
    answer({ text: "Done." }),
  ]);
  const lab = await openLab(t, { baseURL: model.baseURL });
  const shown = await lab.deltas();
  const ended = lab.run();
  assert.deepEqual((await shown.next()).value, { turn: 1, attempt: 1, text: "Forty-" });
  resolve();
  assert.deepEqual((await shown.next()).value, { turn: 1, attempt: 1, discarded: true });
  await shown.return(undefined);
  await ended;
});
