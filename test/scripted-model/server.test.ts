import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { parseScripts, readScripts } from "./script.ts";
import { createScriptedModel } from "./server.ts";

interface Opened { readonly url: string; readonly folder: string; readonly lines: string[]; ask(body: object, headers?: Record<string, string>): Promise<Response> }

const READ_ME = readFileSync(join(import.meta.dirname, "README.md"), "utf8");
const SAMPLES = [...READ_ME.matchAll(/```json\n(\{\n {2}"prompt".*?)```/gs)].map(([, json]) => json ?? "");

async function open(t: TestContext, ...scripts: readonly (object | string)[]): Promise<Opened> {
  const folder = mkdtempSync(join(tmpdir(), "scripted-model-"));
  scripts.forEach((script, index) => { writeFileSync(join(folder, `${index}.json`), typeof script === "string" ? script : JSON.stringify(script)); });
  const lines: string[] = [];
  const model = await createScriptedModel(readScripts(folder), join(folder, "key/value"), (line) => lines.push(line));
  model.server.listen(0, "127.0.0.1");
  await once(model.server, "listening");
  t.after(async () => {
    await model.close();
    rmSync(folder, { recursive: true });
  });
  const url = `http://127.0.0.1:${(model.server.address() as AddressInfo).port}`;
  const ask = (body: object, headers: Record<string, string> = {}): Promise<Response> =>
    fetch(`${url}/v1/chat/completions`, { method: "POST", headers: { "content-type": "application/json", ...headers }, body: JSON.stringify({ model: "scripted", ...body }) });
  return { url, folder, lines, ask };
}

interface Completion { choices: { finish_reason: string; message: { content: string | null; tool_calls?: { id: string; function: { name: string; arguments: string } }[] } }[]; usage: Record<string, unknown>; error?: { message: string } }

const contentOf = async (response: Response): Promise<string | null | undefined> => ((await response.json()) as Completion).choices[0]?.message.content;
const callOf = (completion: Completion) => completion.choices[0]?.message.tool_calls?.[0];
const asked = (content: string, ...more: readonly object[]): object => ({ messages: [{ role: "system", content: "s" }, { role: "user", content }, ...more] });
const called = (...ids: readonly string[]): object => ({ role: "assistant", content: null, tool_calls: ids.map((id) => ({ id, type: "function", function: { name: "bash", arguments: "{}" } })) });
const result = (id: string, content: string): object => ({ role: "tool", tool_call_id: id, content });

