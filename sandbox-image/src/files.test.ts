import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { parseProblem, problemTypeOf } from "@paddock/api/wire/problem";
import { openBound, openSandbox } from "./testdata/sandbox.ts";
import type { Sandbox } from "./testdata/sandbox.ts";

const FILES = [{ path: "notes/deep/style.md", content: "Be brief. é\n" }, { path: ".empty", content: "" }];

async function refused(response: Response): Promise<string> {
  const problem = parseProblem(await response.json());
  assert.ok(problem !== undefined);
  return `${response.status} ${problemTypeOf(problem) ?? ""}: ${problem.detail}`;
}

async function placed(t: TestContext): Promise<Sandbox> {
  const sandbox = await openBound(t);
  assert.deepEqual(await (await sandbox.putFiles({ files: FILES })).json(), { placed: true });
  return sandbox;
}

test("files are in the workspace, in folders made for them, and commands may change them", async (t) => {
  const sandbox = await placed(t);
  const target = join(sandbox.workspace, "notes/deep/style.md");
  assert.equal(readFileSync(target, "utf8"), "Be brief. é\n");
  assert.equal(statSync(target).mode & 0o777, 0o644);
  assert.equal(statSync(target).uid, process.getuid?.());
  assert.deepEqual(readdirSync(sandbox.workspace).toSorted(), [".empty", "notes"], "no draft is left");
  const { content } = await sandbox.run("bash", { command: "echo more >> notes/deep/style.md && cat notes/deep/style.md" });
  assert.match(content, /^Be brief\. é\nmore\n/);
});

test("a repeated request undoes nothing that a call has changed, a newer runner's neither", async (t) => {
  const sandbox = await placed(t);
  await sandbox.run("bash", { command: "echo mine > notes/deep/style.md; rm .empty" });
  assert.deepEqual(await (await sandbox.putFiles({ files: FILES })).json(), { placed: false });
  assert.equal((await sandbox.bind(2)).status, 200);
  assert.match(await refused(await sandbox.putFiles({ files: FILES })), /^403 fenced/);
  const newer = { authorization: "Bearer key-0123456789", "paddock-epoch": "2" };
  assert.deepEqual(await (await sandbox.putFiles({ files: FILES }, newer)).json(), { placed: false });
  assert.equal(readFileSync(join(sandbox.workspace, "notes/deep/style.md"), "utf8"), "mine\n");
  assert.deepEqual(readdirSync(sandbox.workspace), ["notes"]);
});

test("only the bound runner places files", async (t) => {
  const sandbox = await openSandbox(t);
  assert.match(await refused(await sandbox.putFiles({ files: FILES })), /^401 unauthenticated/);
  await sandbox.bind(1);
  assert.match(await refused(await sandbox.putFiles({ files: FILES }, {})), /^401 unauthenticated/);
  assert.match(await refused(await sandbox.putFiles({ files: FILES }, { authorization: "Bearer wrong", "paddock-epoch": "1" })), /^401 unauthenticated/);
  assert.deepEqual(readdirSync(sandbox.workspace), []);
});

test("paths that lead out, and bodies that are none, are refused and nothing is written", async (t) => {
  const sandbox = await openBound(t);
  for (const path of ["/etc/motd", "../up", "a/../../up", "a//b", "./a", "a/", "", ".", "a\0b", "x".repeat(513), `${"x".repeat(256)}/a`, 7, null]) {
    assert.match(await refused(await sandbox.putFiles({ files: [{ path, content: "x" }] })), /^400 malformed: files\[0\]\.path must be a path relative to the workspace/, String(path));
  }
  for (const body of [{}, { files: {} }, { files: [null] }, { files: ["a"] }, { files: Array.from({ length: 65 }, () => ({ path: "a", content: "" })) }]) {
    assert.match(await refused(await sandbox.putFiles(body)), /^400 malformed: files/);
  }
  assert.match(await refused(await sandbox.putFiles({ files: [{ path: "a", content: 1 }] })), /^400 malformed: files\[0\]\.content must be a text/);
  assert.match(await refused(await sandbox.putFiles({ files: [{ path: "a", content: "x".repeat(1024 * 1024 + 1) }] })), /^413 too-large/);
  assert.deepEqual(readdirSync(sandbox.workspace), []);
});

