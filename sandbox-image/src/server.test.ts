import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import type { RemoteInfo } from "node:dgram";
import { once } from "node:events";
import { connect } from "node:net";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { PROBLEM_BASE, parseProblem, problemTypeOf } from "@paddock/api/wire/problem";
import { parseSandboxResult } from "@paddock/api/wire/sandbox";
import { isLocal } from "./server.ts";
import { openPeer } from "./testdata/peer.ts";
import { KEY, openBound, openSandbox, ownSleep, pidsOf, until } from "./testdata/sandbox.ts";

const CALL = { call: "r/1/0", attempt: 1, tool: "bash", arguments: { command: "echo hi" }, timeoutSeconds: 30 };

async function problem(response: Response): Promise<string> {
  assert.match(response.headers.get("content-type") ?? "", /^application\/problem\+json/);
  const body = parseProblem(await response.json());
  assert.ok(body !== undefined);
  assert.equal(body.status, response.status);
  assert.ok(body.detail.length > 10 && body.type.startsWith(PROBLEM_BASE));
  return `${response.status} ${problemTypeOf(body) ?? ""}`;
}

test("binds, answers calls as the contract says, and health without a key", async (t) => {
  const sandbox = await openSandbox(t);
  assert.equal((await fetch(`${sandbox.url}/healthz`)).status, 200);
  assert.equal(await problem(await sandbox.post(CALL)), "401 unauthenticated");
  const bound = await sandbox.bind(1);
  assert.deepEqual(await bound.json(), { workspace: sandbox.workspace, protocol: 1, isolation: { probed: [], open: [] } });
  const result = parseSandboxResult(await (await sandbox.post(CALL)).json());
  assert.deepEqual({ ...result, seconds: 0 }, { status: "ok", content: "hi\n[exit code 0]", bytes: 3, truncated: false, seconds: 0 });
});

test("only the holder of the key and of the newest epoch is served", async (t) => {
  const sandbox = await openBound(t);
  const as = (key: string, epoch: string) => sandbox.post(CALL, { authorization: `Bearer ${key}`, "paddock-epoch": epoch });
  assert.equal(await problem(await as("wrong", "1")), "401 unauthenticated");
  assert.equal(await problem(await as(KEY, "0")), "403 fenced");
  assert.equal(await problem(await as(KEY, "2")), "403 fenced");
  assert.equal(await problem(await as(KEY, "x")), "400 malformed");
  assert.equal(await problem(await sandbox.post(CALL, {})), "401 unauthenticated");
  assert.equal(await problem(await sandbox.bind(1, "another")), "403 fenced");
  assert.equal((await sandbox.bind(1)).status, 200);
  assert.equal((await sandbox.bind(2)).status, 200);
  assert.equal(await problem(await sandbox.bind(1)), "403 fenced");
  assert.equal(await problem(await as(KEY, "1")), "403 fenced");
  assert.equal((await as(KEY, "2")).status, 200);
  assert.ok(!sandbox.lines.join().includes(KEY));
});

test("one request, one run: a repeated call is a conflict, another attempt is not", async (t) => {
  const sandbox = await openBound(t);
  const [first, second] = await Promise.all([sandbox.post(CALL), sandbox.post(CALL)]);
  assert.deepEqual([first.status, second.status].sort(), [200, 409]);
  assert.equal(await problem(await sandbox.post(CALL)), "409 conflict");
  assert.equal((await sandbox.post({ ...CALL, attempt: 2 })).status, 200);
});

test("hostile bodies are refused with a problem and do not end the server", async (t) => {
  const sandbox = await openBound(t);
  for (const body of ["", "{", "null", "[]", '"x"', "\u0000", "[".repeat(100_000), { ...CALL, call: "" }, { ...CALL, call: 7 }, { ...CALL, attempt: 1.5 }, { ...CALL, attempt: -1 },
    { ...CALL, tool: "constructor" }, { ...CALL, tool: "__proto__" }, { ...CALL, tool: 3 }, { ...CALL, arguments: [] }, { ...CALL, arguments: null }, { ...CALL, timeoutSeconds: 0 },
    { ...CALL, timeoutSeconds: "5" }, { ...CALL, timeoutSeconds: 1e9 }]) {
    assert.equal(await problem(await sandbox.post(body)), "400 malformed", JSON.stringify(body).slice(0, 80));
  }
  assert.equal(await problem(await sandbox.post("x".repeat(5 * 1024 * 1024))), "413 too-large");
  assert.equal(await problem(await fetch(`${sandbox.url}/v1/nothing`)), "404 not-found");
  assert.equal(await problem(await fetch(`${sandbox.url}/v1/egress`)), "400 malformed");
  assert.equal((await sandbox.post(CALL)).status, 200);
});