test("the README's samples: a tool conversation whose last answer is made from the tool's result", async (t) => {
  assert.equal(SAMPLES.length, 2);
  const { ask } = await open(t, ...SAMPLES);
  const hello = await (await ask(asked("Say hello to somebody"))).json() as Completion;
  assert.equal(hello.choices[0]?.message.content, "Hello! Paddock runs, and I am an agent in it.");
  assert.equal(hello.usage.prompt_tokens, 120);

  const question = "How many prime numbers are there below 10000?";
  const first = await (await ask(asked(question))).json() as Completion;
  assert.equal(first.choices[0]?.finish_reason, "tool_calls");
  const write = callOf(first);
  assert.equal(write?.id, "call_0_0");
  assert.match(write.function.arguments, /"content":"const limit = 10000;\\n/);

  const said = [called("call_0_0"), result("call_0_0", "wrote"), called("call_1_0")];
  const last = await contentOf(await ask(asked(question, ...said, result("call_1_0", "1229 primes below 10000, sum 5736396\n[exit code 0]"))));
  assert.equal(last, "The program printed: 1229 primes below 10000, sum 5736396");
  const wrong = await ask(asked(question, ...said, result("call_1_0", "7 primes")));
  assert.equal(wrong.status, 422);
  assert.match((await wrong.json() as Completion).error?.message ?? "", /turns\[2\].*7 primes.*do not match/);
});

test("streams with usage", async (t) => {
  const { ask } = await open(t, { prompt: "a", turns: [{ content: "x".repeat(50), usage: { prompt_tokens: 3, completion_tokens: 2 } }] });
  const text = await (await ask({ ...asked("a"), stream: true, stream_options: { include_usage: true } })).text();
  const chunks = text.split("\n\n").filter((line) => line.startsWith("data: {")).map((line) => JSON.parse(line.slice(6)) as { choices: readonly { delta: { content?: string } }[]; usage?: object });
  assert.equal(chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join(""), "x".repeat(50));
  assert.ok(chunks.length > 3);
  assert.deepEqual(chunks.at(-1)?.usage, { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 });
  assert.match(text, /data: \[DONE\]/);
});

test("cached tokens are given by the OpenRouter-shaped path", async (t) => {
  const { url } = await open(t, { prompt: "a", turns: [{ content: "b", usage: { prompt_tokens: 9, completion_tokens: 2, prompt_tokens_details: { cached_tokens: 8 } } }] });
  const response = await fetch(`${url}/api/v1/chat/completions`, { method: "POST", body: JSON.stringify({ model: "scripted", ...asked("a") }) });
  assert.deepEqual((await response.json() as Completion).usage.prompt_tokens_details, { cached_tokens: 8 });
});

test("parallel calls, results in order, quotes in arguments", async (t) => {
  const { ask } = await open(t, { prompt: "p", turns: [
    { content: "both", toolCalls: [{ name: "bash", arguments: { command: "a" } }, { name: "bash", arguments: { command: "b" } }] },
    { toolCalls: [{ name: "write", arguments: { path: "x", content: "{{toolResults}}" } }] },
  ] });
  const first = await (await ask(asked("p"))).json() as Completion;
  assert.deepEqual(first.choices[0]?.message.tool_calls?.map(({ id }) => id), ["call_0_0", "call_0_1"]);
  const second = await (await ask(asked("p", called("call_0_0", "call_0_1"), result("call_0_0", 'one "1"'), result("call_0_1", "two\\")))).json() as Completion;
  assert.deepEqual(JSON.parse(callOf(second)?.function.arguments ?? ""), { path: "x", content: 'one "1"\ntwo\\' });
});

test("strict: no script, no further turn, no result, unknown path; the longest prompt wins", async (t) => {
  const { ask, url, lines } = await open(t, [{ prompt: "run", turns: [{ content: "short" }] }, { prompt: "run it", turns: [{ content: "{{lastToolResult}}" }] }]);
  const messageOf = async (response: Response): Promise<string> => (await response.json() as Completion).error?.message ?? "";
  assert.equal(await contentOf(await ask(asked("please run"))), "short");
  const missing = await ask(asked("else"));
  assert.equal(missing.status, 422);
  assert.match(await messageOf(missing), /no script's prompt occurs in "else"; there are: "run", "run it"/);
  assert.match(await messageOf(await ask(asked("run", { role: "assistant", content: "short" }, { role: "user", content: "more" }))), /has 1 turns, and this request asks for number 2/);
  assert.match(await messageOf(await ask(asked("run it"))), /ends with none/);
  assert.equal((await fetch(`${url}/v1/responses`, { method: "POST", body: "{}" })).status, 404);
  assert.equal(lines.length, 3);
});

test("errors with status and Retry-After", async (t) => {
  const { ask } = await open(t, { prompt: "a", turns: [{ error: { message: "slow down" }, status: 429, retryAfter: 7 }] });
  const response = await ask(asked("a"));
  assert.equal(response.status, 429);
  assert.equal(response.headers.get("retry-after"), "7");
});

test("the key is read anew at each request", async (t) => {
  const { ask, folder, lines } = await open(t, { prompt: "a", turns: [{ content: "b" }] });
  assert.equal((await ask(asked("a"))).status, 200);
  mkdirSync(join(folder, "key"));
  writeFileSync(join(folder, "key/value"), "first-key\n");
  const bear = async (key: string): Promise<number> => (await ask(asked("a"), { authorization: `Bearer ${key}` })).status;
  assert.deepEqual([await bear("first-key"), await bear("second-key")], [200, 401]);
  writeFileSync(join(folder, "key/value"), "second-key");
  assert.deepEqual([await bear("first-key"), await bear("second-key")], [401, 200]);
  assert.ok(!lines.join().includes("-key "), lines.join());
});

test("the request list tells script, turn, status and times", async (t) => {
  const { ask, url } = await open(t, { prompt: "a", turns: [{ content: "b" }] });
  const before = Date.now();
  await (await ask(asked("a"))).text();
  await (await ask(asked("zzz"))).text();
  const { requests } = await (await fetch(`${url}/requests`)).json() as { requests: Record<string, number>[] };
  assert.deepEqual(requests.map(({ number, prompt, turn, status }) => ({ number, prompt, turn, status })), [
    { number: 1, prompt: "a", turn: 0, status: 200 },
    { number: 2, prompt: null, turn: null, status: 422 },
  ]);
  const [first] = requests;
  assert.ok(first?.receivedAt !== undefined && first.lastByteAt !== undefined);
  assert.ok(Math.abs(first.receivedAt - before) < 60_000 && first.lastByteAt >= first.receivedAt);
});

test("bad scripts are refused with file, turn and field", () => {
  const refused = (text: string, pattern: RegExp): void => { assert.throws(() => parseScripts("f.json", text), pattern); };
  refused("{", /f\.json is not JSON/);
  refused('{"prompt": "a"}', /f\.json: turns must be/);
  refused('{"prompt": "", "turns": [{"content": "x"}]}', /prompt must be/);
  refused('{"prompt": "a", "turns": [{"contents": "x"}]}', /turns\[0\]: unknown field contents/);
  refused('{"prompt": "a", "turns": [{"content": "x", "expect": "("}]}', /turns\[0\]\.expect: /);
  refused('{"prompt": "a", "turns": [{}]}', /turns\[0\]: /);
  refused('{"prompt": "a", "turns": [{"toolCalls": [{"nam": "x"}]}]}', /toolCalls\[0\]: unknown field nam/);
});
