import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { openBound, ownSleep, pidsOf, until } from "./testdata/sandbox.ts";

/** Doubles ten times and is then silent: as quick as a fork bomb, and never more than 2,047 processes. */
const bomb = (sleep: string, around = ""): string => `f() { if [ $1 -gt 9 ]; then exec sleep ${sleep}; fi; ${around} f $(($1+1)) & f $(($1+1)) & wait; }; f 0`;

test("a fork bomb is stopped, also one that ignores SIGTERM", async (t) => {
  const { run } = await openBound(t);
  for (const before of ["", "trap '' TERM; "]) {
    const sleep = ownSleep();
    const { status, content } = await run("bash", { command: before + bomb(sleep) });
    assert.equal(status, "error");
    // On a machine that is busy with the dying, the answer does not wait for the last of them.
    assert.match(content, /\[stopped: more than (512 processes at once|1024 processes at once in the sandbox)(; a process could not be killed)?\]$/);
    await until("the last to be gone", () => pidsOf(sleep).length === 0);
  }
  assert.equal((await run("bash", { command: "echo goes on" })).content, "goes on\n[exit code 0]");
});

test("a fork bomb that a call left behind is ended when the call is long over, and a quiet one of another call stays", async (t) => {
  const { run, workspace, lines } = await openBound(t);
  const [quiet, loud] = [ownSleep(), ownSleep()];
  await run("bash", { command: `sleep ${quiet} > /dev/null 2>&1 &` });
  const begun = `(until [ -e go ]; do sleep 0.1; done; for i in $(seq 600); do setsid sleep ${loud} & done; wait) > /dev/null 2>&1 &`;
  assert.equal((await run("bash", { command: begun })).status, "ok");
  await run("write", { path: "go", content: "" });
  await until("it to be noticed", () => lines.some((line) => line.includes("too many processes of one call")));
  await until("it to be ended", () => pidsOf(loud).length === 0);
  assert.equal(pidsOf(quiet).length, 1);
  assert.equal(readFileSync(join(workspace, "go"), "utf8"), "");
});

test("calls that are many together are all stopped", async (t) => {
  const { run } = await openBound(t);
  const sleep = ownSleep();
  const command = `for i in $(seq 450); do sleep ${sleep} & done; wait`;
  const results = await Promise.all([1, 2, 3].map(() => run("bash", { command })));
  for (const { status, content } of results) {
    assert.equal(status, "error");
    assert.match(content, /\[stopped: more than 1024 processes at once in the sandbox(; a process could not be killed)?\]$/);
  }
  await until("the last to be gone", () => pidsOf(sleep).length === 0);
});

test("a command has the least priority, is the first that memory pressure kills, and leaves no core dump", async (t) => {
  const { run } = await openBound(t);
  const { content } = await run("bash", { command: "nice; (cat /proc/self/oom_score_adj); ulimit -Hc; ulimit -c unlimited || true" });
  assert.match(content, /^19\n1000\n0\n.*ulimit: core file size: cannot modify limit|^19\n1000\n0\n\[exit code 0\]$/);
});
