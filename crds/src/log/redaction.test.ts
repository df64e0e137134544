import assert from "node:assert/strict";
import { test } from "node:test";
import { REDACTED, redactText, redactValue } from "./redaction.ts";

const letters = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7";
const PEM_BODY = `${letters.repeat(2)}\n${letters.repeat(2)}=`;

const SECRETS = {
  "an OpenAI-style key": `sk-proj-${letters}`,
  "a GitHub token": `ghp_${letters}123456789`,
  "a fine-grained GitHub token": `github_pat_${letters}_${letters}`,
  "an AWS key id": "AKIAIOSFODNN7EXAMPLE",
  "a JSON web token": `eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.${letters}`,
  "a private key": `-----BEGIN EC PRIVATE KEY-----\n${PEM_BODY}\n-----END EC PRIVATE KEY-----`,
  "a private key inside JSON text": `-----BEGIN PRIVATE KEY-----\\n${letters.repeat(2)}\\n-----END PRIVATE KEY-----`,
  "a private key that was cut": `-----BEGIN PRIVATE KEY-----\n${PEM_BODY}`,
};

for (const [name, secret] of Object.entries(SECRETS)) {
  test(`replaces ${name}`, () => {
    assert.equal(redactText(`before "${secret}" after`), `before "${REDACTED}" after`);
  });
}

test("replaces the token of an authorization header and keeps the word", () => {
  assert.equal(redactText(`Authorization: Bearer ${letters}`), `Authorization: Bearer ${REDACTED}`);
});

test("replaces the signed part of a JSON web token behind a dash", () => {
  assert.equal(redactText(`token-${SECRETS["a JSON web token"]}`), `token-eyJhbGciOiJIUzI1NiJ9${REDACTED}`);
});

// Quadratic work would hold the one thread of the gateway, and every session with it, for many minutes.
test("a long text that begins tokens again and again is searched once", { timeout: 60_000 }, () => {
  for (const start of ["eyJaaaaaaaa-", "eyJaaaaaaaa.", "-eyJaaaaaaaa", "Bearer  ", "-----BEGIN PRIVATE KEY "]) {
    const text = start.repeat(Math.ceil((1024 * 1024) / start.length));
    assert.equal(redactText(text), text);
  }
});

test("leaves ordinary text alone", () => {
  for (const text of ["", "task-list and risk-free", "the bearer of good news", "sk-short", "-----BEGIN CERTIFICATE-----\nabc", "eyJ is a start", "sha256:0123456789abcdef0123456789abcdef"]) {
    assert.equal(redactText(text), text);
  }
});

test("replaces in every string of a value, member names included, and keeps its shape", () => {
  const secret = SECRETS["a GitHub token"];
  const value = { list: [secret, 1, null, true], nested: { [secret]: { text: `x ${secret}` } } };
  assert.deepEqual(redactValue(value), { list: [REDACTED, 1, null, true], nested: { [REDACTED]: { text: `x ${REDACTED}` } } });
  const inJson = JSON.stringify({ command: `curl -H 'Authorization: Bearer ${letters}'`, key: SECRETS["a private key"] });
  assert.deepEqual(JSON.parse(redactText(inJson)), { command: `curl -H 'Authorization: Bearer ${REDACTED}'`, key: REDACTED });
});

test("what is nested too deeply is refused, not walked", () => {
  let value: unknown = "x";
  for (let depth = 0; depth < 100; depth += 1) value = [value];
  assert.throws(() => redactValue(value), RangeError);
});
