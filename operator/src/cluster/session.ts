import { type ClientHttp2Session, connect } from "node:http2";
import type { Connection } from "./connect.ts";
import { ConnectionError } from "./errors.ts";

/** One HTTP/2 connection to the API server, replaced when it goes away; made when first needed. */
export interface Lane {
  /** A session that takes requests. Throws a ConnectionError, never ambiguous. */
  session(): Promise<ClientHttp2Session>;
  close(): void;
}

export interface LaneOptions {
  readonly connectTimeoutMs: number;
  /** How often an idle or busy connection must prove that it lives, and how long it may take to. */
  readonly pingEveryMs: number;
  readonly pingTimeoutMs: number;
}

export const LANE_OPTIONS: LaneOptions = { connectTimeoutMs: 10_000, pingEveryMs: 20_000, pingTimeoutMs: 10_000 };

const MAX_TRIES = 3;

/** `onOpened`: one call per connection that was made. */
export function createLane(connection: Connection, options: LaneOptions = LANE_OPTIONS, onOpened: () => void = () => undefined): Lane {
  let current: Promise<ClientHttp2Session> | undefined;
  // The current session and those that went away but still carry streams.
  const all = new Set<ClientHttp2Session>();
  let closed = false;

  const open = async (): Promise<ClientHttp2Session> => {
    const session = connect(connection.url, { ...(await tlsOf(connection)), maxSessionMemory: 256, settings: { enablePush: false, initialWindowSize: 1024 * 1024 } });
    const retire = (): void => {
      if (current === mine) current = undefined;
    };
    const mine = current;
    all.add(session);
    session.on("goaway", retire);
    session.on("close", () => {
      all.delete(session);
      retire();
    });
    await connected(session, connection.url, options.connectTimeoutMs);
    onOpened();
    // By default a session takes 64 KiB for all streams together before it waits for the peer.
    session.setLocalWindowSize(16 * 1024 * 1024);
    keepAlive(session, options);
    if (closed) session.destroy();
    return session;
  };

  const opened = (): Promise<ClientHttp2Session> => {
    const opening = Promise.resolve().then(open);
    current = opening;
    opening.catch(() => {
      if (current === opening) current = undefined;
    });
    return opening;
  };

  return {
    session: async () => {
      for (let tries = 0; tries < MAX_TRIES; tries += 1) {
        if (closed) break;
        const opening = current ?? opened();
        const session = await opening;
        if (!session.closed && !session.destroyed) return session;
        // Closed a moment ago, and its event has not come yet.
        if (current === opening) current = undefined;
      }
      throw new ConnectionError(closed ? "the client is closed" : `the API server at ${connection.url} closes each connection at once`, false);
    },
    close: () => {
      closed = true;
      current = undefined;
      for (const session of all) session.destroy();
    },
  };
}

async function tlsOf(connection: Connection): ReturnType<Connection["tls"]> {
  try {
    return await connection.tls();
  } catch (error) {
    throw new ConnectionError(`cannot read the API server's CA or our client certificate: ${String(error)}`, false, error);
  }
}

function connected(session: ClientHttp2Session, url: string, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (reason: string, cause?: unknown): void => {
      clearTimeout(timer);
      session.destroy();
      reject(new ConnectionError(`cannot connect to the API server at ${url}: ${reason}`, false, cause));
    };
    const timer = setTimeout(() => fail(`no answer within ${timeoutMs / 1000} s`), timeoutMs);
    session.on("error", (error: Error) => fail(error.message, error));
    session.once("close", () => fail("closed"));
    session.once("connect", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

function keepAlive(session: ClientHttp2Session, { pingEveryMs, pingTimeoutMs }: LaneOptions): void {
  let deadline: NodeJS.Timeout | undefined;
  const interval = setInterval(() => {
    if (deadline !== undefined || session.destroyed) return;
    deadline = setTimeout(() => session.destroy(new Error(`no answer to a ping within ${pingTimeoutMs / 1000} s`)), pingTimeoutMs);
    session.ping(() => {
      clearTimeout(deadline);
      deadline = undefined;
    });
  }, pingEveryMs);
  session.once("close", () => {
    clearInterval(interval);
    clearTimeout(deadline);
  });
}
