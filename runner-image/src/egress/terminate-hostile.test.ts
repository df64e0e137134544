import assert from "node:assert/strict";
import { randomBytes, randomInt } from "node:crypto";
import { connect as connectHttp2, constants } from "node:http2";
import { createServer as createNet } from "node:net";
import type { Socket } from "node:net";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { echo, HOST, startHost } from "./testdata/host.ts";
import type { Setting } from "./testdata/host.ts";
import { listen, startInspected } from "./testdata/inspected.ts";

// Programs that mean harm: nothing that they send may end the runner, or another program's requests.

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

async function stillServes({ lab, url }: Setting): Promise<void> {
  assert.equal((await lab.ask(url)).status, 200);
}

async function closed(t: TestContext, setting: Setting, alpn: string, pieces: readonly Buffer[]): Promise<void> {
  const socket = await setting.lab.secure(HOST, setting.port, { alpn: [alpn] });
  t.after(() => { socket.destroy(); });
  const end = new Promise((done) => socket.once("close", done));
  socket.resume();
  for (const piece of pieces) socket.write(piece);
  socket.end();
  await end;
}

test("garbage inside TLS ends its connection only", async (t) => {
  const setting = await startHost(t, echo);
  for (let round = 0; round < 8; round++) {
    const garbage = randomBytes(randomInt(1, 2_000));
    await closed(t, setting, "http/1.1", [garbage]);
    await closed(t, setting, "h2", [garbage]);
    await closed(t, setting, "h2", [PREFACE, Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]), garbage]);
  }
  await stillServes(setting);
});

test("a TLS handshake that is broken off or never finished ends its connection only", async (t) => {
  const setting = await startHost(t, echo, { limits: { handshakeMs: 300 } });
  const { lab, port } = setting;
  // A ClientHello for the right name, without what the program would say next.
  const hello = await recordHello();
  for (const isEnded of [true, false]) {
    const socket = await lab.tunnel(HOST, port);
    socket.on("error", () => undefined).resume();
    const end = new Promise((done) => socket.once("close", done));
    socket.write(hello);
    if (isEnded) socket.destroy();
    await end;
  }
  await stillServes(setting);
});

async function recordHello(): Promise<Buffer> {
  const { connect } = await import("node:tls");
  const { Duplex } = await import("node:stream");
  return new Promise((done) => {
    const wire = new Duplex({
      read: () => undefined,
      write: (chunk: Buffer, _encoding, next) => {
        done(chunk);
        next();
      },
    });
    connect({ socket: wire, servername: HOST }).on("error", () => undefined);
  });
}

test("a flood of streams that are cut off at once ends its connection at most", async (t) => {
  const setting = await startHost(t, echo);
  const socket = await setting.lab.secure(HOST, setting.port, { alpn: ["h2"] });
  const session = connectHttp2(`https://${HOST}:${setting.port}`, { createConnection: () => socket });
  session.on("error", () => undefined);
  t.after(() => { session.destroy(); });
  for (let count = 0; count < 3_000 && !session.destroyed && !session.closed; count++) {
    const stream = session.request({ ":path": `/${count}` });
    stream.on("error", () => undefined);
    stream.close(constants.NGHTTP2_CANCEL);
  }
  await stillServes(setting);
});

test("a program that hangs up in the middle of its upload was allowed, and what it sent counts", async (t) => {
  const arrived = Promise.withResolvers<undefined>();
  const setting = await startHost(t, (request) => { request.once("data", () => { arrived.resolve(undefined); }).on("error", () => undefined); });
  const { lab, port } = setting;
  const socket = await lab.secure(HOST, port);
  socket.write(`PUT / HTTP/1.1\r\nhost: ${HOST}:${port}\r\ncontent-length: 1000000\r\n\r\n${"x".repeat(1_000)}`);
  await arrived.promise;
  socket.destroy();
  while (lab.notes.length === 0) await new Promise(setImmediate);
  assert.deepEqual(lab.notes, [{ host: HOST, port, method: "PUT", decision: "Allow", rule: "network.allowedHosts[0]", sent: 1_000, received: 0 }]);
});

test("a program that sends requests ahead of their answers without end loses its connection", async (t) => {
  const setting = await startHost(t, (request, response) => { if (request.url !== "/never") response.end(); });
  const ask = (path: string): string => `GET ${path} HTTP/1.1\r\nhost: ${HOST}:${setting.port}\r\n\r\n`;
  const many = await setting.lab.secure(HOST, setting.port);
  const end = new Promise((done) => many.once("close", done));
  many.resume().write(ask("/never").repeat(1_000));
  await end;
  const few = await setting.lab.secure(HOST, setting.port);
  few.write(`${ask("/").repeat(50)}${ask("/").replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n")}`);
  const pieces: Buffer[] = [];
  for await (const piece of few) pieces.push(piece as Buffer);
  assert.equal(Buffer.concat(pieces).toString().match(/HTTP\/1\.1 200/g)?.length, 51);
});

test("a connection that is still being made when its program is gone is not kept", async (t) => {
  const knocked = Promise.withResolvers<Socket>();
  // Takes connections and says nothing.
  const port = await listen(t, createNet((socket) => { knocked.resolve(socket); }));
  const lab = await startInspected(t, { network: { allowedHosts: [{ host: HOST, ports: [port], methods: ["GET"] }] }, limits: { handshakeMs: 3_600_000 } });
  const program = await lab.secure(HOST, port);
  program.write(`GET / HTTP/1.1\r\nhost: ${HOST}:${port}\r\n\r\n`);
  const arrived = await knocked.promise;
  const end = new Promise((done) => arrived.once("close", done));
  arrived.resume();
  program.destroy();
  await end;
});
