import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";

const RECORD = `
import { registerHooks } from "node:module";
const loaded = [];
registerHooks({ load: (url, context, next) => { loaded.push(url); return next(url, context); } });
for (const file of ["shell.ts", "gateway.ts", "config.ts"]) await import(new URL(file, ${JSON.stringify(import.meta.url)}).href);
process.stdout.write(JSON.stringify(loaded));
`;

// The start is on the way to the first model request (decision 0006): schemas were two thirds of it, and the gateway has checked what they would.
test("the runner loads no schema and no library for certificates at its start", async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", RECORD]);
  const loaded = JSON.parse(stdout) as readonly string[];
  assert.ok(loaded.some((url) => url.endsWith("/runner-image/src/next.ts")));
  assert.deepEqual(loaded.filter((url) => /\/node_modules\/(zod|ajv|@peculiar|reflect-metadata)\/|\/crds\/src\/(agent|environment|session|network)\.ts$/.test(url)), []);
});
