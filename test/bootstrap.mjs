// Runs with whatever Node the machine has: installs the locked dependencies when they are missing or stale,
// then hands over to the project's own Node 24 (the npm package `node`). Usage: node test/bootstrap.mjs FILE [ARG...]
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const stamp = join(root, "node_modules/.paddock-lock");
const lock = createHash("sha256").update(readFileSync(join(root, "package-lock.json"))).digest("hex");

if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== lock) {
  const startedAt = Date.now();
  console.log("[  0.0s] dependencies: npm ci");
  const npm = spawnSync("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], { cwd: root, stdio: ["ignore", "inherit", "inherit"] });
  if (npm.status !== 0) {
    console.error(`npm ci failed (${npm.error?.message ?? `exit ${npm.status}`}); it needs Node 20 or newer, npm and the npm registry`);
    process.exit(1);
  }
  writeFileSync(stamp, lock);
  console.log(`[${((Date.now() - startedAt) / 1000).toFixed(1).padStart(5)}s] dependencies installed`);
}

const [file, ...rest] = process.argv.slice(2);
const bin = join(root, "node_modules/.bin");
const child = spawn(join(bin, "node"), ["--disable-warning=ExperimentalWarning", join(root, file), ...rest], {
  cwd: root, stdio: "inherit", env: { ...process.env, PATH: `${bin}:${process.env.PATH}` },
});
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => child.kill(signal));
child.on("exit", (code, signal) => process.exit(signal ? 128 + constants.signals[signal] : code ?? 1));
