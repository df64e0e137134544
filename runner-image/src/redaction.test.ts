import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { REDACTED } from "@paddock/api/log/redaction";
import { createRedactor, redactShapes } from "./redaction.ts";

const SECRET = 'kq+7/w"x\\Z=9 ümlaut';

function redactorOf(...secrets: readonly string[]): ReturnType<typeof createRedactor> {
  const redactor = createRedactor();
  for (const secret of secrets) redactor.add(secret);
  return redactor;
}

test("a secret is replaced as it is, and in each encoding it may come back in", () => {
  const { text } = redactorOf(SECRET);
  for (const form of [SECRET, encodeURIComponent(SECRET), JSON.stringify(SECRET).slice(1, -1)]) assert.equal(text(`<${form}>`), `<${REDACTED}>`);
});

test("a secret inside a longer encoded text is found at each alignment", () => {
  const { text } = redactorOf(SECRET);
  for (const before of ["", "a", "ab", "abc", "user:"]) {
    for (const encoding of ["base64", "base64url"] as const) {
      assert.match(text(Buffer.from(`${before}${SECRET}:after`).toString(encoding)), /\[redacted\]/, `${before} ${encoding}`);
    }
  }
});

test("rotated secrets stay known, and one that holds another goes whole", () => {
  const { text } = redactorOf("abcdefgh", "abcdefgh-and-more");
  assert.equal(text("x abcdefgh-and-more y abcdefgh z"), `x ${REDACTED} y ${REDACTED} z`);
});

test("every string of a value is cleaned, member names too", () => {
  const { value } = redactorOf("0123456789");
  assert.deepEqual(value([{ a: "k=0123456789", "0123456789": [1, null, true, "0123456789"] }]), [{ a: `k=${REDACTED}`, [REDACTED]: [1, null, true, REDACTED] }]);
});

test("what is too short to be a secret tears no text apart", () => {
  assert.equal(redactorOf("the", "").text("the other theme"), "the other theme");
});

test("no text keeps a secret that was put into it", () => {
  fc.assert(
    fc.property(fc.string({ minLength: 8 }), fc.string(), fc.string(), (secret, before, after) => {
      const { text } = redactorOf(secret);
      assert.ok(!text(before + secret + after).includes(secret) || REDACTED.includes(secret));
    }),
  );
});

test("keys that providers quote are known by their shape", () => {
  for (const key of ["sk-proj-abcdefghijkl", "sk-abc*********wxyz", "ghp_abcdefghijklmnopqrstuvwx", "Bearer abcdefgh12345"]) assert.equal(redactShapes(`key ${key} is wrong`), `key ${REDACTED} is wrong`);
  assert.equal(redactShapes("the task-list is empty"), "the task-list is empty");
});

// A provider's error of 64 KiB would otherwise hold the runner for seconds.
test("an endpoint's text that begins keys again and again is searched once", { timeout: 60_000 }, () => {
  for (const start of ["eyJaaaaaaaa-", "eyJaaaaaaaa.", "-eyJaaaaaaaa"]) {
    const text = start.repeat(50_000);
    assert.equal(redactShapes(text), text);
  }
});
