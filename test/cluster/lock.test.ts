import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { silent } from "../progress.ts";
import { withLock } from "./lock.ts";
import { ownIdentity } from "./process.ts";

async function withFile(work: (file: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "paddock-lock-"));
  try {
    await work(join(folder, "lock"));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("one at a time, and nothing is left", () => withFile(async (file) => {
  let inside = 0;
  const enter = (): Promise<void> => withLock(file, silent, async () => {
    inside += 1;
    assert.equal(inside, 1);
    await new Promise((resolve) => setImmediate(resolve));
    inside -= 1;
  });
  await Promise.all([enter(), enter(), enter()]);
  assert.equal(existsSync(file), false);
}));

test("a dead holder's lock is taken over", () => withFile(async (file) => {
  writeFileSync(file, JSON.stringify({ ...ownIdentity(), startTicks: 1 }));
  assert.equal(await withLock(file, silent, async () => "mine"), "mine");
}));

test("an error inside frees the lock", () => withFile(async (file) => {
  await assert.rejects(withLock(file, silent, () => Promise.reject(new Error("inside"))), /inside/);
  assert.equal(existsSync(file), false);
}));
