import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { openBound } from "../testdata/sandbox.ts";
import { splitPattern } from "./glob.ts";

function fill(workspace: string, files: Readonly<Record<string, string>>): void {
  Object.entries(files).forEach(([path, text], index) => {
    mkdirSync(dirname(join(workspace, path)), { recursive: true });
    writeFileSync(join(workspace, path), text);
    utimesSync(join(workspace, path), 1_000_000 + index, 1_000_000 + index);
  });
}

test("glob lists newest first, skips .git and node_modules, follows no link", async (t) => {
  const { run, workspace } = await openBound(t);
  fill(workspace, { "a.ts": "", "src/b.ts": "", "src/deep/c.ts": "", "src/d.js": "", ".git/e.ts": "", "node_modules/x/f.ts": "", "src/.hidden.ts": "" });
  symlinkSync("..", join(workspace, "src/loop"));
  const glob = async (given: object): Promise<string> => (await run("glob", given)).content;
  assert.equal(await glob({ pattern: "**/*.ts" }), "src/deep/c.ts\nsrc/b.ts\na.ts");
  assert.equal(await glob({ pattern: "*.ts" }), "a.ts");
  assert.equal(await glob({ pattern: "./src/*.{ts,js}" }), "src/d.js\nsrc/b.ts");
  assert.equal(await glob({ pattern: "*.ts", path: "src" }), "src/b.ts");
  assert.equal(await glob({ pattern: `${workspace}/src/*.js` }), "src/d.js");
  assert.equal(await glob({ pattern: "node_modules/**/*.ts" }), "node_modules/x/f.ts", "named, so not skipped");
  assert.equal(await glob({ pattern: "a.ts" }), "a.ts");
  assert.match(await glob({ pattern: "*.py" }), /^\[no file matches \*\.py; /);
  const missing = await run("glob", { pattern: "*", path: "none" });
  assert.deepEqual([missing.status, missing.content], ["error", "none does not exist"]);
});

test("a pattern's fixed folders are where the search starts", () => {
  assert.deepEqual(splitPattern("/usr/lib/**/*.so"), { folder: "/usr/lib", rest: "**/*.so" });
  assert.deepEqual(splitPattern("/*.txt"), { folder: "/", rest: "*.txt" });
  assert.deepEqual(splitPattern("../a/b.txt"), { folder: "../a", rest: "b.txt" });
  assert.deepEqual(splitPattern("*.ts"), { folder: "", rest: "*.ts" });
});

test("many files are counted and cut", async (t) => {
  const { run, workspace } = await openBound(t);
  execFileSync("/bin/bash", ["-c", 'cd "$1" && touch f{1..1500}', "bash", workspace]);
  const { content } = await run("glob", { pattern: "f*" });
  const lines = content.split("\n");
  assert.deepEqual([lines.length, lines.at(-1)], [1001, "[500 older files are left out; narrow the pattern]"]);
});

test("grep gives path, number and line; skips binary files, .git and node_modules; takes a file or a glob", async (t) => {
  const { run, workspace } = await openBound(t);
  fill(workspace, { "a.ts": "one\nTwo\nthree two\n", "src/b.js": "two", "bin": "two\0", ".git/c": "two", ".env": "two=2\n" });
  const grep = async (given: object): Promise<string[]> => (await run("grep", given)).content.split("\n").sort();
  assert.deepEqual(await grep({ pattern: "two" }), [".env:1:two=2", "a.ts:3:three two", "src/b.js:1:two"]);
  assert.deepEqual(await grep({ pattern: "^two", ignoreCase: true }), [".env:1:two=2", "a.ts:2:Two", "src/b.js:1:two"]);
  assert.deepEqual(await grep({ pattern: "two", glob: "*.js" }), ["src/b.js:1:two"]);
  assert.deepEqual(await grep({ pattern: "two", glob: "src/**" }), ["src/b.js:1:two"]);
  assert.deepEqual(await grep({ pattern: "o", path: "a.ts" }), ["a.ts:1:one", "a.ts:2:Two", "a.ts:3:three two"].sort());
  assert.match((await grep({ pattern: "nowhere" })).join(), /^\[no match in \d+ files/);
  assert.match((await run("grep", { pattern: "(" })).content, /^pattern is not a regular expression of JavaScript: /);
  assert.equal((await run("grep", { pattern: "x", path: "none" })).content, "none does not exist");
  assert.match((await run("grep", { pattern: "x", path: "/dev/zero" })).content, /pipe or device/);
});

test("grep bounds lines and matches", async (t) => {
  const { run, workspace } = await openBound(t);
  fill(workspace, { long: `${"y".repeat(100_000)}x\n`, many: "z\n".repeat(5000) });
  assert.match((await run("grep", { pattern: "^y" })).content, /^long:1:y{500} \[… the line has 100001 bytes\]$/);
  const { content } = await run("grep", { pattern: "z" });
  assert.equal(content.split("\n").length, 1001);
  assert.match(content, /\[there are more matches; narrow the search\]$/);
});

test("a regular expression that takes for ever ends with its time, gives what it found, and blocks nobody", async (t) => {
  const { run, workspace } = await openBound(t);
  fill(workspace, { b: `aaaa!\n${"a".repeat(200)}\n` });
  const slow = run("grep", { pattern: "^(a+)+!", path: "b" }, 2);
  assert.equal((await run("bash", { command: "echo meanwhile" })).content, "meanwhile\n[exit code 0]");
  const { status, content } = await slow;
  assert.equal(status, "timeout");
  assert.equal(content, "[stopped: the time limit of 2 s is up]");
});

test("a glob that takes for ever ends with its time", async (t) => {
  const { run, workspace } = await openBound(t);
  fill(workspace, { ["a".repeat(250)]: "" });
  const { status } = await run("glob", { pattern: "*a*a*a*a*a*a*a*b" }, 1);
  assert.equal(status, "timeout");
});
