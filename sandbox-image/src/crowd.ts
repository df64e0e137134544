import type { Log } from "./log.ts";
import type { ProcessTable } from "./processes.ts";

/** More processes at once than any build needs. */
const MOST_OF_RUN = 512;
const MOST_IN_ALL = 1024;
/** Between two looks; more when a look is slow, so that looking costs a tenth of a processor at most. */
const LEAST_PAUSE_MS = 100;
const MOST_PAUSE_MS = 500;

/** Why a run is stopped that has too many processes; they get no time to end by themselves, because they would use it to become more. */
export class TooManyProcesses extends Error {}

/**
 * Looks at the processes of commands as long as there are any, and ends those of a run that has more than 512, also when its call was over long
 * ago; when all together are more than 1,024, it ends all. A limit of the kernel cannot do it: RLIMIT_NPROC counts a user's processes on the
 * whole node, and without user namespaces every sandbox there has the same user, so that one could use up the others' share.
 */
export interface CrowdWatch {
  /** A run begins. */
  wake(): void;
}

export interface CrowdPorts {
  readonly processes: Pick<ProcessTable, "count" | "stop" | "stopAll">;
  /** Aborts a run that is under way, all without a mark; false when there is none. */
  readonly stopRun: (reason: TooManyProcesses, mark?: number) => boolean;
  readonly log: Log;
}

export function createCrowdWatch({ processes, stopRun, log }: CrowdPorts): CrowdWatch {
  let timer: NodeJS.Timeout | undefined;

  /** Gives back whether there is anything to look at. */
  async function look(): Promise<boolean> {
    const counts = processes.count();
    const all = [...counts.values()].reduce((sum, count) => sum + count, 0);
    if (all > MOST_IN_ALL) await endAll(all);
    else await Promise.all([...counts].filter(([, count]) => count > MOST_OF_RUN).map(([mark, count]) => endOne(mark, count)));
    return all > 0;
  }

  async function endAll(count: number): Promise<void> {
    log("warn", "too many processes together: all are killed", { count });
    stopRun(new TooManyProcesses(`more than ${MOST_IN_ALL} processes at once in the sandbox`));
    if (!(await processes.stopAll(false))) log("warn", "a process outlived SIGKILL");
  }

  async function endOne(mark: number, count: number): Promise<void> {
    log("warn", "too many processes of one call: they are killed", { count });
    // The run kills them itself; what one has left behind has nobody else.
    if (!stopRun(new TooManyProcesses(`more than ${MOST_OF_RUN} processes at once`), mark)) await processes.stop(mark, false);
  }

  function schedule(pauseMs: number): void {
    timer = setTimeout(() => {
      const startedAt = performance.now();
      void look().then((more) => {
        timer = undefined;
        if (more) schedule(Math.min(MOST_PAUSE_MS, Math.max(LEAST_PAUSE_MS, 10 * (performance.now() - startedAt))));
      });
    }, pauseMs).unref();
  }

  return { wake: () => { if (timer === undefined) schedule(LEAST_PAUSE_MS); } };
}
