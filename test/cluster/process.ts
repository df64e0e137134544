import { existsSync, readFileSync } from "node:fs";

/** Where there is no /proc (kind on a Mac), a process is known by its number alone. */
const hasProc = existsSync("/proc/self/stat");

/** A process that cannot be mistaken for a later one with the same number. */
export interface ProcessIdentity {
  pid: number;
  /** When it started, in clock ticks since boot. */
  startTicks: number;
  bootId: string;
}

/** The fields of `/proc/PID/stat` that tell who a process is. The name in it may hold spaces and brackets. */
export function parseStat(stat: string): { state: string; startTicks: number } | undefined {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state, startTicks] = [fields[0], Number(fields[19])];
  return state && Number.isInteger(startTicks) ? { state, startTicks } : undefined;
}

/** Reads an identity from its JSON form; undefined when it is none. */
export function parseIdentity(text: string): ProcessIdentity | undefined {
  try {
    const { pid, startTicks, bootId } = JSON.parse(text) as Partial<ProcessIdentity>;
    if (!Number.isInteger(pid) || !Number.isInteger(startTicks) || typeof bootId !== "string") return undefined;
    return { pid: Number(pid), startTicks: Number(startTicks), bootId };
  } catch {
    return undefined;
  }
}

/** Whether exactly this process still runs; a zombie and a process of an earlier boot do not. */
export function isRunning(identity: ProcessIdentity): boolean {
  const now = identityOf(identity.pid);
  return now !== undefined && now.startTicks === identity.startTicks && now.bootId === identity.bootId;
}

/** The identity of a process that runs now; undefined when there is none, or only its unreaped rest (a zombie). */
export function identityOf(pid: number): ProcessIdentity | undefined {
  const stat = statOf(pid);
  return stat && stat.state !== "Z" ? { pid, startTicks: stat.startTicks, bootId: bootId() } : undefined;
}

/** The identity of this process. */
export function ownIdentity(): ProcessIdentity {
  const identity = identityOf(process.pid);
  if (!identity) throw new Error("/proc/self/stat says nothing about this process");
  return identity;
}

/** Identifies one boot of the machine. */
export function bootId(): string {
  if (!hasProc) return "";
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}

function statOf(pid: number): ReturnType<typeof parseStat> {
  try {
    if (!hasProc) return process.kill(pid, 0) ? { state: "R", startTicks: 0 } : undefined;
    return parseStat(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return undefined;
  }
}
