import assert from "node:assert/strict";
import { test } from "node:test";
import { MODEL_FAILURES } from "@paddock/api/log/events";
import { classifyStatus, ModelFailure, retryAfterMsOf } from "./failure.ts";
import { MAX_ATTEMPTS, retryDelayMs } from "./retry.ts";

const never = (): number => 0;

test("only what may pass is tried again", () => {
  const retried = MODEL_FAILURES.filter((failure) => retryDelayMs(new ModelFailure(failure, ""), 0, never) !== undefined);
  assert.deepEqual(retried, ["overloaded", "rate_limited", "truncated", "network", "server", "invalid"]);
});

test("each status of the policy is retryable and no other", () => {
  const retried = [400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529].filter((status) => retryDelayMs(new ModelFailure(classifyStatus(status, ""), ""), 0, never) !== undefined);
  assert.deepEqual(retried, [408, 409, 429, 500, 502, 503, 504, 529]);
});

test("delays double, are jittered and bounded, and attempts end", () => {
  const failure = new ModelFailure("server", "");
  assert.deepEqual([0, 1, 2, 3, 4].map((n) => retryDelayMs(failure, n, never)), [500, 1000, 2000, 4000, 8000]);
  assert.equal(retryDelayMs(failure, 4, () => 1), 16_000);
  assert.equal(retryDelayMs(failure, MAX_ATTEMPTS - 1, never), undefined);
});

test("Retry-After is honoured up to a bound", () => {
  assert.equal(retryDelayMs(new ModelFailure("rate_limited", "", { retryAfterMs: 60_000 }), 0, never), 60_000);
  assert.equal(retryDelayMs(new ModelFailure("rate_limited", "", { retryAfterMs: 3_600_000 }), 0, never), undefined);
  assert.equal(retryAfterMsOf("1.5", 0), 1500);
  assert.equal(retryAfterMsOf("Thu, 01 Jan 1970 00:01:00 GMT", 20_000), 40_000);
  assert.equal(retryAfterMsOf("soon", 0), undefined);
  assert.equal(retryAfterMsOf(undefined, 0), undefined);
});

const OVERFLOWS = [
  "This model's maximum context length is 128000 tokens. However, your messages resulted in 130000 tokens.",
  "prompt is too long: 210000 tokens > 200000 maximum",
  "The input token count (1100000) exceeds the maximum number of tokens allowed (1048576).",
  "the request exceeds the available context size, try increasing it",
  "Please reduce the length of the messages or completion.",
  "Input is too long for requested model.",
  '{"code":"context_length_exceeded"}',
];

test("a context that is too long is known by its wordings, whatever the status", () => {
  for (const text of OVERFLOWS) for (const status of [400, 413, 500]) assert.equal(classifyStatus(status, text), "overflow", text);
  assert.equal(classifyStatus(429, "too many tokens per minute"), "rate_limited");
});
