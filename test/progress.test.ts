import assert from "node:assert/strict";
import { test } from "node:test";
import { openProgress } from "./progress.ts";

test("a step is one line when it ends, with its result passed on", async () => {
  const lines: string[] = [];
  const progress = openProgress((line) => lines.push(line));
  progress("begin");
  assert.equal(await progress.during("step", async () => 42), 42);
  assert.match(lines.join(""), /^\[ {3}\d\.\ds\] begin\n\[ {3}\d\.\ds\] step \(\d\.\d s\)\n$/);
});

test("a long step says that it still runs, and stops saying so", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] });
  const lines: string[] = [];
  const progress = openProgress((line) => lines.push(line));
  const failure = progress.during("step", async () => {
    t.mock.timers.tick(20_000);
    throw new Error("inside");
  });
  await assert.rejects(failure, /inside/);
  assert.equal(lines.length, 1);
  assert.match(lines[0] ?? "", /… step: \d+ s so far/);
  t.mock.timers.tick(60_000);
  assert.equal(lines.length, 1);
});