test("bytes that are no HTTP get 400", async (t) => {
  const { port } = await openSandbox(t);
  const socket = connect(port, "127.0.0.1");
  socket.end("\x16\x03\x01 hello\r\n\r\n");
  const [answer] = (await once(socket, "data")) as [Buffer];
  assert.match(answer.toString(), /^HTTP\/1\.1 400 [^]*problems\/malformed/);
});

test("bad arguments are results that the model can repair", async (t) => {
  const sandbox = await openBound(t);
  const contents = [];
  for (const [tool, given] of [["bash", {}], ["bash", { command: 1 }], ["bash", { command: "a\0b" }], ["read", { path: "" }], ["read", { path: "a", offset: 0 }], ["write", { path: "a" }],
    ["edit", { path: "a", oldText: "x", newText: "y", replaceAll: "yes" }], ["glob", { patern: "*" }]] as const) {
    const { status, content } = await sandbox.run(tool, given);
    assert.equal(status, "error");
    contents.push(content);
  }
  assert.deepEqual(contents, [
    "argument command of bash is missing", "argument command of bash must be a text", "argument command of bash must not hold a null byte", "argument path of read must not be empty",
    "argument offset of read must be an integer of 1 or more", "argument content of write is missing", "argument replaceAll of edit must be true or false", 'glob has no argument "patern"; it has pattern, path',
  ]);
});

test("closing the connection kills the call's whole tree, also what left its group, session or environment", async (t) => {
  const sandbox = await openBound(t);
  const sleep = ownSleep();
  const command = `trap '' TERM; (trap '' TERM; setsid sleep ${sleep}) & nohup sleep ${sleep} & setsid env -i setsid /bin/sh -c 'sleep ${sleep}; true' & sleep ${sleep}; echo never`;
  const leave = new AbortController();
  const asked = sandbox.post({ ...CALL, arguments: { command } }, undefined, leave.signal);
  await until("four to run", () => pidsOf(sleep).length === 4);
  leave.abort();
  await assert.rejects(asked);
  await until("all to be killed", () => pidsOf(sleep).length === 0);
});

test("a takeover ends the earlier runner's connections and all its processes before it is answered", async (t) => {
  const sandbox = await openBound(t);
  const [background, running] = [ownSleep(), ownSleep()];
  await sandbox.run("bash", { command: `setsid nohup sleep ${background} >/dev/null 2>&1 &` });
  const asked = sandbox.post({ ...CALL, arguments: { command: `trap '' TERM; sleep ${running} & wait; sleep ${running}` } });
  const lost = assert.rejects(asked);
  await until("both to run", () => pidsOf(background).length === 1 && pidsOf(running).length > 0);
  const bound = await sandbox.bind(2);
  assert.equal(bound.status, 200);
  assert.deepEqual([...pidsOf(background), ...pidsOf(running)], []);
  await lost;
});

test("32 calls run at once, and more are told to wait", async (t) => {
  const sandbox = await openBound(t);
  const sleep = ownSleep();
  const ask = async (index: number): Promise<number> => (await sandbox.post({ ...CALL, call: `c/${index}`, arguments: { command: `exec sleep ${sleep}` } })).status;
  const asked = Array.from({ length: 32 }, (_, index) => ask(index));
  await until("32 to run", () => pidsOf(sleep).length === 32);
  assert.equal(await problem(await sandbox.post({ ...CALL, call: "one more" })), "429 limit");
  for (const pid of pidsOf(sleep)) process.kill(pid);
  assert.deepEqual([...new Set(await Promise.all(asked))], [200]);
  assert.equal((await sandbox.post({ ...CALL, call: "one more" })).status, 200, "a call that was not run may be asked for again");
});

