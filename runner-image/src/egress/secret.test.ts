import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import type { Credential } from "@paddock/api/network";
import { createRedactor } from "../redaction.ts";
import { createCredentialValues } from "./secret.ts";
import type { CredentialValues } from "./secret.ts";

const CREDENTIAL: Credential = { name: "git", secretKeyRef: { name: "tokens", key: "git" }, hosts: ["git.example.com"] };
const BASIC: Credential = { ...CREDENTIAL, inject: { basicUsername: "user" } };

async function start(t: TestContext): Promise<{ file: string; values: CredentialValues; told: string[]; redactor: ReturnType<typeof createRedactor> }> {
  const folder = await mkdtemp(join(tmpdir(), "paddock-secret-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const redactor = createRedactor();
  const told: string[] = [];
  const values = createCredentialValues({ credentialFile: (name) => join(folder, name), redactor, onMissing: ({ subject, message }) => told.push(`${subject}: ${message}`) });
  return { file: join(folder, "egress-git"), values, told, redactor };
}

test("one newline at the end is not part of the value", async (t) => {
  const { file, values } = await start(t);
  for (const text of ["value-1234", "value-1234\n", "value-1234\r\n"]) {
    await writeFile(file, text);
    assert.deepEqual(await values.read(CREDENTIAL), { value: "value-1234" });
  }
});

test("each value that was read is redacted, as it is and as its header has it, and stays known", async (t) => {
  const { file, values, redactor } = await start(t);
  for (const text of ["first-value", "second-value"]) {
    await writeFile(file, text);
    await values.read(BASIC);
  }
  const pairs = ["first-value", "second-value"].map((value) => Buffer.from(`user:${value}`).toString("base64"));
  assert.deepEqual([...values.known()], ["first-value", pairs[0], "second-value", pairs[1]]);
  for (const secret of values.known()) assert.doesNotMatch(redactor.text(`a ${secret} b`), /value|dXNlcj/);
});

test("what cannot stand in a header is refused by name, without a part of it", async (t) => {
  const { file, values, told } = await start(t);
  const problems: string[] = [];
  for (const text of [undefined, "", "\n", "geheim\nnis", "geheim\u0000", "geheimnis\n\n", "geheim-ü", "g".repeat(8_193)]) {
    await (text === undefined ? Promise.resolve() : writeFile(file, text));
    const read = await values.read(CREDENTIAL);
    assert.ok("problem" in read, String(text));
    problems.push(read.problem);
  }
  for (const problem of problems) {
    assert.match(problem, /^Credential git cannot be used: secret tokens, key git /);
    assert.doesNotMatch(problem, /geheim|gggg/);
  }
  assert.equal(new Set(problems).size, 5);
  assert.equal(told.length, 5, "each problem is told once while it lasts");
  assert.deepEqual([...values.known()], []);
});

test("a password of any characters fits into basic authentication", async (t) => {
  const { file, values } = await start(t);
  await writeFile(file, "pässwort-1");
  assert.deepEqual(await values.read(BASIC), { value: "pässwort-1" });
});

test("a credential that went missing again is told again", async (t) => {
  const { file, values, told } = await start(t);
  await values.read(CREDENTIAL);
  await values.read(CREDENTIAL);
  await writeFile(file, "value-1234");
  await values.read(CREDENTIAL);
  await rm(file);
  await values.read(CREDENTIAL);
  assert.equal(told.length, 2);
});
