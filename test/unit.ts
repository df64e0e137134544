import { globSync } from "node:fs";
import { ROOT, runNode } from "./steps.ts";
import type { StepResult } from "./steps.ts";

/** How many tests passed, failed and were skipped. */
export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

// A bound against hanging, not an expectation: a file that something keeps alive fails by name instead of holding up the run.
const hungAfterMs = 120_000;

/** Test files that need no cluster: all but test/e2e and test/bench. */
export function findUnitTests(): readonly string[] {
  const folders = ["crds", "operator", "gateway", "runner-image", "sandbox-image", "test"];
  return globSync(folders.map((folder) => `${folder}/**/*.test.ts`), {
    cwd: ROOT,
    exclude: (path) => path.includes("node_modules") || /^test\/(e2e|bench)(\/|$)/.test(path),
  }).sort();
}

/** Runs the unit tests; what they printed is in `output`, shortened to the failures and the closing counts. */
export async function runUnitTests(): Promise<Counts & StepResult> {
  const files = findUnitTests();
  const result = await runNode(["--test", "--test-reporter=spec", "--test-concurrency=2", `--test-timeout=${hungAfterMs}`, ...files]);
  const counts = parseCounts(result.output);
  return { ...result, ...counts, code: result.code === 0 && counts.passed === 0 ? 1 : result.code, output: shorten(result.output, counts) };
}

/** The counts of node:test's spec reporter; zeros where it did not get that far. Todo tests and cancelled ones count as failed. */
export function parseCounts(output: string): Counts {
  const count = (name: string) => Number(new RegExp(`^ℹ ${name} (\\d+)$`, "m").exec(output)?.[1] ?? 0);
  return { passed: count("pass"), failed: count("fail") + count("cancelled") + count("todo"), skipped: count("skipped") };
}

function shorten(output: string, { failed }: Counts): string {
  const closing = output.lastIndexOf("ℹ tests ");
  if (closing < 0) return output;
  const failures = failed > 0 && output.includes("✖ failing tests:") ? output.slice(output.lastIndexOf("✖ failing tests:")) : "";
  const counts = output.slice(closing).split("\n").filter((line) => line.startsWith("ℹ "));
  return [...(failures === "" ? [] : [failures.trimEnd()]), counts.join(" · ").replaceAll("ℹ ", "")].join("\n");
}
