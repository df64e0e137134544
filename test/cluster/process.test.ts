import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { identityOf, isRunning, ownIdentity, parseIdentity, parseStat } from "./process.ts";

test("a process name with spaces and brackets does not shift the fields", () => {
  const fields = ["S", ...Array.from({ length: 18 }, (_, index) => String(index)), "4711", "0"];
  assert.deepEqual(parseStat(`12 (a) (b) c) ${fields.join(" ")}`), { state: "S", startTicks: 4711 });
  assert.equal(parseStat("nonsense"), undefined);
});

test("a later process with the same number is not the one we started", () => {
  const own = ownIdentity();
  assert.equal(isRunning(own), true);
  assert.equal(isRunning({ ...own, startTicks: own.startTicks - 1 }), false);
  assert.equal(isRunning({ ...own, bootId: "another boot" }), false);
});

test("a process that has ended does not run", async () => {
  const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore" });
  const identity = child.pid === undefined ? undefined : identityOf(child.pid);
  assert.ok(identity);
  assert.equal(isRunning(identity), true);
  child.kill("SIGKILL");
  await once(child, "exit");
  assert.equal(isRunning(identity), false);
});

test("an identity survives its file, and half a file is none", () => {
  const own = ownIdentity();
  assert.deepEqual(parseIdentity(JSON.stringify(own)), own);
  assert.equal(parseIdentity('{"pid": 1'), undefined);
  assert.equal(parseIdentity('{"pid": "1", "startTicks": 2, "bootId": "x"}'), undefined);
});
