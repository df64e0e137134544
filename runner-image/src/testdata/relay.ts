import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import type { TestContext } from "node:test";

/** Connections on loopback through a relay that can be told to break them. */
export interface Relay {
  readonly port: number;
  /** Lets everything that is sent to the server through and cuts the connection that gets the next answer, once, before the client sees it. */
  loseNextAnswer(): void;
  /** From now on nothing is passed on, in either direction, and nothing is closed. */
  freeze(): void;
}

/** A relay before the server on this port; closed with the test. */
export async function startRelay(t: TestContext, target: number): Promise<Relay> {
  const sockets = new Set<Socket>();
  let losing = false;
  let frozen = false;
  const server = createServer((client) => {
    const upstream = connect(target, "127.0.0.1");
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => undefined).once("close", () => sockets.delete(socket));
    }
    client.on("data", (data) => {
      if (!frozen) upstream.write(data);
    });
    upstream.on("data", (data) => {
      if (frozen) return;
      // A connection that only answers, not the stream: that one is told by how its bytes come unasked.
      if (losing && askedLast.get(client) === true) {
        losing = false;
        client.resetAndDestroy();
        upstream.destroy();
        return;
      }
      client.write(data);
    });
    const askedLast = new Map<Socket, boolean>();
    client.on("data", () => askedLast.set(client, true));
    client.once("close", () => upstream.destroy());
    upstream.once("close", () => client.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return {
    port: (server.address() as AddressInfo).port,
    loseNextAnswer: () => (losing = true),
    freeze: () => (frozen = true),
  };
}
