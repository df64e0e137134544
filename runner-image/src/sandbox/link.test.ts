import assert from "node:assert/strict";
import { connect as connectHttp2 } from "node:http2";
import type { ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import { rm } from "node:fs/promises";
import { createServer, request } from "node:http";
import type { Server } from "node:http";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import type { SandboxCall } from "@paddock/api/wire/sandbox";
import { openSandbox } from "../../../sandbox-image/src/testdata/sandbox.ts";
import type { Sandbox } from "../../../sandbox-image/src/testdata/sandbox.ts";
import { fileAt } from "../testdata/file.ts";
import { startRelay } from "../testdata/relay.ts";
import { CallRefused, LinkLost, openLink } from "./link.ts";
import type { Link, LinkPorts, LinkTarget } from "./link.ts";

const PORTS: LinkPorts = { random: () => 0, probe: () => Promise.resolve([]), trust: () => Promise.resolve(""), serve: refuseAll };
const KEY = "bind-key-0123456789-0123456789-0123456789";
const never = new AbortController().signal;

/** What stands in for the proxy where the test is not about it. */
function refuseAll(session: ServerHttp2Session): void {
  session.on("stream", (stream: ServerHttp2Stream) => {
    stream.on("error", () => undefined);
    if (stream.destroyed) return;
    stream.respond({ ":status": 403 });
    stream.end("refused by the test");
  });
}

function target({ port }: Pick<Sandbox, "port">, change: Partial<LinkTarget> = {}): LinkTarget {
  return { host: "127.0.0.1", port, bindKey: KEY, epoch: 1, session: "u1", files: [], keepExisting: false, ...change };
}

async function open(t: TestContext, to: LinkTarget, ports: Partial<LinkPorts> = {}): Promise<Link> {
  const link = await openLink(to, { ...PORTS, ...ports }, never);
  t.after(() => link.close("the test ends"));
  return link;
}

function bash(command: string, change: Partial<SandboxCall> = {}): SandboxCall {
  return { call: "root/1/0", attempt: 1, tool: "bash", arguments: { command }, timeoutSeconds: 20, ...change };
}

test("calls run in the sandbox and bring their results", async (t) => {
  const link = await open(t, target(await openSandbox(t)));
  const [one, two] = await Promise.all([link.call(bash("echo one"), never), link.call(bash("echo two; exit 3", { call: "root/1/1" }), never)]);
  assert.match(one.content, /one/);
  assert.match(two.content, /two[^]*3/);
  await assert.rejects(link.call(bash("x", { tool: "fly" as never, call: "root/1/2" }), never), CallRefused);
});

test("a new sandbox has the session's files before its first call, and keeps what calls make of them", async (t) => {
  const files = [{ path: "notes/a.md", content: "given\n" }];
  const [first, second] = [await openSandbox(t), await openSandbox(t)];
  const link = await open(t, target(first, { files }));
  assert.match((await link.call(bash("cat notes/a.md; echo mine > notes/a.md"), never)).content, /^given/);
  link.close("the runner is lost");
  const again = await open(t, target(first, { files, epoch: 2 }));
  assert.match((await again.call(bash("cat notes/a.md", { call: "root/2/0" }), never)).content, /^mine/);
  const other = await open(t, target(second, { files, epoch: 2 }));
  assert.match((await other.call(bash("cat notes/a.md"), never)).content, /^given/);
});

test("a sandbox that does not take the files is lost, and says why", async (t) => {
  const sandbox = await openSandbox(t);
  await rm(sandbox.workspace, { recursive: true });
  const opened = openLink(target(sandbox, { files: [{ path: "a", content: "" }] }), PORTS, never);
  await assert.rejects(opened, (error) => error instanceof LinkLost && /does not take the session's files \(spec\.files\): a does not exist/.test(error.message));
});

test("aborting a call ends its processes", async (t) => {
  const sandbox = await openSandbox(t);
  const link = await open(t, target(sandbox));
  const stop = new AbortController();
  const ended = link.call(bash("trap 'touch stopped; exit' TERM; touch running; while :; do sleep 0.05; done"), stop.signal);
  await fileAt(join(sandbox.workspace, "running"));
  stop.abort(new Error("cancelled"));
  await assert.rejects(ended, /cancelled/);
  // The link is still good.
  assert.match((await link.call(bash("echo on", { call: "root/1/1" }), never)).content, /on/);
});

test("programs in the sandbox reach the runner's proxy and read its refusal", async (t) => {
  const sandbox = await openSandbox(t);
  await open(t, target(sandbox));
  const tunnel = await new Promise<{ status: number | undefined }>((resolve, reject) => {
    request({ port: sandbox.proxyPort, method: "CONNECT", path: "example.com:443" })
      .once("connect", ({ statusCode }, socket) => {
        socket.destroy();
        resolve({ status: statusCode });
      })
      .once("error", reject)
      .end();
  });
  assert.equal(tunnel.status, 403);
  const plain = await new Promise<string>((resolve, reject) => {
    request({ port: sandbox.proxyPort, path: "http://example.com/a", method: "POST" }, (response) => {
      let text = String(response.statusCode);
      response.setEncoding("utf8").on("data", (more: string) => (text += more)).once("end", () => resolve(text));
    })
      .once("error", reject)
      .end("x".repeat(100_000));
  });
  assert.equal(plain, "403refused by the test");
});

test("a newer epoch takes the sandbox over, and the older link is lost", async (t) => {
  const sandbox = await openSandbox(t);
  const older = await open(t, target(sandbox));
  const running = assert.rejects(older.call(bash("sleep 300"), never), LinkLost);
  const newer = await open(t, target(sandbox, { epoch: 2 }));
  await running;
  await older.closed;
  assert.match((await newer.call(bash("echo mine", { call: "root/1/1" }), never)).content, /mine/);
  await assert.rejects(openLink(target(sandbox), PORTS, never), LinkLost, "the older epoch is refused at once");
});

test("the same epoch binds again after its connection broke", async (t) => {
  const sandbox = await openSandbox(t);
  (await open(t, target(sandbox))).close("broke");
  assert.match((await (await open(t, target(sandbox))).call(bash("echo again"), never)).content, /again/);
});

test("a sandbox of another session is refused at once", async (t) => {
  const sandbox = await openSandbox(t);
  await open(t, target(sandbox));
  await assert.rejects(openLink(target(sandbox, { bindKey: "another-key-0123456789-0123456789-01" }), PORTS, never), LinkLost);
});

test("a tool server that does not come up is given up, and a cancelled wait ends", async () => {
  await assert.rejects(openLink(target({ port: 9 }), { ...PORTS, connectMs: 0 }, never), LinkLost);
  const stop = new AbortController();
  const waiting = openLink(target({ port: 9 }), PORTS, stop.signal);
  stop.abort(new Error("cancelled"));
  await assert.rejects(waiting, /cancelled/);
});

test("a sandbox that was cut off without a word is noticed, and its calls are let go", async (t) => {
  const sandbox = await openSandbox(t);
  const relay = await startRelay(t, sandbox.port);
  const link = await open(t, target({ port: relay.port }), { pings: { everyMs: 20, answerMs: 60 } });
  const running = assert.rejects(link.call(bash("sleep 300"), never), LinkLost);
  relay.freeze();
  await running;
  assert.match(await link.closed, /broke/);
});

async function listen(t: TestContext, hostile: Server): Promise<LinkTarget> {
  await new Promise<void>((resolve) => hostile.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    hostile.closeAllConnections();
    hostile.close();
  });
  const address = hostile.address();
  assert.ok(typeof address === "object" && address !== null);
  return target(address);
}

test("garbage on the channel ends the link, not the process", async (t) => {
  const hostile = createServer((_request, response) => void response.writeHead(200, { "content-type": "application/json" }).end('{"workspace":"/workspace","protocol":1}'));
  hostile.on("upgrade", (_request, socket) => {
    socket.on("error", () => undefined);
    socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: paddock-egress\r\n\r\nnot http2 at all, but long enough to be read as a preface");
  });
  const link = await open(t, await listen(t, hostile));
  await link.closed;
  await assert.rejects(link.call(bash("true"), never), LinkLost);
});

/** The link to a server that takes the channel as a sandbox does; the test says how it answers calls. */
async function openHostile(t: TestContext, hostile: Server): Promise<Link> {
  hostile.on("upgrade", (_request, socket) => {
    socket.on("error", () => undefined);
    socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: paddock-egress\r\n\r\n");
    connectHttp2("http://runner", { createConnection: () => socket }).on("error", () => undefined);
  });
  return open(t, await listen(t, hostile));
}

test("a sandbox that answers more than a result may have is let go", async (t) => {
  const hostile = createServer((asked, response) => {
    if (asked.url !== "/v1/calls") return void response.end('{"workspace":"/workspace","protocol":1}');
    const flood = (): void => {
      while (response.write(Buffer.alloc(65_536, "x")));
      response.once("drain", flood);
    };
    response.on("error", () => undefined);
    flood();
  });
  const link = await openHostile(t, hostile);
  await assert.rejects(link.call(bash("true"), never), /more than \d+ bytes/);
});

test("a sandbox that turns a call's connection round instead of answering is let go", { timeout: 60_000 }, async (t) => {
  const hostile = createServer((asked, response) => {
    if (asked.url !== "/v1/calls") return void response.end('{"workspace":"/workspace","protocol":1}');
    asked.socket.on("error", () => undefined);
    asked.socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: paddock-egress\r\n\r\n");
  });
  const link = await openHostile(t, hostile);
  await assert.rejects(link.call(bash("true"), never), LinkLost);
});
