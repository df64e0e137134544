// `npm test`: every test there is, from types to pods on a real cluster. Starts what it needs, takes down what it started, and ends with the counts alone on
// a line. Options: `npm test -- PATTERN` runs only the files of test/faults and test/e2e whose path holds PATTERN; `--keep` leaves the cluster up.
import { globSync } from "node:fs";
import { relative } from "node:path";
import { run } from "node:test";
import { inspect } from "node:util";
import { spec } from "node:test/reporters";
import { staticSteps } from "./check.ts";
import { describeError, down, up } from "./cluster/main.ts";
import { kubectl } from "./e2e/kubectl.ts";
import { openProgress } from "./progress.ts";
import { ROOT } from "./steps.ts";
import { runUnitTests } from "./unit.ts";
import type { Counts } from "./unit.ts";

const args = process.argv.slice(2);
const keep = args.includes("--keep");
const pattern = args.find((arg) => !arg.startsWith("--"));
const progress = openProgress();
const totals: Counts[] = [];

async function main(): Promise<void> {
  if (pattern === undefined) await runFast();
  const isUpBefore = await kubectl(["get", "--raw", "/readyz"]).then(({ code }) => code === 0, () => false);
  try {
    await up(progress);
    await runEndToEnd();
  } catch (error) {
    countFailure(error);
  }
  if (!isUpBefore && !keep) await down(progress).catch(countFailure);
}

/** What goes wrong outside the tests counts as one, so that the closing counts are printed whatever happens. */
function countFailure(error: unknown): void {
  console.error(describeError(error));
  totals.push({ passed: 0, failed: 1, skipped: 0 });
}

/** What `npm run check` runs: a failed step counts as a failed test. */
async function runFast(): Promise<void> {
  for (const { name, run: step } of staticSteps) {
    const { code, output } = await progress.during(name, step);
    if (code !== 0) console.log(output.trimEnd());
    totals.push({ passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, skipped: 0 });
  }
  const unit = await progress.during("unit tests", runUnitTests);
  console.log(unit.output);
  totals.push({ passed: unit.passed, failed: Math.max(unit.failed, unit.code === 0 ? 0 : 1), skipped: unit.skipped });
}

/** One file after the other: some of them kill the operator under everybody. */
async function runEndToEnd(): Promise<void> {
  const files = globSync("test/{faults,e2e}/**/*.test.ts", { cwd: ROOT }).filter((file) => file.includes(pattern ?? "")).sort();
  if (files.length === 0) throw new Error(`no file of test/e2e or test/faults holds ${JSON.stringify(pattern)} in its path`);
  progress(`end-to-end tests: ${files.length} files`);
  const tests = run({ files: files.map((file) => `${ROOT}/${file}`), concurrency: 1 });
  let counts: Counts = { passed: 0, failed: 1, skipped: 0 };
  tests.on("test:summary", ({ file, counts: { tests: all, passed, skipped } }) => {
    // Cancelled and to-do tests count as failed.
    if (file === undefined) counts = { passed, failed: all - passed - skipped, skipped };
  });
  const failures: string[] = [];
  tests.on("test:fail", ({ name, file = "", line, details: { error } }) => {
    // A suite, or a file, fails with its tests: they say why.
    if (!("failureType" in error && error.failureType === "subtestsFailed")) failures.push(`✖ ${name} (${relative(ROOT, file)}:${line ?? 0})\n${inspect(error.cause ?? error)}`);
  });
  const report = tests.compose(spec);
  for await (const text of report) process.stdout.write(String(text));
  totals.push(counts);
  if (counts.failed === 0) return;
  await describeCluster();
  // Last, because some that keep this output keep its end alone.
  console.log(`\n${failures.join("\n\n")}\n`);
}

/** What somebody needs who sees only this output. */
async function describeCluster(): Promise<void> {
  const questions = [
    ["get", "sessions,environments,pods", "-A", "-o", "wide"],
    ["logs", "-n", "paddock-system", "deployment/paddock-operator", "--tail=60"],
    ["logs", "-n", "paddock-system", "statefulset/paddock-gateway", "--tail=60"],
  ];
  for (const question of questions) {
    const { stdout, stderr } = await kubectl(question);
    console.log(`\n$ kubectl ${question.join(" ")}\n${stdout}${stderr}`);
  }
}

await main();
const sum = (name: keyof Counts): number => totals.reduce((total, counts) => total + counts[name], 0);
process.exitCode = sum("failed") > 0 ? 1 : 0;
console.log(`${sum("passed")} passed, ${sum("failed")} failed, ${sum("skipped")} skipped`);
