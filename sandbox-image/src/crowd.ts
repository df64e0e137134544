import type { Log } from "./log.ts";
import type { Count, ProcessTable } from "./processes.ts";

/** How many processes there may be. */
export interface CrowdLimits {
  readonly ofRun: number;
  readonly inAll: number;
}

/** More at once than any build needs. */
const LIMITS: CrowdLimits = { ofRun: 512, inAll: 1024 };
/** Between two looks, which count names: two milliseconds when there are a thousand. */
const PAUSE_MS = 100;
/** How often it is tried whether there may be one more process, and how often in a row that fails before somebody has to end. */
const TRY_EVERY_MS = 1000;
const MOST_FAILURES = 2;

/** Why a run is stopped that has too many processes; they get no time to end by themselves, because they would use it to become more. */
export class TooManyProcesses extends Error {}

/**
 * Looks at the processes of commands as long as there are any, and ends those of a run that has more than 512, also when its call was over long
 * ago; when all together are more than 1,024, it ends all. A limit of the kernel cannot do it: RLIMIT_NPROC counts a user's processes on the
 * whole node, and without user namespaces every sandbox there has the same user, so that one could use up the others' share. A limit of the pod
 * (`podPidsLimit` of its kubelet) may be lower, and nothing tells it: when another process cannot be had, the run with most threads ends.
 */
export interface CrowdWatch {
  /** A run begins. */
  wake(): void;
}

export interface CrowdPorts {
  readonly processes: Pick<ProcessTable, "quickCount" | "count" | "stop" | "stopAll">;
  /** Aborts a run that is under way, all without a mark; false when there is none. */
  readonly stopRun: (reason: TooManyProcesses, mark?: number) => boolean;
  /** Whether this container may have one process more. */
  readonly hasRoom: () => Promise<boolean>;
  readonly log: Log;
  readonly limits?: CrowdLimits;
}

export function createCrowdWatch({ processes, stopRun, hasRoom, log, limits: { ofRun, inAll } = LIMITS }: CrowdPorts): CrowdWatch {
  let timer: NodeJS.Timeout | undefined;
  let triedAt = 0;
  let failures = 0;

  /** Gives back whether there is anything to look at. */
  async function look(): Promise<boolean> {
    const quick = processes.quickCount();
    if (quick === undefined || quick > ofRun) return judge(processes.count());
    if (quick > 0 && performance.now() - triedAt > TRY_EVERY_MS) await tryForRoom();
    return quick > 0;
  }

  async function judge(counts: ReadonlyMap<number, Count>): Promise<boolean> {
    const all = [...counts.values()].reduce((sum, count) => sum + count.processes, 0);
    if (all > inAll) await endAll(all);
    else await Promise.all([...counts].filter(([, count]) => count.processes > ofRun).map(([mark, count]) => endOne(mark, count, `more than ${ofRun} processes at once`)));
    return all > 0;
  }

  async function tryForRoom(): Promise<void> {
    failures = (await hasRoom()) ? 0 : failures + 1;
    triedAt = performance.now();
    if (failures < MOST_FAILURES) return;
    failures = 0;
    const [most] = [...processes.count()].sort(([, one], [, other]) => other.threads - one.threads);
    if (most !== undefined) await endOne(...most, `no room for another process: this call had ${most[1].threads} processes and threads, and the node allows the pod no more (podPidsLimit)`);
  }

  async function endAll(count: number): Promise<void> {
    log("warn", "too many processes together: all are killed", { count });
    stopRun(new TooManyProcesses(`more than ${inAll} processes at once in the sandbox`));
    if (!(await processes.stopAll(false))) log("warn", "a process outlived SIGKILL");
  }

  async function endOne(mark: number, { processes: count, threads }: Count, why: string): Promise<void> {
    log("warn", "too many processes of one call: they are killed", { count, threads });
    // The run kills them itself; what one has left behind has nobody else.
    if (!stopRun(new TooManyProcesses(why), mark)) await processes.stop(mark, false);
  }

  function schedule(): void {
    timer = setTimeout(() => {
      void look().then((more) => {
        timer = undefined;
        if (more) schedule();
      });
    }, PAUSE_MS).unref();
  }

  return { wake: () => { if (timer === undefined) schedule(); } };
}
