import { globSync } from "node:fs";
import { stripVTControlCharacters } from "node:util";
import { ROOT, inLanes, runNode } from "./steps.ts";
import type { StepResult } from "./steps.ts";

/** How many tests passed, failed and were skipped. */
export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

// A file that something keeps alive fails by name instead of holding up the run.
const hungAfterMs = 120_000;

/** Test files of the fast gate: all but those that need a cluster (test/e2e, test/bench) or minutes (test/faults). */
export function findUnitTests(): readonly string[] {
  const folders = ["crds", "operator", "gateway", "runner-image", "sandbox-image", "test"];
  return globSync(folders.map((folder) => `${folder}/**/*.test.ts`), {
    cwd: ROOT,
    exclude: (path) => path.includes("node_modules") || /^test\/(e2e|bench|faults)(\/|$)/.test(path),
  }).sort();
}

/** Runs the unit tests, each file in a process of its own; `output` holds what failing files printed, and the closing counts. */
export async function runUnitTests(): Promise<Counts & StepResult> {
  const startedAt = performance.now();
  const results: (Counts & StepResult)[] = [];
  await inLanes(findUnitTests(), 2, async (file) => {
    results.push(await runTestFile(file));
  });
  const total = (count: (result: Counts) => number) => results.reduce((sum, result) => sum + count(result), 0);
  const [passed, failed, skipped] = [total((result) => result.passed), total((result) => result.failed), total((result) => result.skipped)];
  const closing = `files ${results.length} · pass ${passed} · fail ${failed} · skipped ${skipped}`;
  const failures = results.filter(({ code }) => code !== 0).map(({ output }) => output);
  return { passed, failed, skipped, code: failures.length === 0 ? 0 : 1, output: [...failures, closing].join("\n"), seconds: (performance.now() - startedAt) / 1000 };
}

/** A file that ends badly without a failing test counts as one: it did not get that far. */
async function runTestFile(file: string): Promise<Counts & StepResult> {
  const { code, output, seconds } = await runNode(["--test-reporter=spec", file], { hungAfterMs });
  const counts = parseCounts(output);
  const failed = code === 0 ? counts.failed : Math.max(counts.failed, 1);
  const from = output.lastIndexOf("✖ failing tests:");
  return { ...counts, failed, code: failed === 0 ? 0 : 1, seconds, output: `${file}\n${(from < 0 ? output : output.slice(from)).trim()}` };
}

/** The counts of node:test's spec reporter; zeros where it did not get that far. Todo tests and cancelled ones count as failed. */
export function parseCounts(output: string): Counts {
  const plain = stripVTControlCharacters(output);
  const count = (name: string) => Number(new RegExp(`^ℹ ${name} (\\d+)$`, "m").exec(plain)?.[1] ?? 0);
  return { passed: count("pass"), failed: count("fail") + count("cancelled") + count("todo"), skipped: count("skipped") };
}
