import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { inLanes, runNode } from "./steps.ts";
import { findUnitTests, parseCounts } from "./unit.ts";

describe("unit tests", () => {
  it("are all files that need no cluster", () => {
    const files = findUnitTests();
    assert.ok(files.includes("test/unit.test.ts") && files.includes("crds/src/log/fold.test.ts"));
    assert.deepEqual(files.filter((file) => /node_modules|^test\/(e2e|bench|faults)\//.test(file)), []);
  });

  it("are counted by the reporter's closing lines", () => {
    const closing = "ℹ tests 9\nℹ suites 2\nℹ pass 4\nℹ fail 1\nℹ cancelled 2\nℹ skipped 1\nℹ todo 1\nℹ duration_ms 5\n";
    assert.deepEqual(parseCounts(`✔ ℹ pass 99 is a name\n${closing}`), { passed: 4, failed: 4, skipped: 1 });
    const coloured = closing.replaceAll(/^.+$/gm, "\u001b[34m$&\u001b[39m");
    assert.deepEqual(parseCounts(coloured), { passed: 4, failed: 4, skipped: 1 }, "also where FORCE_COLOR is set");
    assert.deepEqual(parseCounts("Error: no such file"), { passed: 0, failed: 0, skipped: 0 });
  });
});

describe("steps", () => {
  it("end with the exit code and everything that was printed", async () => {
    const { code, output } = await runNode(["-e", "console.log('out'); console.error('err'); process.exit(3)"]);
    assert.equal(code, 3);
    assert.deepEqual(output.trim().split("\n").sort(), ["err", "out"]);
  });

  it("are killed when something keeps them alive, with what they had printed", async () => {
    const { code, output } = await runNode(["-e", "console.log('out'); setInterval(() => {}, 1000)"], { hungAfterMs: 3000 });
    assert.equal(code, 1);
    assert.match(output, /something kept it alive, killed after 3 s/);
  });

  it("run at most as many at a time as there are lanes, each once", async () => {
    let running = 0;
    let most = 0;
    const seen: number[] = [];
    await inLanes([1, 2, 3, 4, 5], 2, async (item) => {
      most = Math.max(most, ++running);
      seen.push(item);
      await new Promise(setImmediate);
      running--;
    });
    assert.deepEqual([most, seen], [2, [1, 2, 3, 4, 5]]);
  });

  it("pass on what goes wrong", async () => {
    await assert.rejects(inLanes([1], 1, () => Promise.reject(new Error("no"))), /no/);
  });
});
