import assert from "node:assert/strict";
import { test } from "node:test";
import { runNode } from "../steps.ts";

test("npm run demo on a running cluster: both examples complete, with answer, turns, tokens, cost, trace id and the place of the log", async (t) => {
  const { code, output, seconds } = await runNode(["test/demo.ts"]);
  assert.equal(code, 0, output);
  t.diagnostic(`took ${seconds.toFixed(1)} s`);
  assert.equal(output.match(/^outcome +Completed$/gm)?.length, 2, output);
  assert.match(output, /^answer +The program printed: 1229 primes below 10000, sum 5736396$/m);
  for (const line of [/^turns +3$/m, /^tokens +[1-9]\d*$/m, /^cost +0\.\d+ USD$/m, /^trace id +[0-9a-f]{32}$/m, /^log +https:\/\/\S+\/sessions\/workspace\/events$/m]) assert.match(output, line);
});
