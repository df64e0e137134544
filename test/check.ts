import { inLanes, runNode, scriptOf } from "./steps.ts";
import type { StepResult } from "./steps.ts";
import { runUnitTests } from "./unit.ts";

// `npm run check`: the fast gate, without a cluster. Prints each step with its seconds and, for a failed one, what it said.

interface Step {
  readonly name: string;
  run(): Promise<StepResult>;
}

/** Everything but the tests. */
export const staticSteps: readonly Step[] = [
  { name: "lint", run: () => runNode([scriptOf("eslint/bin/eslint.js"), ".", "--max-warnings=0"]) },
  { name: "types", run: () => runNode([scriptOf("typescript/bin/tsc"), "-p", "tsconfig.json"]) },
  { name: "dead code", run: () => runNode([scriptOf("knip/bin/knip.js"), "--no-progress"]) },
  { name: "generated files", run: () => runNode(["crds/generate.ts", "--check"]) },
];

// The longest first, so that the two lanes end at about the same time.
const steps: readonly Step[] = [{ name: "unit tests", run: runUnitTests }, ...staticSteps];

async function main(): Promise<number> {
  const startedAt = performance.now();
  const failed: string[] = [];
  await inLanes(steps, 2, async ({ name, run }) => {
    const { code, output, seconds } = await run();
    if (code !== 0) failed.push(name);
    console.log(`${code === 0 ? "ok    " : "FAILED"} ${name.padEnd(16)} ${seconds.toFixed(1).padStart(6)} s`);
    if (code !== 0 || name === "unit tests") console.log(output.trimEnd());
  });
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  console.log(failed.length === 0 ? `check passed in ${seconds} s` : `check failed in ${seconds} s: ${failed.join(", ")}`);
  return failed.length === 0 ? 0 : 1;
}

if (import.meta.main) process.exitCode = await main();
