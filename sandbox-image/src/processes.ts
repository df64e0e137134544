import { spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Names a run among all runs of this machine, in what its processes inherit: this variable, and the limit of file locks (`ulimit -x`), which
 * no kernel enforces any more, every process may read, and nobody can raise again.
 */
export const MARK_VARIABLE = "PADDOCK_CALL";

/** Marks of one server: `base` up to this many more. */
const MOST_MARKS = 2 ** 20;
const GRACE_MS = 500;
const GIVE_UP_MS = 5000;
const POLL_MS = 20;

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  readonly session: number;
  /** Clock ticks since boot, which tells two processes of one pid apart. */
  readonly startedAt: string;
}

interface Found extends Process {
  readonly mark: number | undefined;
}

/**
 * Which process belongs to which run: those that bear its mark in their environment or limits, those of its shell's session while the shell
 * lives, those seen to descend from one of them, and those seen before. So `setsid`, `nohup`, `env -i` and forking twice do not get one out of sight.
 */
export interface ProcessTable {
  /** From the start of a run's shell until it is reaped; the mark is in its environment. */
  adopt(mark: number, shell: number): void;
  release(shell: number): void;
  /** How many processes live now, by run; in a container of our own with those whose run is not known, under 0. */
  count(): ReadonlyMap<number, number>;
  /** Ends a run's processes: SIGTERM, half a second later SIGKILL until none is left; at once without grace. False when one outlived five seconds of that. */
  stop(mark: number, grace?: boolean): Promise<boolean>;
  /** The same for all runs; in a container of our own for every process but ourselves. */
  stopAll(grace?: boolean): Promise<boolean>;
}

/** No other process of the machine may bear a mark between two bases. Up to 2^47, so that numbers stay exact. */
export function drawMarkBase(): number {
  return randomInt(2 ** 20, 2 ** 27) * MOST_MARKS;
}

/** `base` as drawn. `ownContainer`: no process but ours and those of commands can exist here. */
export function createProcessTable(base: number, ownContainer: boolean): ProcessTable {
  const shells = new Map<number, number>();
  let known = new Map<string, number>();
  let foreign = new Set<string>();

  function look(): readonly Found[] {
    const processes = readProcesses();
    const byPid = new Map(processes.map((process) => [process.pid, process]));
    const marks = new Map<number, number | undefined>();
    const markOf = (one: Process): number | undefined => {
      if (marks.has(one.pid)) return marks.get(one.pid);
      marks.set(one.pid, undefined); // a parent that is its own descendant cannot be, but /proc is not read at one instant
      const parent = byPid.get(one.parent);
      const mark = known.get(identityOf(one)) ?? shells.get(one.session) ?? ownMark(one) ?? (parent && markOf(parent));
      marks.set(one.pid, mark);
      return mark;
    };
    const found = processes.map((one) => ({ ...one, mark: markOf(one) }));
    known = new Map(found.flatMap((one) => (one.mark === undefined ? [] : [[identityOf(one), one.mark]])));
    // Marks are inherited, so what has none gets none; but for our own child, which has none before it becomes bash.
    foreign = new Set(found.flatMap((one) => (one.mark === undefined && one.parent !== process.pid ? [identityOf(one)] : [])));
    return found;
  }

  const ownMark = (one: Process): number | undefined => (foreign.has(identityOf(one)) ? undefined : markOn(one.pid, base));

  const allOthers = (): readonly Found[] => {
    const found = look();
    return ownContainer ? found.filter(({ pid }) => pid !== 1 && pid !== process.pid) : found.filter(({ mark }) => mark !== undefined);
  };

  function count(): ReadonlyMap<number, number> {
    const counts = new Map<number, number>();
    for (const { mark = 0 } of allOthers()) counts.set(mark, (counts.get(mark) ?? 0) + 1);
    return counts;
  }

  return {
    adopt: (mark, shell) => void shells.set(shell, mark),
    release: (shell) => void shells.delete(shell),
    count,
    stop: (mark, grace = true) => endAll(() => look().filter((one) => one.mark === mark), { grace }),
    stopAll: (grace = true) => endAll(allOthers, { grace, everybody: ownContainer }),
  };
}