/** A DNS server that holds its answers back until it is told to give them. */
async function slowTarget(t: TestContext): Promise<{ target: object; questions: () => number; answer: () => void }> {
  const socket = createSocket("udp4").bind(0, "127.0.0.1");
  await once(socket, "listening");
  t.after(() => { socket.close(); });
  const held: RemoteInfo[] = [];
  let answering = false;
  socket.on("message", (_, from: RemoteInfo) => {
    held.push(from);
    if (answering) socket.send("x", from.port, from.address);
  });
  const answer = (): void => {
    answering = true;
    for (const from of held) socket.send("x", from.port, from.address);
  };
  return { target: { name: "slow", host: "127.0.0.1", port: socket.address().port, protocol: "dns" }, questions: () => held.length, answer };
}

test("nothing is served before the first bind's probe is over; binds beside it and after it get the same report", async (t) => {
  const sandbox = await openSandbox(t, { probe: { silenceMs: 60_000, patienceMs: 0, pauseMs: 1 } });
  const { target, questions, answer } = await slowTarget(t);
  const other = { name: "other", host: "127.0.0.1", port: 1, protocol: "tcp" };
  const binds = [sandbox.bind(1, undefined, { probe: [target] })];
  await until("the probe to ask", () => questions() === 1);
  binds.push(sandbox.bind(1, undefined, { probe: [other] }));
  assert.equal(await problem(await sandbox.post(CALL)), "503 unavailable");
  assert.equal(await problem(await sandbox.putFiles({ files: [] })), "503 unavailable");
  await assert.rejects(openPeer(sandbox.port), /^Error: 503/);
  assert.equal((await fetch(`${sandbox.url}/healthz`)).status, 200);
  answer();
  const replies = (await Promise.all((await Promise.all(binds)).map((reply) => reply.json()))) as { isolation: unknown }[];
  const shown = `slow (dns 127.0.0.1:${String((target as { port: number }).port)})`;
  for (const { isolation } of replies) assert.deepEqual(isolation, { probed: [shown], open: [shown] });
  assert.equal((await sandbox.post(CALL)).status, 200);
  const later = (await (await sandbox.bind(2, undefined, { probe: [other] })).json()) as { isolation: unknown };
  assert.deepEqual(later.isolation, { probed: [shown], open: [shown] });
  assert.equal(questions(), 1, "it was asked once in the pod's life");
});

test("a runner that goes away during the probe leaves it to the next, which a newer runner gets at once", async (t) => {
  const sandbox = await openSandbox(t, { probe: { silenceMs: 60_000, patienceMs: 0, pauseMs: 1 } });
  const { target, questions, answer } = await slowTarget(t);
  const first = sandbox.bind(1, undefined, { probe: [target] });
  const lost = assert.rejects(first);
  await until("the probe to ask", () => questions() === 1);
  const second = sandbox.bind(2, undefined, { probe: [target] });
  await lost;
  answer();
  const reply = (await (await second).json()) as { isolation: { open: unknown[] } };
  assert.equal(reply.isolation.open.length, 1);
  assert.equal(questions(), 1);
});

test("binds that are malformed bind nothing", async (t) => {
  const sandbox = await openSandbox(t);
  for (const body of [{ probe: {} }, { probe: [{}] }, { trust: 7 }, { trust: "-----BEGIN PRIVATE KEY-----\n" }, { session: "" }]) {
    assert.equal(await problem(await sandbox.bind(1, "another", body)), "400 malformed", JSON.stringify(body));
  }
  assert.equal((await sandbox.bind(1)).status, 200);
});

test("commands, which connect from the pod itself, get no place at the tool server", async (t) => {
  const { url } = await openSandbox(t, { local: "refused" });
  await assert.rejects(fetch(`${url}/healthz`));
  for (const [remoteAddress, localAddress, expected] of [["127.0.0.1", "127.0.0.1", true], ["::ffff:127.0.0.2", "::ffff:10.0.0.7", true], ["::1", "::1", true], ["10.0.0.7", "10.0.0.7", true],
    ["10.0.0.8", "10.0.0.7", false], ["::ffff:10.0.0.8", "::ffff:10.0.0.7", false], ["fd00::8", "fd00::7", false]] as const) {
    assert.equal(isLocal({ remoteAddress, localAddress }), expected, remoteAddress);
  }
});
