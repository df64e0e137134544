import assert from "node:assert/strict";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { answer, chunk, fail, openStream, send, startModel } from "../testdata/model.ts";
import type { Reply } from "../testdata/model.ts";
import { completeOnce } from "./completion.ts";
import type { Attempt } from "./completion.ts";
import { ModelFailure } from "./failure.ts";
import { MODEL_LIMITS } from "./transport.ts";

const BODY = JSON.stringify({ model: "m", messages: [{ role: "user", content: "Hi" }], stream: true });

function attempt(baseURL: string, change: Partial<Attempt> = {}): Attempt {
  return { baseURL, apiKey: "key-1234567890", body: BODY, limits: MODEL_LIMITS, signal: new AbortController().signal, onText: () => undefined, ...change };
}

async function failureOf(t: TestContext, reply: Reply, change: Partial<Attempt> = {}): Promise<ModelFailure> {
  const model = await startModel(t, [reply]);
  return failureAt(attempt(model.baseURL, change));
}

async function failureAt(one: Attempt): Promise<ModelFailure> {
  const failure = await completeOnce(one).then(
    (done) => assert.fail(`answered ${JSON.stringify(done)}`),
    (error: unknown) => error,
  );
  assert.ok(failure instanceof ModelFailure, String(failure));
  return failure;
}

test("a whole answer is read piece by piece, with calls, usage and fields we do not know", async (t) => {
  const model = await startModel(t, [answer({ text: "One moment, please.", calls: [{ name: "bash", arguments: { command: "ls" } }], extra: { reasoning_content: "I think" } })]);
  const seen: string[] = [];
  const done = await completeOnce(attempt(`${model.baseURL}/`, { onText: (text) => void seen.push(text) }));
  assert.deepEqual(done, {
    message: { text: "One moment, please.", toolCalls: [{ id: "provider_0", name: "bash", arguments: '{"command":"ls"}' }], extra: { reasoning_content: "I think" } },
    finishReason: "tool_calls",
    usage: { inputTokens: 100, cachedInputTokens: 60, outputTokens: 20 },
  });
  assert.equal(seen.join(""), "One moment, please.");
  assert.ok(seen.length > 1);
  assert.equal(model.asked[0]?.headers.authorization, "Bearer key-1234567890");
});

test("an endpoint without a key gets no authorization", async (t) => {
  const model = await startModel(t, [answer({ text: "ok" })]);
  await completeOnce(attempt(model.baseURL, { apiKey: undefined }));
  assert.equal(model.asked[0]?.headers.authorization, undefined);
});

test("an answer with fields that no log can hold does not count", async (t) => {
  for (const value of ["1e400", `${"[".repeat(20_000)}${"]".repeat(20_000)}`]) {
    const failure = await failureOf(t, (response) => {
      openStream(response);
      response.write(`data: {"choices":[{"index":0,"delta":{"content":"Hi","score":${value}},"finish_reason":"stop"}]}\n\n`);
      response.end("data: [DONE]\n\n");
    });
    assert.equal(failure.class, "invalid");
    assert.match(failure.message, /fields that no log can hold/);
  }
});

test("a stream that is closed cleanly before the finish reason does not count", async (t) => {
  const failure = await failureOf(t, (response) => {
    openStream(response);
    chunk(response, { content: "The answer is" });
    response.end();
  });
  assert.equal(failure.class, "truncated");
});

test("a stream that is marked as done before the finish reason does not count", async (t) => {
  const failure = await failureOf(t, (response) => {
    openStream(response);
    chunk(response, { content: "The answer is" });
    response.end("data: [DONE]\n\n");
  });
  assert.equal(failure.class, "truncated");
});

test("a connection that breaks in the middle is a network failure", async (t) => {
  const failure = await failureOf(t, (response) => {
    openStream(response);
    chunk(response, { content: "The answer is" });
    response.socket?.resetAndDestroy();
  });
  assert.equal(failure.class, "network");
});

test("a body that is no event stream does not count", async (t) => {
  const failure = await failureOf(t, (response) => void response.writeHead(200, { "content-type": "application/json" }).end('{"choices":[]}'));
  assert.equal(failure.class, "invalid");
  assert.match(failure.message, /application\/json/);
});

test("an event stream of something else does not count", async (t) => {
  const failure = await failureOf(t, (response) => {
    openStream(response);
    response.end("<html>Sign in</html>\n\n");
  });
  assert.equal(failure.class, "truncated");
});

test("a piece that is not JSON does not count", async (t) => {
  const failure = await failureOf(t, (response) => {
    openStream(response);
    response.end('data: {"choices":[{"delta":{"conte\n\n');
  });
  assert.equal(failure.class, "truncated");
});

test("a body that stalls is ended by the idle limit", async (t) => {
  const stalled = (response: Parameters<Reply>[0]): void => {
    openStream(response);
    chunk(response, { content: "The answer is" });
  };
  const failure = await failureOf(t, stalled, { limits: { ...MODEL_LIMITS, idleMs: 50 } });
  assert.equal(failure.class, "network");
  assert.match(failure.message, /sent nothing for/);
});

test("an answer that drips for ever is ended by the total limit", async (t) => {
  let drip: NodeJS.Timeout | undefined;
  t.after(() => clearInterval(drip));
  const dripping: Reply = (response) => {
    openStream(response);
    drip = setInterval(() => response.write(": still here\n\n"), 5);
  };
  const failure = await failureOf(t, dripping, { limits: { ...MODEL_LIMITS, totalMs: 60 } });
  assert.match(failure.message, /did not complete/);
});

