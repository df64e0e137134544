import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import type { TestContext } from "node:test";

/** Connections on loopback through a relay that can be told to break them. */
export interface Relay {
  readonly port: number;
  /** Resolves at the first connection. */
  readonly reached: Promise<void>;
  /** The next request goes through, and its connection is cut instead of bringing the answer. Streams that are open are not touched. */
  loseNextAnswer(): void;
  /** Whether that has happened. */
  hasLost(): boolean;
  /** From now on nothing is passed on, in either direction, and nothing is closed. */
  freeze(): void;
}

/** A relay before the server on this port; closed with the test. */
export async function startRelay(t: TestContext, target: number): Promise<Relay> {
  const sockets = new Set<Socket>();
  let asking: Set<Socket> | undefined;
  let frozen = false;
  const { promise: reached, resolve: onReached } = Promise.withResolvers<void>();
  const server = createServer((client) => {
    onReached();
    const upstream = connect(target, "127.0.0.1");
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => undefined).once("close", () => sockets.delete(socket));
    }
    client.on("data", (data) => {
      if (frozen) return;
      asking?.add(client);
      upstream.write(data);
    });
    upstream.on("data", (data) => {
      if (frozen) return;
      if (asking?.has(client) !== true) return void client.write(data);
      asking = undefined;
      client.resetAndDestroy();
    });
    client.once("close", () => upstream.destroy());
    upstream.once("close", () => client.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return {
    reached,
    port: (server.address() as AddressInfo).port,
    loseNextAnswer: () => (asking = new Set()),
    hasLost: () => asking === undefined,
    freeze: () => (frozen = true),
  };
}
