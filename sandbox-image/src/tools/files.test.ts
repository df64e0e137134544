import assert from "node:assert/strict";
import { chmodSync, closeSync, ftruncateSync, mkdirSync, openSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { openBound } from "../testdata/sandbox.ts";

test("write makes folders, replaces at once, keeps the mode, follows a link", async (t) => {
  const { run, workspace } = await openBound(t);
  assert.equal((await run("write", { path: "a/b/c.txt", content: "eins\nzwei €" })).content, "Created a/b/c.txt: 13 bytes.");
  assert.equal(readFileSync(join(workspace, "a/b/c.txt"), "utf8"), "eins\nzwei €");
  chmodSync(join(workspace, "a/b/c.txt"), 0o755);
  symlinkSync("a/b/c.txt", join(workspace, "link"));
  assert.equal((await run("write", { path: "link", content: "" })).content, "Replaced link: 0 bytes.");
  assert.equal(statSync(join(workspace, "a/b/c.txt")).mode & 0o777, 0o755);
  assert.equal(statSync(join(workspace, "a/b/c.txt")).size, 0);
  assert.equal((await run("write", { path: join(workspace, "abs"), content: "x" })).status, "ok");
  assert.deepEqual(readdirSync(join(workspace, "a/b")), ["c.txt"], "no draft is left");
});

test("write says what is in the way", async (t) => {
  const { run, workspace } = await openBound(t);
  writeFileSync(join(workspace, "file"), "x");
  mkdirSync(join(workspace, "folder"));
  const said = async (path: string): Promise<string> => {
    const { status, content } = await run("write", { path, content: "y" });
    assert.equal(status, "error");
    return content;
  };
  assert.match(await said("folder"), /is a folder, not a file/);
  assert.match(await said("file/x"), /file\/x: a part of this path is a file/);
  assert.match(await said("x".repeat(300)), /the name is too long/);
  assert.match(await said("/proc/nothing/x"), /^\/proc\/nothing\/x/);
  assert.match(await said("/dev/null"), /pipe or device/);
  assert.deepEqual(readdirSync(workspace).sort(), ["file", "folder"]);
});

test("read numbers lines, pages, and says how to go on", async (t) => {
  const { run, workspace } = await openBound(t);
  writeFileSync(join(workspace, "f"), Array.from({ length: 3000 }, (_, index) => `line ${index + 1}`).join("\n"));
  const page = await run("read", { path: "f", offset: 10, limit: 2 });
  assert.equal(page.content, "    10\tline 10\n    11\tline 11\n[more lines follow; go on with offset 12]");
  assert.equal((await run("read", { path: "f", offset: 2999 })).content, "  2999\tline 2999\n  3000\tline 3000\n");
  assert.match((await run("read", { path: "f" })).content, /\n {2}1\d\d\d\tline[^]*go on with offset 1\d\d\d\]$/, "cut by size");
  assert.deepEqual(await run("read", { path: "f", offset: 4000 }).then(({ status, content }) => [status, content]), ["error", "[f has 3000 lines; offset 4000 is behind its end]"]);
  writeFileSync(join(workspace, "empty"), "");
  assert.equal((await run("read", { path: "empty" })).content, "[empty is empty]");
  writeFileSync(join(workspace, "blank"), "\n\na\r\n");
  assert.equal((await run("read", { path: "blank" })).content, "     1\t\n     2\t\n     3\ta\r\n");
});

test("read takes files of any size: a page of a sparse 20 GB, a line of 100 MB", async (t) => {
  const { run, workspace } = await openBound(t);
  const huge = openSync(join(workspace, "huge"), "w");
  writeFileSync(huge, "text\n".repeat(2000));
  ftruncateSync(huge, 20_000_000_000);
  closeSync(huge);
  const { status, content } = await run("read", { path: "huge", limit: 1 });
  assert.deepEqual([status, content], ["ok", "     1\ttext\n[more lines follow; go on with offset 2]"]);
  writeFileSync(join(workspace, "long"), `${"€".repeat(33_000_000)}\nnext\n`);
  const long = await run("read", { path: "long" });
  assert.match(long.content, /^ {5}1\t€{666} \[… the line has 99000000 bytes\]\n {5}2\tnext\n$/);
  const late = await run("read", { path: "huge", offset: 1_000_000 }, 0.05);
  assert.deepEqual([late.status, late.content], ["timeout", "[stopped: the time limit of 0.05 s is up]"]);
});

test("read says what is not text, not there, not a file", async (t) => {
  const { run, workspace } = await openBound(t);
  writeFileSync(join(workspace, "bin"), Buffer.from([1, 0, 2]));
  await run("bash", { command: "mkfifo pipe" });
  mkdirSync(join(workspace, "folder"));
  symlinkSync("loop", join(workspace, "loop"));
  for (const [path, said] of [["bin", /bin is a binary file of 3 bytes/], ["pipe", /pipe is a pipe or device/], ["folder", /folder is a folder.*glob/], ["none", /^none does not exist$/],
    ["loop", /too many symbolic links/], ["/dev/zero", /pipe or device/], ["bin/x", /a part of this path is a file/]] as const) {
    const { status, content } = await run("read", { path });
    assert.equal(status, "error");
    assert.match(content, said);
  }
});

test("edit replaces exactly once, or all; otherwise it changes nothing and says why", async (t) => {
  const { run, workspace } = await openBound(t);
  const file = join(workspace, "f");
  writeFileSync(file, "one two two $& three");
  const edit = async (oldText: string, newText: string, replaceAll?: boolean) => {
    const { status, content } = await run("edit", { path: "f", oldText, newText, ...(replaceAll !== undefined && { replaceAll }) });
    return `${status}: ${content}`;
  };
  assert.equal(await edit("one", "$&1$1"), "ok: Changed f: 1 occurrence.");
  assert.equal(readFileSync(file, "utf8"), "$&1$1 two two $& three");
  assert.match(await edit("two", "2"), /^error: oldText occurs 2 times in f; /);
  assert.match(await edit("four", "4"), /^error: oldText does not occur in f; /);
  assert.match(await edit("two", "two"), /^error: .*are the same/);
  assert.equal(readFileSync(file, "utf8"), "$&1$1 two two $& three");
  assert.equal(await edit("two", "", true), "ok: Changed f: 2 occurrences.");
  assert.equal(readFileSync(file, "utf8"), "$&1$1   $& three");
  writeFileSync(file, Buffer.from([0x61, 0xff]));
  assert.match(await edit("a", "b"), /^error: f is not UTF-8 text/);
  assert.equal((await run("edit", { path: "none", oldText: "a", newText: "b" })).content, "none does not exist");
});

test("parallel edits of one file lose nothing", async (t) => {
  const { run, workspace } = await openBound(t);
  const names = Array.from({ length: 16 }, (_, index) => `<${index}>`);
  writeFileSync(join(workspace, "f"), names.join(""));
  await Promise.all(names.map((oldText) => run("edit", { path: "f", oldText, newText: `${oldText}!` })));
  assert.equal(readFileSync(join(workspace, "f"), "utf8"), names.map((name) => `${name}!`).join(""));
});
