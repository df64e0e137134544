import type { Client } from "pg";
import type { Database } from "./postgres-connection.ts";

/** Waits before the next attempts to connect again, in milliseconds; the last one for ever. */
const RECONNECT_WAITS_MS = [50, 100, 200, 500, 1000, 2000, 5000];

export interface ListenerOptions {
  readonly database: Database;
  /** A notification of one of these channels. */
  readonly channels: readonly string[];
  heard(channel: string, payload: string): void;
  /** After each connection, the first one too: what was said before it was not heard. */
  connected(): void;
}

/**
 * Holds a connection that listens, and makes it anew when it breaks. Resolves when it listens for the first time, rejects when that fails. `close`
 * ends it.
 */
export async function openListener(options: ListenerOptions): Promise<{ close(): Promise<void> }> {
  let client: Client | undefined;
  let timer: NodeJS.Timeout | undefined;
  let isClosed = false;

  const connect = async (): Promise<void> => {
    const made = await options.database.connect();
    made.on("notification", ({ channel, payload = "" }) => {
      if (made === client) options.heard(channel, payload);
    });
    made.once("end", () => {
      if (made === client) reconnect(0);
    });
    client = made;
    try {
      for (const channel of options.channels) await made.query(`LISTEN ${channel}`);
    } catch (error) {
      client = undefined;
      void made.end().catch(() => undefined);
      throw error;
    }
    // Closed while it connected.
    if (isClosed) await made.end();
    else options.connected();
  };
  const reconnect = (failures: number): void => {
    client = undefined;
    if (isClosed) return;
    timer = setTimeout(() => void connect().catch(() => reconnect(failures + 1)), RECONNECT_WAITS_MS[failures] ?? RECONNECT_WAITS_MS.at(-1));
    timer.unref();
  };

  await connect();
  return {
    close: async () => {
      isClosed = true;
      clearTimeout(timer);
      const last = client;
      client = undefined;
      await last?.end();
    },
  };
}
