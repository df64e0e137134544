import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { createCrowdWatch, TooManyProcesses } from "./crowd.ts";
import type { CrowdPorts } from "./crowd.ts";
import type { Count } from "./processes.ts";
import { openBound, ownSleep, pidsOf, until } from "./testdata/sandbox.ts";

// Bombs that nothing bounds are in test/e2e/limits.test.ts, in pods; here they are small, with limits to match: this machine has other work.
const crowdLimits = { ofRun: 40, inAll: 80 };

/** Doubles six times and is then silent: as quick as a fork bomb, and never more than 127 processes. */
const bomb = (sleep: string): string => `f() { if [ $1 -gt 5 ]; then exec sleep ${sleep}; fi; f $(($1+1)) & f $(($1+1)) & wait; }; f 0`;

test("a fork bomb is stopped, also one that ignores SIGTERM", async (t) => {
  const { run } = await openBound(t, { crowdLimits });
  for (const before of ["", "trap '' TERM; "]) {
    const sleep = ownSleep();
    const { status, content } = await run("bash", { command: before + bomb(sleep) });
    assert.equal(status, "error");
    assert.match(content, /\[stopped: more than (40 processes at once|80 processes at once in the sandbox)\]$/);
    assert.deepEqual(pidsOf(sleep), []);
  }
  assert.equal((await run("bash", { command: "echo goes on" })).content, "goes on\n[exit code 0]");
});

test("a fork bomb that a call left behind is ended when the call is long over, and a quiet one of another call stays", async (t) => {
  const { run, workspace, lines } = await openBound(t, { crowdLimits });
  const [quiet, loud] = [ownSleep(), ownSleep()];
  await run("bash", { command: `sleep ${quiet} > /dev/null 2>&1 &` });
  const begun = `(until [ -e go ]; do sleep 0.1; done; for i in $(seq 60); do setsid sleep ${loud} & done; wait) > /dev/null 2>&1 &`;
  assert.equal((await run("bash", { command: begun })).status, "ok");
  await run("write", { path: "go", content: "" });
  await until("it to be noticed", () => lines.some((line) => line.includes("too many processes of one call")));
  await until("it to be ended", () => pidsOf(loud).length === 0);
  assert.equal(pidsOf(quiet).length, 1);
  assert.equal(readFileSync(join(workspace, "go"), "utf8"), "");
});

test("calls that are many together are all stopped", async (t) => {
  const { run } = await openBound(t, { crowdLimits });
  const sleep = ownSleep();
  const command = `for i in $(seq 35); do sleep ${sleep} & done; wait`;
  const results = await Promise.all([1, 2, 3].map(() => run("bash", { command })));
  for (const { status, content } of results) {
    assert.equal(status, "error");
    assert.match(content, /\[stopped: more than 80 processes at once in the sandbox\]$/);
  }
  assert.deepEqual(pidsOf(sleep), []);
});

/** Lets a watch look at made-up processes until it stops somebody; gives back whom and why. */
async function stoppedBy(processes: Partial<CrowdPorts["processes"]>, hasRoom: CrowdPorts["hasRoom"]): Promise<readonly [string, number | undefined]> {
  const held = setInterval(() => undefined, 1000); // the watch itself keeps no process alive
  const stopped = await new Promise<readonly [string, number | undefined]>((resolve) => {
    createCrowdWatch({
      processes: { quickCount: () => undefined, count: () => new Map(), stop: () => Promise.resolve(true), stopAll: () => Promise.resolve(true), ...processes },
      stopRun: (reason, mark) => {
        assert.ok(reason instanceof TooManyProcesses);
        resolve([reason.message, mark]);
        return true;
      },
      hasRoom, log: () => undefined, limits: crowdLimits,
    }).wake();
  });
  clearInterval(held);
  return stopped;
}

const counts = new Map<number, Count>([[1, { processes: 30, threads: 30 }], [2, { processes: 2, threads: 400 }], [3, { processes: 45, threads: 45 }]]);

test("in a container of our own names are counted, and processes looked at when there are too many names", async () => {
  const seen = [3, 40, 41];
  let looks = 0;
  const count = (): typeof counts => {
    looks++;
    return counts;
  };
  assert.deepEqual(await stoppedBy({ quickCount: () => seen.shift() ?? 0, count }, () => Promise.resolve(true)), ["more than 40 processes at once", 3]);
  assert.deepEqual([looks, seen], [1, []]);
});

test("when the pod may have no more processes, twice in a row, the call with most threads ends", async () => {
  const tries = [false, true, false, false];
  const [why, mark] = await stoppedBy({ quickCount: () => 10, count: () => counts }, () => Promise.resolve(tries.shift() ?? true));
  assert.match(why, /^no room for another process: this call had 400 processes and threads, .*podPidsLimit/);
  assert.deepEqual([mark, tries], [2, []]);
});

test("a command has the least priority, is the first that memory pressure kills, and leaves no core dump", async (t) => {
  const { run } = await openBound(t);
  const { content } = await run("bash", { command: "nice; (cat /proc/self/oom_score_adj); ulimit -Hc; chrt -p $$ | head -1; chrt --other --pid 0 $$ 2>&1; renice -n 0 $$ 2>&1; ulimit -c unlimited || true" });
  assert.match(content, /^19\n1000\n0\n.*SCHED_IDLE\n/);
  if (process.getuid?.() !== 0) assert.match(content, /failed to set.*\n.*failed to set priority.*\n.*cannot modify limit/);
});
