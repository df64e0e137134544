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

test("the end of a text that could be the start of a secret is known, and nothing else is held back", () => {
  const { openEnd } = redactorOf("0123456789");
  assert.equal(openEnd("key 01234"), 4);
  assert.equal(openEnd("key 0 1 0"), 8);
  assert.equal(openEnd("key 0123456789"), 14, "a whole one is replaced");
  assert.equal(openEnd("nothing"), 7);
  assert.equal(createRedactor().openEnd("anything"), 8);
});

test("however a text is cut, what is shown of it holds no part of a secret that the next piece completes", () => {
  fc.assert(
    fc.property(fc.string({ minLength: 8, maxLength: 20 }), fc.string(), fc.string(), fc.array(fc.nat(60), { maxLength: 8 }), (secret, before, after, cuts) => {
      fc.pre(!REDACTED.includes(secret));
      const { text, openEnd } = redactorOf(secret);
      const whole = before + secret + after;
      const ends = [...cuts.map((cut) => Math.min(cut, whole.length)).sort((a, b) => a - b), whole.length];
      let shown = "";
      let waiting = "";
      let taken = 0;
      for (const end of ends) {
        waiting = text(waiting + whole.slice(taken, end));
        taken = end;
        const open = openEnd(waiting);
        shown += waiting.slice(0, open);
        waiting = waiting.slice(open);
      }
      assert.ok(!shown.includes(secret));
    }),
  );
});
