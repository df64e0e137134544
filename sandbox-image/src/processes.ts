import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/** Every process of a command bears this variable, unless it threw its environment away. */
export const MARK_VARIABLE = "PADDOCK_CALL";

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

/**
 * Which process belongs to which run. A run's processes are those that carry its mark in their environment, those of its shell's session while
 * the shell lives, those seen to descend from one of them, and those seen before: so `setsid`, `nohup` and `env -i` do not get out of sight.
 * Only a process that forks twice and throws its environment away between two looks does; a takeover ends that one too (`stopAll`).
 */
export interface ProcessTable {
  /** From the start of a run's shell until it is reaped; the mark is in its environment. */
  adopt(mark: string, shell: number): void;
  release(shell: number): void;
  /** Living processes of a run. Reads /proc, synchronously. */
  of(mark: string): readonly number[];
  /** Ends a run's processes: SIGTERM, half a second later SIGKILL until none is left. False when one outlived five seconds of that. */
  stop(mark: string): Promise<boolean>;
  /** The same for all runs; in a container of our own for every process but ourselves. */
  stopAll(): Promise<boolean>;
}

/** `prefix` is what the marks of this table begin with. `ownContainer`: no process but ours and those of commands can exist here. */
export function createProcessTable(prefix: string, ownContainer: boolean): ProcessTable {
  const shells = new Map<number, string>();
  let known = new Map<string, string>();

  function look(): readonly (Process & { readonly mark: string | undefined })[] {
    const processes = readProcesses();
    const byPid = new Map(processes.map((process) => [process.pid, process]));
    const marks = new Map<number, string | undefined>();
    const markOf = (process: Process): string | undefined => {
      if (marks.has(process.pid)) return marks.get(process.pid);
      marks.set(process.pid, undefined); // a parent that is its own descendant cannot be, but /proc is not read at one instant
      const parent = byPid.get(process.parent);
      const mark = known.get(identityOf(process)) ?? shells.get(process.session) ?? markInEnvironment(process.pid, prefix) ?? (parent && markOf(parent));
      marks.set(process.pid, mark);
      return mark;
    };
    const found = processes.map((process) => ({ ...process, mark: markOf(process) }));
    known = new Map(found.flatMap((process) => (process.mark === undefined ? [] : [[identityOf(process), process.mark]])));
    return found;
  }

  const allOthers = (): readonly Process[] => {
    const found = look();
    return ownContainer ? found.filter(({ pid }) => pid !== 1 && pid !== process.pid) : found.filter(({ mark }) => mark !== undefined);
  };

  return {
    adopt: (mark, shell) => void shells.set(shell, mark),
    release: (shell) => void shells.delete(shell),
    of: (mark) => look().flatMap((one) => (one.mark === mark ? [one.pid] : [])),
    stop: (mark) => stopAll(() => look().filter((one) => one.mark === mark)),
    stopAll: () => stopAll(allOthers),
  };
}

/** Whether this process is the only child of the image's init, so that everything else in the process namespace is a command's. */
export function isOwnContainer(): boolean {
  return process.ppid === 1 && readFileSync("/proc/1/comm", "utf8").trim() === "tini";
}

async function stopAll(find: () => readonly Process[]): Promise<boolean> {
  if (signalAll(find(), "SIGTERM") === 0) return true;
  const killAt = performance.now() + GRACE_MS;
  const giveUpAt = killAt + GIVE_UP_MS;
  for (;;) {
    await sleep(POLL_MS);
    const left = find();
    if (left.length === 0) return true;
    if (performance.now() > giveUpAt) return false;
    if (performance.now() > killAt) signalAll(left, "SIGKILL");
  }
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

function markInEnvironment(pid: number, prefix: string): string | undefined {
  const environment = readOrUndefined(`/proc/${pid}/environ`);
  const at = environment?.indexOf(`${MARK_VARIABLE}=${prefix}`) ?? -1;
  if (environment === undefined || at === -1) return undefined;
  const end = environment.indexOf(0, at);
  return environment.subarray(at + MARK_VARIABLE.length + 1, end === -1 ? environment.length : end).toString();
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
