/** Prints what is happening, one line per step, each with the seconds since the start. */
export interface Progress {
  (text: string): void;
  /**
   * Runs `work` as one step: its line is printed when it ends, with its duration; while it runs, a heartbeat line
   * every 20 seconds says that it still does. An error is passed on unprinted.
   */
  during<T>(text: string, work: () => Promise<T>): Promise<T>;
}

const heartbeatMs = 20_000;

/** Opens a progress printer whose clock starts now. `write` gets whole lines. */
export function openProgress(write: (line: string) => void = (line) => process.stdout.write(line)): Progress {
  const startedAt = performance.now();
  const print = (text: string): void => write(`[${secondsSince(startedAt).padStart(6)}s] ${text}\n`);
  const during = async <T>(text: string, work: () => Promise<T>): Promise<T> => {
    const stepAt = performance.now();
    const heartbeat = setInterval(() => print(`… ${text}: ${Math.round((performance.now() - stepAt) / 1000)} s so far`), heartbeatMs);
    heartbeat.unref();
    try {
      const result = await work();
      print(`${text} (${secondsSince(stepAt)} s)`);
      return result;
    } finally {
      clearInterval(heartbeat);
    }
  };
  return Object.assign(print, { during });
}

/** A progress that prints nothing, for callers that only want the result. */
export const silent: Progress = Object.assign(() => {}, { during: <T>(_text: string, work: () => Promise<T>) => work() });

function secondsSince(startedAt: number): string {
  return ((performance.now() - startedAt) / 1000).toFixed(1);
}