test("an endpoint that never answers is ended by the first-byte limit", async (t) => {
  const failure = await failureOf(t, () => undefined, { limits: { ...MODEL_LIMITS, firstByteMs: 50 } });
  assert.match(failure.message, /sent no answer/);
});

test("an endpoint that does not finish the handshake is ended by the connect limit", async (t) => {
  const silent = createServer();
  await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
  const sockets = new Set<{ destroy(): void }>();
  silent.on("connection", (socket) => sockets.add(socket.on("error", () => undefined)));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    silent.close();
  });
  const failure = await failureAt(attempt(`https://127.0.0.1:${(silent.address() as AddressInfo).port}/v1`, { limits: { ...MODEL_LIMITS, connectMs: 50 } }));
  assert.match(failure.message, /no connection/);
});

test("an attempt that is cancelled in the middle is no answer, however much of it came", async (t) => {
  const cancel = new AbortController();
  const model = await startModel(t, [
    (response) => {
      openStream(response);
      chunk(response, { content: "The answer" }, "stop");
    },
  ]);
  const failure = await failureAt(attempt(model.baseURL, { signal: cancel.signal, onText: () => cancel.abort() }));
  assert.equal(failure.class, "cancelled");
});

test("arguments that are no JSON object do not count", async (t) => {
  assert.equal((await failureOf(t, answer({ calls: [{ name: "bash", arguments: '{"command": "l' }] }))).class, "invalid");
  assert.equal((await failureOf(t, answer({ calls: [{ name: "bash", arguments: "[1]" }] }))).class, "invalid");
});

test("a call that was cut at the output limit is part of an answer that counts", async (t) => {
  const model = await startModel(t, [answer({ calls: [{ name: "bash", arguments: '{"command": "l' }], finish: "length" })]);
  const done = await completeOnce(attempt(model.baseURL));
  assert.equal(done.finishReason, "length");
  assert.equal(done.message.toolCalls.length, 1);
});

test("calls without an index are told apart by their ids", async (t) => {
  const model = await startModel(t, [
    (response) => {
      openStream(response);
      chunk(response, { tool_calls: [{ id: "a", function: { name: "read", arguments: '{"path":' } }] });
      chunk(response, { tool_calls: [{ function: { arguments: '"x"}' } }] });
      chunk(response, { tool_calls: [{ id: "b", function: { name: "read", arguments: "{}" }, extra_content: { signature: "s" } }] }, "tool_calls");
      response.end();
    },
  ]);
  const { message, usage } = await completeOnce(attempt(model.baseURL));
  assert.deepEqual(message.toolCalls, [{ id: "a", name: "read", arguments: '{"path":"x"}' }, { id: "b", name: "read", arguments: "{}" }]);
  assert.deepEqual(message.extra, { tool_calls: [{}, { extra_content: { signature: "s" } }] });
  assert.equal(usage, undefined);
});

test("an error inside the stream has the class of what it says", async (t) => {
  const inside = (error: object): Reply => (response) => {
    openStream(response);
    chunk(response, { content: "The" });
    send(response, { error });
    response.end();
  };
  assert.equal((await failureOf(t, inside({ message: "The server is overloaded", code: "server_error" }))).class, "overloaded");
  assert.equal((await failureOf(t, inside({ message: "Rate limit reached", type: "rate_limit_error" }))).class, "rate_limited");
  assert.equal((await failureOf(t, inside({ message: "boom" }))).class, "server");
});

test("an answer with an error status has a class, the text and what Retry-After asks", async (t) => {
  const limited = await failureOf(t, fail(429, "slow down", { "retry-after": "7" }));
  assert.deepEqual([limited.class, limited.status, limited.retryAfterMs], ["rate_limited", 429, 7000]);
  assert.match(limited.message, /slow down/);
  assert.equal((await failureOf(t, fail(401, "bad key"))).class, "auth");
  assert.equal((await failureOf(t, fail(400, "This model's maximum context length is 8192 tokens"))).class, "overflow");
  assert.equal((await failureOf(t, fail(404, "no such model"))).class, "refused");
  assert.equal((await failureOf(t, fail(500, "oops"))).class, "server");
  assert.equal((await failureOf(t, fail(503, "busy"))).class, "overloaded");
});

test("a kept connection that the endpoint closed meanwhile costs no attempt", async (t) => {
  const model = await startModel(t, [
    (response, asked, request) => {
      answer({ text: "ok" })(response, asked, request);
      // Closed only when the next request is on its way: what a keep-alive limit of the endpoint looks like.
      request.socket.once("data", () => request.socket.resetAndDestroy());
    },
    answer({ text: "again" }),
  ]);
  await completeOnce(attempt(model.baseURL));
  assert.equal((await completeOnce(attempt(model.baseURL))).message.text, "again");
});

test("nobody at the address is a network failure that names it", async () => {
  const failure = await failureAt(attempt("http://127.0.0.1:9/v1"));
  assert.equal(failure.class, "network");
  assert.match(failure.message, /127\.0\.0\.1:9/);
});

test("an endpoint that turns the connection round instead of answering is a failure", { timeout: 60_000 }, async (t) => {
  const hostile = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => void socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"));
  });
  await new Promise<void>((resolve) => hostile.listen(0, "127.0.0.1", resolve));
  t.after(() => void hostile.close());
  const { port } = hostile.address() as AddressInfo;
  assert.equal((await failureAt(attempt(`http://127.0.0.1:${port}`))).class, "network");
});