/** Whether the kernel keeps this process' memory, environment and open files from those of its user: a process of ours tries. */
export function isGuarded(): boolean {
  return spawnSync("/bin/bash", ["-c", ": < /proc/$PPID/environ"], { env: {}, stdio: "ignore" }).status !== 0;
}

/** Whether this process is the only child of the image's init, so that everything else in the process namespace is a command's. */
export function isOwnContainer(): boolean {
  return process.ppid === 1 && readFileSync("/proc/1/comm", "utf8").trim() === "tini";
}

interface Hunt {
  /** False: no time to end by themselves. */
  readonly grace: boolean;
  /** Nobody else's process can be hit, and so the kernel may be asked to kill all at one instant, which nothing outruns by forking. */
  readonly everybody?: boolean;
}

async function endAll(find: () => readonly Process[], { grace, everybody = false }: Hunt): Promise<boolean> {
  if (grace && signalAll(find(), "SIGTERM") === 0) return true;
  const killAt = performance.now() + (grace ? GRACE_MS : 0);
  // Twice none, because /proc is not read at one instant: a process that forks meanwhile may show neither itself nor its child.
  for (let empty = 0; empty < 2; ) {
    const left = find();
    const overMs = performance.now() - killAt;
    if (overMs > GIVE_UP_MS) return false;
    empty = left.length === 0 ? empty + 1 : 0;
    if (overMs >= 0) kill(left, everybody);
    await sleep(POLL_MS);
  }
  return true;
}

function kill(left: readonly Process[], everybody: boolean): void {
  if (everybody) send(-1, "SIGKILL");
  else signalAll(left, "SIGKILL");
}

/** Signals whole groups first: the kernel lets no member fork its way out of that. */
function signalAll(processes: readonly Process[], signal: NodeJS.Signals): number {
  const own = readProcess(process.pid)?.group;
  const groups = new Set(processes.map(({ group }) => group).filter((group) => group > 1 && group !== own));
  for (const group of groups) send(-group, signal);
  for (const { pid } of processes) send(pid, signal);
  return processes.length;
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It ended by itself, or it is not ours to signal; the next look tells.
  }
}

function readProcesses(): readonly Process[] {
  return readdirSync("/proc").flatMap((name) => (/^\d+$/.test(name) && Number(name) !== process.pid ? (readProcess(Number(name)) ?? []) : []));
}

/** Undefined when it has ended, also when nobody has reaped it yet. */
function readProcess(pid: number): Process | undefined {
  const stat = readOrUndefined(`/proc/${pid}/stat`)?.toString("latin1");
  if (stat === undefined) return undefined;
  const [state, parent, group, session, ...rest] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  if (state === undefined || state === "Z" || state === "X") return undefined;
  return { pid, parent: Number(parent), group: Number(group), session: Number(session), startedAt: rest[15] ?? "" };
}

/**
 * The environment is read only where the kernel tells no limits: for that it waits for the other process' memory to stand still, which a fork bomb
 * of the least priority grants after many seconds, and this process would stand still as long.
 */
function markOn(pid: number, base: number): number | undefined {
  const limit = /^Max file locks +(\S+) /m.exec(readOrUndefined(`/proc/${pid}/limits`)?.toString("latin1") ?? "")?.[1];
  const mark = Number(limit ?? markInEnvironment(pid));
  return mark >= base && mark < base + MOST_MARKS ? mark : undefined;
}

function markInEnvironment(pid: number): string | undefined {
  const environment = readOrUndefined(`/proc/${pid}/environ`);
  const at = environment?.indexOf(`${MARK_VARIABLE}=`) ?? -1;
  if (environment === undefined || at === -1) return undefined;
  const end = environment.indexOf(0, at);
  return environment.subarray(at + MARK_VARIABLE.length + 1, end === -1 ? environment.length : end).toString("latin1");
}

function readOrUndefined(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch {
    return undefined; // gone, or another user's
  }
}

function identityOf({ pid, startedAt }: Process): string {
  return `${pid} ${startedAt}`;
}
