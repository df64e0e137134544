import { type AddressInfo, type Server, type Socket, connect, createServer } from "node:net";

// A TCP proxy that misbehaves on demand. It passes bytes, TLS or not, and looks at none.

/**
 * pass: bytes flow. hole: connections stay open and nothing arrives in either direction any more, as with a cable pulled. refuse: connections are
 * ended as soon as they are made, open ones reset.
 */
export type ProxyMode = "pass" | "hole" | "refuse";

export interface TcpProxy {
  readonly port: number;
  /** For open connections and those to come; what went into a hole is lost with its connection. */
  setMode(mode: ProxyMode): void;
  /** Milliseconds by which every piece is late, in each direction. */
  setDelay(ms: number): void;
  /** Resets all open connections. */
  reset(): void;
  /** Resets each connection right before it would pass the next piece from the server; the server has had the whole request by then. */
  loseNextAnswers(): void;
  /** Passes so many more bytes from the server on all connections together, then resets them. */
  cutAfter(bytes: number): void;
  /** Connections accepted so far. */
  accepted(): number;
  close(): Promise<void>;
}

export async function startTcpProxy(target: { readonly host: string; readonly port: number }): Promise<TcpProxy> {
  const pairs = new Set<readonly [Socket, Socket]>();
  const holes = new WeakSet<Socket>();
  let mode: ProxyMode = "pass";
  let delayMs = 0;
  let accepted = 0;
  let loses = false;
  let bytesLeft = Infinity;

  const reset = (): void => {
    for (const pair of pairs) for (const socket of pair) socket.resetAndDestroy();
  };

  const pump = (from: Socket, to: Socket, isAnswer: boolean): void => {
    const send = (chunk: Buffer): void => {
      if (to.destroyed || holes.has(to)) return;
      const part = isAnswer ? chunk.subarray(0, bytesLeft) : chunk;
      if (isAnswer) bytesLeft -= part.length;
      if (!to.write(part)) {
        from.pause();
        to.once("drain", () => from.resume());
      }
      if (isAnswer && bytesLeft <= 0) setImmediate(cut);
    };
    from.on("data", (chunk: Buffer) => {
      // What fell into a hole never comes out again: the stream behind it would have a gap.
      if (mode === "hole") for (const socket of [from, to]) holes.add(socket);
      if (isAnswer && loses) return cut();
      if (delayMs === 0) send(chunk);
      else setTimeout(() => send(chunk), delayMs);
    });
    from.on("end", () => {
      if (mode !== "hole" && !holes.has(from)) to.end();
    });
    from.on("error", () => undefined);
    from.on("close", () => {
      if (mode !== "hole" && !holes.has(from)) to.destroy();
    });
  };

  const cut = (): void => {
    loses = false;
    bytesLeft = Infinity;
    reset();
  };

  const server: Server = createServer({ noDelay: true }, (inner) => {
    accepted += 1;
    if (mode === "refuse") return void inner.resetAndDestroy();
    const outer = connect({ ...target, noDelay: true });
    const pair = [inner, outer] as const;
    pairs.add(pair);
    for (const socket of pair) socket.on("close", () => void (pair.every(({ destroyed }) => destroyed) && pairs.delete(pair)));
    pump(inner, outer, false);
    pump(outer, inner, true);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));

  return {
    port: (server.address() as AddressInfo).port,
    setMode: (next) => {
      mode = next;
      if (mode === "refuse") reset();
    },
    setDelay: (ms) => {
      delayMs = ms;
    },
    reset,
    loseNextAnswers: () => {
      loses = true;
    },
    cutAfter: (bytes) => {
      bytesLeft = bytes;
    },
    accepted: () => accepted,
    close: () => {
      for (const pair of pairs) for (const socket of pair) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
