import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { connect } from "node:tls";
import type { TLSSocket } from "node:tls";
import { send } from "../../test/fakes/client.ts";
import { startLocalGateway } from "../../test/fakes/gateway.ts";
import type { LocalGateway } from "../../test/fakes/gateway.ts";

// What a stranger can make the gateway hold, without a valid token.

let gateway: LocalGateway;

before(async () => {
  gateway = await startLocalGateway();
});
after(() => gateway.close());

async function dial(): Promise<TLSSocket> {
  const { hostname, port } = new URL(gateway.url);
  const socket = connect({ host: hostname, port: Number(port), ca: gateway.ca });
  await once(socket, "secureConnect");
  return socket;
}

/** All that comes until the other side closes. */
async function readAll(socket: TLSSocket): Promise<string> {
  const chunks: Buffer[] = [];
  // A cut connection is an end like any other here.
  socket.on("error", () => undefined);
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  await once(socket, "close");
  return Buffer.concat(chunks).toString("utf8");
}

test("a request's headers are bounded", async () => {
  const socket = await dial();
  const answer = readAll(socket);
  socket.write(`GET /v1/records HTTP/1.1\r\nhost: x\r\nx-large: ${"x".repeat(40_000)}\r\n\r\n`);
  assert.match(await answer, /^HTTP\/1\.1 431 /);
});

test("a token longer than any is refused without a question to the API server", async () => {
  const asked = gateway.reviews.asked("tokenreviews");
  const { status } = await send(gateway, { path: "/v1/records", token: "x".repeat(20_000) });
  assert.deepEqual([status, gateway.reviews.asked("tokenreviews")], [401, asked]);
});

test("what is sent without a valid token is not read", async () => {
  const socket = await dial();
  const answer = readAll(socket);
  socket.write("PUT /v1/records/x HTTP/1.1\r\nhost: x\r\nauthorization: Bearer nobody\r\ncontent-length: 1000000000000\r\n\r\n{");
  // The answer comes though the body never will.
  const [first] = (await once(socket, "data")) as [Buffer];
  assert.match(first.toString("utf8"), /^HTTP\/1\.1 401 /);
  socket.destroy();
  await answer;
});

test("TLS before 1.2 is refused", async () => {
  const { hostname, port } = new URL(gateway.url);
  const socket = connect({ host: hostname, port: Number(port), ca: gateway.ca, minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT:@SECLEVEL=0" });
  const [error] = (await once(socket, "error")) as [NodeJS.ErrnoException];
  assert.match(error.code ?? "", /PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|ECONNRESET/);
});
