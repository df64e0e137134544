import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { randomInt } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { codeOf } from "./failure.ts";

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
/** So many that looking at them, one by one, would take so long that they had become more. */
const CROWDED = 128;

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  readonly session: number;
  /** Clock ticks since boot, which tells two processes of one pid apart. */
  readonly startedAt: string;
  readonly threads: number;
}

interface Found extends Process {
  readonly mark: number | undefined;
}

export interface Count {
  readonly processes: number;
  readonly threads: number;
}

/**
 * Which process belongs to which run: those that bear its mark in their environment or limits, those of its shell's session while the shell
 * lives, those seen to descend from one of them, and those seen before. So `setsid`, `nohup`, `env -i` and forking twice do not get one out of sight.
 */
export interface ProcessTable {
  /** From the start of a run's shell until it is reaped; the mark is in its environment. */
  adopt(mark: number, shell: number): void;
  release(shell: number): void;
  /**
   * How many there are, ended ones that nobody has reaped included, without a look at any; in a container of our own alone. A look at one waits
   * until it is done with `exec`, which a thousand others of the least priority put off for seconds.
   */
  quickCount(): number | undefined;
  /** How many processes and threads live now, by run; in a container of our own with those whose run is not known, under 0. */
  count(): ReadonlyMap<number, Count>;
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

  function quickCount(): number | undefined {
    // Neither init nor this process.
    return ownContainer ? pidsHere().length - 2 : undefined;
  }

  /** In a crowd all stand still meanwhile: none can become two, and those that are within the kernel have the processor for themselves. */
  function atRest<Result>(act: () => Result): Result {
    if ((quickCount() ?? 0) <= CROWDED) return act();
    send(-1, "SIGSTOP");
    try {
      return act();
    } finally {
      send(-1, "SIGCONT");
    }
  }

  function count(): ReadonlyMap<number, Count> {
    const counts = new Map<number, Count>();
    for (const { mark = 0, threads: more } of atRest(allOthers)) {
      const { processes, threads } = counts.get(mark) ?? { processes: 0, threads: 0 };
      counts.set(mark, { processes: processes + 1, threads: threads + more });
    }
    return counts;
  }

  return {
    adopt: (mark, shell) => void shells.set(shell, mark),
    release: (shell) => void shells.delete(shell),
    quickCount,
    count,
    stop: (mark, grace = true) => endAll(() => look().filter((one) => one.mark === mark), { grace, atRest }),
    stopAll: (grace = true) => endAll(allOthers, { grace, atRest, everybody: ownContainer }),
  };
}

/** Whether the kernel keeps this process' memory, environment and open files from those of its user: a process of ours tries. */
export function isGuarded(): boolean {
  return spawnSync("/bin/bash", ["-c", ": < /proc/$PPID/environ"], { env: {}, stdio: "ignore" }).status !== 0;
}

/** Whether there may be one process more. Nothing tells a limit that is set on the pod, so it is tried. */
export async function hasRoomForProcess(): Promise<boolean> {
  try {
    await once(spawn("/bin/true", [], { env: {}, stdio: "ignore" }), "exit");
    return true;
  } catch (error) {
    return codeOf(error) !== "EAGAIN";
  }
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
  /** Does something while no process of a crowd can become two. */
  readonly atRest: <Result>(act: () => Result) => Result;
}

async function endAll(find: () => readonly Process[], hunt: Hunt): Promise<boolean> {
  if (hunt.grace && hunt.atRest(() => signalAll(find(), "SIGTERM")) === 0) return true;
  const killAt = performance.now() + (hunt.grace ? GRACE_MS : 0);
  // Twice none, because /proc is not read at one instant: a process that forks meanwhile may show neither itself nor its child.
  for (let empty = 0; empty < 2; ) {
    const overMs = performance.now() - killAt;
    if (overMs > GIVE_UP_MS) return false;
    const left = overMs < 0 ? find().length : killAll(find, hunt);
    empty = left === 0 ? empty + 1 : 0;
    await sleep(POLL_MS);
  }
  return true;
}

/** Gives back how many there are. */
function killAll(find: () => readonly Process[], { everybody = false, atRest }: Hunt): number {
  if (!everybody) return atRest(() => signalAll(find(), "SIGKILL"));
  send(-1, "SIGKILL");
  return find().length;
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

function pidsHere(): readonly number[] {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number);
}

function readProcesses(): readonly Process[] {
  return pidsHere().flatMap((pid) => (pid === process.pid ? [] : (readProcess(pid) ?? [])));
}

/** Undefined when it has ended, also when nobody has reaped it yet. */
function readProcess(pid: number): Process | undefined {
  const stat = readOrUndefined(`/proc/${pid}/stat`)?.toString("latin1");
  if (stat === undefined) return undefined;
  const [state, parent, group, session, ...rest] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  if (state === undefined || state === "Z" || state === "X") return undefined;
  return { pid, parent: Number(parent), group: Number(group), session: Number(session), threads: Number(rest[13]), startedAt: rest[15] ?? "" };
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
