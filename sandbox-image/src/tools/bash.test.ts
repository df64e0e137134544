import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { TAIL_BYTES } from "../output.ts";
import { openBound, ownSleep, pidsOf, until } from "../testdata/sandbox.ts";

test("output and errors in order, exit code, signal, workspace", async (t) => {
  const { run, workspace } = await openBound(t);
  const lines = "for i in 1 2 3; do echo o$i; echo e$i >&2; echo x$i >/dev/stderr; done; pwd; exit 3";
  const { status, content, truncated } = await run("bash", { command: lines });
  assert.deepEqual({ status, content, truncated }, { status: "error", content: `o1\ne1\nx1\no2\ne2\nx2\no3\ne3\nx3\n${workspace}\n[exit code 3]`, truncated: false });
  assert.match((await run("bash", { command: "printf x; kill -9 $$" })).content, /^x\n\[killed by SIGKILL/);
  assert.equal((await run("bash", { command: "kill $$" })).content, "[killed by SIGTERM]");
  assert.equal((await run("bash", { command: "true" })).content, "[exit code 0]");
  assert.match((await run("bash", { command: "if" })).content, /syntax error[^]*\[exit code 2\]$/);
  assert.equal((await run("bash", { command: `printf '"%s\\n' $'\\u20ac'; cat` })).content, '"€\n[exit code 0]', "nothing to read from");
});

test("the environment is small, and nothing of the server's own", async (t) => {
  const { run } = await openBound(t);
  const { content } = await run("bash", { command: "env | cut -d= -f1 | sort | tr '\\n' ' '" });
  assert.equal(content, "ALL_PROXY AWS_CA_BUNDLE CARGO_HTTP_CAINFO CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE CURL_CA_BUNDLE DENO_CERT GIT_SSL_CAINFO GIT_TERMINAL_PROMPT GRPC_DEFAULT_SSL_ROOTS_FILE_PATH HOME HTTPS_PROXY HTTP_PROXY LANG NODE_EXTRA_CA_CERTS NODE_USE_ENV_PROXY NO_PROXY PADDOCK_CALL PAGER PATH PIP_CERT PWD REQUESTS_CA_BUNDLE SHLVL SSL_CERT_FILE TERM USER _ all_proxy http_proxy https_proxy no_proxy \n[exit code 0]");
  assert.match((await run("bash", { command: "ls -l /proc/self/fd/ | grep -c socket" })).content, /^0\n/, "no connection of the server's");
});

test("the time limit kills what ignores SIGTERM and what has a session of its own, and gives the output so far", async (t) => {
  const { run } = await openBound(t);
  const sleep = ownSleep();
  const { status, content } = await run("bash", { command: `echo begun; trap '' TERM; setsid sleep ${sleep} & sleep ${sleep}; echo never` }, 3);
  assert.deepEqual([status, content], ["timeout", "begun\n[stopped: the time limit of 3 s is up]"]);
  assert.deepEqual(pidsOf(sleep), []);
});

test("output is not lost when what carries it runs only long after the command has ended, as on a loaded machine", async (t) => {
  const { run, workspace } = await openBound(t);
  const result = run("bash", { command: "relay=$(pgrep -x -s 0 cat); kill -STOP $relay; echo late; echo $$ $relay > pids.part; mv pids.part pids" });
  await until("the command to name its processes", () => existsSync(`${workspace}/pids`));
  const [shell = 0, relay = 0] = readFileSync(`${workspace}/pids`, "utf8").trim().split(" ").map(Number);
  await until("its shell to have ended", () => !existsSync(`/proc/${shell}`));
  setTimeout(() => process.kill(relay, "SIGCONT"), 500);
  assert.equal((await result).content, "late\n[exit code 0]");
});

test("a background process that holds the pipe does not hold the call, goes on after it, and may go on writing", async (t) => {
  const { run } = await openBound(t);
  const sleep = ownSleep();
  const { status, content } = await run("bash", { command: `(until [ -e go ]; do sleep 0.02; done; for i in $(seq 20000); do echo "line $i of it"; done; touch wrote; exec sleep ${sleep}) & echo started` });
  assert.deepEqual([status, content], ["ok", "started\n[exit code 0]"]);
  const after = await run("bash", { command: "touch go; until [ -e wrote ]; do sleep 0.02; done" }, 30);
  assert.equal(after.status, "ok");
  await until("it to go on", () => pidsOf(sleep).length === 1);
});

test("a server that a command left running is reached by the next", async (t) => {
  const { run } = await openBound(t);
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await run("bash", { command: `node -e 'require("http").createServer((q, s) => { console.log("asked"); s.end("yes\\n"); }).listen(${port}, "127.0.0.1", () => require("fs").writeFileSync("up", ""))' & until [ -e up ]; do sleep 0.05; done` }, 30);
  const ask = `node -e 'fetch("http://127.0.0.1:${port}").then((r) => r.text()).then((x) => process.stdout.write(x))'`;
  assert.equal((await run("bash", { command: ask })).content, "yes\n[exit code 0]");
  assert.equal((await run("bash", { command: ask })).content, "yes\n[exit code 0]", "its own output did not end it");
});

test("a flood of output is counted, its end kept, and memory stays where it was", async (t) => {
  const { run } = await openBound(t);
  await run("bash", { command: "head -c 1000000 /dev/zero" });
  const before = process.memoryUsage().rss;
  const { status, content, bytes, truncated } = await run("bash", { command: "yes 'a line of some length' | head -c 200000000; echo; echo the end" });
  const grown = process.memoryUsage().rss - before;
  assert.deepEqual([status, bytes, truncated], ["ok", 200_000_009, true]);
  assert.ok(Buffer.byteLength(content) < TAIL_BYTES + 100);
  assert.match(content, /^\[the output has 200000009 bytes in \d+ lines; this is its end\]\na line[^]*the end\n\[exit code 0\]$/);
  assert.ok(grown < 128 * 1024 * 1024, `${grown} bytes more`);
});

test("a character is never cut, and bytes that are no text do not break the answer", async (t) => {
  const { run } = await openBound(t);
  const { content } = await run("bash", { command: "yes € | tr -d '\\n' | head -c 300000" });
  assert.ok(!content.includes("\ufffd"));
  assert.equal((await run("bash", { command: "printf 'a\\xff\\x00b'" })).content, "a\ufffd\0b\n[exit code 0]");
});

test("a command as long as the contract allows, and one that the kernel refuses", async (t) => {
  const { run } = await openBound(t);
  assert.equal((await run("bash", { command: `echo ${"x".repeat(65_000)} | wc -c` })).content, "65001\n[exit code 0]");
  const { status, content } = await run("bash", { command: `echo ${"€".repeat(65_000)}` });
  assert.deepEqual([status, content], ["error", "the command is too long; write it to a file first"]);
});

test("the tool server's own process is not among what a call stops", async (t) => {
  const { run } = await openBound(t);
  await run("bash", { command: "sleep 30" }, 0.2);
  assert.match(readFileSync("/proc/self/stat", "utf8"), /^\d+ /);
  assert.equal((await run("bash", { command: "true" })).status, "ok");
});