test("links in the way are not followed, and a link in the file's place is replaced", async (t) => {
  const sandbox = await openBound(t);
  const outside = join(sandbox.workspace, "..", `${process.pid}-outside-files`);
  mkdirSync(outside);
  t.after(() => { rmSync(outside, { recursive: true, force: true }); });
  writeFileSync(join(outside, "kept"), "kept");
  symlinkSync(outside, join(sandbox.workspace, "out"));
  symlinkSync(join(outside, "kept"), join(sandbox.workspace, "file"));
  assert.match(await refused(await sandbox.putFiles({ files: [{ path: "out/new", content: "x" }] })), /^400 malformed: a part of out\/new is a symbolic link, not a folder/);
  assert.match(await refused(await sandbox.putFiles({ files: [{ path: "a", content: "" }, { path: "a/b", content: "" }] })), /^400 malformed: a part of a\/b is a file, not a folder/);
  assert.match(await refused(await sandbox.putFiles({ files: [{ path: "d/e", content: "" }, { path: "d", content: "" }] })), /^400 malformed: d is a folder in the workspace/);
  assert.deepEqual(await (await sandbox.putFiles({ files: [{ path: "file", content: "new" }] })).json(), { placed: true });
  assert.equal(readFileSync(join(sandbox.workspace, "file"), "utf8"), "new");
  assert.deepEqual([readdirSync(outside), readFileSync(join(outside, "kept"), "utf8")], [["kept"], "kept"]);
});

test("a workspace that takes no file is told as such, and the next request may succeed", async (t) => {
  const sandbox = await openBound(t);
  rmSync(sandbox.workspace, { recursive: true });
  assert.match(await refused(await sandbox.putFiles({ files: FILES.slice(1) })), /^503 unavailable: \.empty does not exist/);
  mkdirSync(sandbox.workspace);
  assert.deepEqual(await (await sandbox.putFiles({ files: FILES })).json(), { placed: true });
  assert.deepEqual(readdirSync(sandbox.workspace).toSorted(), [".empty", "notes"]);
});

test("in a workspace that outlives its pods what is there stays, and only what is missing is placed", async (t) => {
  const sandbox = await openBound(t);
  mkdirSync(join(sandbox.workspace, "notes"));
  writeFileSync(join(sandbox.workspace, "notes/kept.md"), "mine");
  mkdirSync(join(sandbox.workspace, "folder"));
  symlinkSync("/nowhere", join(sandbox.workspace, "dangling"));
  symlinkSync(join(sandbox.workspace, "notes"), join(sandbox.workspace, "link"));
  writeFileSync(join(sandbox.workspace, "plain"), "a file where a folder was");
  const paths = ["notes/kept.md", "notes/new.md", "folder", "dangling", "link/x", "plain/x", "a/b"];
  assert.match(await refused(await sandbox.putFiles({ files: [], keepExisting: "yes" })), /^400 malformed: keepExisting must be true or false/);
  assert.deepEqual(await (await sandbox.putFiles({ files: paths.map((path) => ({ path, content: "placed" })), keepExisting: true })).json(), { placed: true });
  const read = (path: string): string => readFileSync(join(sandbox.workspace, path), "utf8");
  assert.deepEqual([read("notes/kept.md"), read("notes/new.md"), read("a/b"), read("plain")], ["mine", "placed", "placed", "a file where a folder was"]);
  assert.deepEqual(readdirSync(join(sandbox.workspace, "notes")).toSorted(), ["kept.md", "new.md"], "nothing went through the link");
  assert.deepEqual(readdirSync(join(sandbox.workspace, "folder")), []);
  assert.deepEqual(await (await sandbox.putFiles({ files: [{ path: "late", content: "" }], keepExisting: true })).json(), { placed: false });
});
