import assert from "node:assert/strict";
import { createServer } from "node:http";
import type { ServerResponse } from "node:http";
import { connect } from "node:net";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { openEventStream } from "./stream.ts";

/** The server's side of a request whose client reads nothing after it was sent. */
async function openStuck(context: TestContext): Promise<{ outgoing: ServerResponse; disconnect: () => void }> {
  const { promise, resolve } = Promise.withResolvers<ServerResponse>();
  const server = createServer((_, response) => resolve(response));
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  socket.pause();
  // The server cuts it.
  socket.on("error", () => undefined);
  socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  context.after(async () => {
    socket.destroy();
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  });
  return { outgoing: await promise, disconnect: () => socket.destroy() };
}

const message = { event: "log", id: "1", data: "x".repeat(1_000_000) };

test("a reader that takes nothing is cut when the write time-out is over", async (context) => {
  const { outgoing } = await openStuck(context);
  const stream = openEventStream(outgoing, { writeTimeoutMs: 50, shutdown: new AbortController().signal });
  let sent = 0;
  while (!stream.signal.aborted) {
    await stream.send(message);
    sent += 1;
    // What was destroyed says so in a later turn of the event loop.
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(sent >= 1);
  assert.equal(outgoing.destroyed, true);
  await stream.send(message);
  stream.end();
});

test("a stop of the server ends a write that waits for a slow reader", async (context) => {
  const { outgoing } = await openStuck(context);
  const shutdown = new AbortController();
  const stream = openEventStream(outgoing, { writeTimeoutMs: 3_600_000, shutdown: shutdown.signal });
  const writing = (async () => {
    while (!stream.signal.aborted) await stream.send(message);
  })();
  setImmediate(() => shutdown.abort());
  await writing;
  assert.equal(stream.signal.aborted, true);
});

test("a reader that goes away aborts the stream", async (context) => {
  const { outgoing, disconnect } = await openStuck(context);
  const stream = openEventStream(outgoing, { writeTimeoutMs: 3_600_000, shutdown: new AbortController().signal });
  const aborted = new Promise((resolve) => stream.signal.addEventListener("abort", resolve));
  disconnect();
  await aborted;
  await stream.send(message);
});
