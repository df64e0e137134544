import assert from "node:assert/strict";
import { test } from "node:test";
import { REDACTED } from "@paddock/api/log/redaction";
import { createLogger } from "./logger.ts";
import { createRedactor } from "./redaction.ts";

const SECRET = 'kq+7/w"x\\Z=9-secret';
const FORMS = [SECRET, encodeURIComponent(SECRET), Buffer.from(`user:${SECRET}`).toString("base64"), JSON.stringify({ token: SECRET })];

function open(): { readonly lines: readonly string[]; readonly logger: ReturnType<typeof createLogger>; add(secret: string): void } {
  const lines: string[] = [];
  const redactor = createRedactor();
  const logger = createLogger({ level: "debug", podName: "p1", redactor }, { write: (line) => void lines.push(line) });
  return { lines, logger, add: redactor.add };
}

function hasSecret(line: string): boolean {
  const told = JSON.stringify(JSON.parse(line));
  return [SECRET, JSON.stringify(SECRET).slice(1, -1), encodeURIComponent(SECRET), Buffer.from(SECRET).toString("base64url").slice(3, 12)].some((form) => told.includes(form) || line.includes(form));
}

test("no line has a secret, wherever it was put: message, member, name of a member, error, child", () => {
  const { lines, logger, add } = open();
  const child = logger.child({ session: `team/${SECRET}` });
  add(SECRET);
  for (const form of FORMS) {
    logger.warn({ error: `the sandbox said ${form}` }, `message ${form}`);
    logger.debug({ lost: [{ host: form, count: 3 }], [form]: 1 }, "deep");
    logger.error({ err: new Error(`stack ${form}`, { cause: new Error(form) }) }, "err");
    logger.error(new Error(form));
  }
  child.info("bound before the secret was known");
  assert.equal(lines.length, FORMS.length * 4 + 1);
  for (const line of lines) assert.ok(!hasSecret(line) && line.includes(REDACTED), line);
});

test("what looks like a credential is replaced, at the start of a line within a text too", () => {
  const { lines, logger } = open();
  logger.warn({ error: "invalid key\nsk-abcdefghijklmnopqrstuvwx" }, "Bearer abcdefghijklmnopqrstuvwxyz");
  assert.doesNotMatch(lines.join(""), /abcdefgh/);
});

test("a line is one line of JSON, without a character that a terminal acts on", () => {
  const { lines, logger } = open();
  const hostile = 'a\u001b[2J\r\nb\u009b31m\u202etxt.exe\u2028c\u200bd\u{e0041}"}\n{"level":60,"msg":"forged"}';
  logger.warn({ error: hostile, __proto__: null }, hostile);
  const [line = ""] = lines;
  assert.equal(lines.length, 1);
  assert.doesNotMatch(line.slice(0, -1), /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
  assert.ok(line.endsWith("}\n"));
  const { pod, error, msg } = JSON.parse(line) as Record<string, unknown>;
  assert.deepEqual([pod, error, msg], ["p1", hostile, hostile]);
});

test("texts are cut, and of an error only what people read is written", () => {
  const { lines, logger } = open();
  const error = Object.assign(new Error("x".repeat(100_000)), { code: "HPE_INVALID", rawPacket: Buffer.from("raw bytes"), response: { headers: { cookie: "raw cookie" } } });
  logger.fatal({ err: error }, "y".repeat(100_000));
  const [line = ""] = lines;
  assert.ok(line.length < 20_000, `${line.length} characters`);
  const { err } = JSON.parse(line) as { readonly err: Record<string, unknown> };
  assert.deepEqual(Object.keys(err), ["type", "message", "code", "stack"]);
  assert.equal(err["code"], "HPE_INVALID");
});
