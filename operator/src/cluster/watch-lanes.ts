import { type OpenStream, openStream } from "./exchange.ts";
import type { Lane } from "./session.ts";

/** The connections that watches have to themselves: as many as they need, the first with room first. */
export interface WatchLanes {
  open(path: string, headers: Readonly<Record<string, string>>): Promise<OpenStream>;
  close(): void;
}

interface WatchLane {
  readonly lane: Lane;
  watches: number;
}

// The API server takes 250 streams on a connection (100 behind some proxies); what is beyond waits without a word.
const WATCHES_PER_LANE = 64;

export function createWatchLanes(create: () => Lane): WatchLanes {
  const lanes: WatchLane[] = [];
  const pick = (): WatchLane => {
    const free = lanes.find(({ watches }) => watches < WATCHES_PER_LANE);
    if (free !== undefined) return free;
    const added: WatchLane = { lane: create(), watches: 0 };
    lanes.push(added);
    return added;
  };
  return {
    open: async (path, headers) => {
      const on = pick();
      on.watches += 1;
      const leave = (): void => {
        on.watches -= 1;
      };
      const opened = await openStream(on.lane, path, headers).catch((error: unknown) => {
        leave();
        throw error;
      });
      // Closed already: the event will not come again.
      if (opened.stream.closed) leave();
      else opened.stream.once("close", leave);
      return opened;
    },
    close: () => {
      for (const { lane } of lanes) lane.close();
    },
  };
}
