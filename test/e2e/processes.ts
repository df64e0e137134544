import { readFileSync, readdirSync } from "node:fs";

/** A process of a pod, as this machine sees it. */
export interface PodProcess {
  readonly pid: number;
  readonly command: string;
}

/**
 * Processes of a pod's containers on this machine, found by the pod's UID in their control group; without the one that holds the
 * pod's namespaces. Empty when the pod runs on another machine: then a test cannot kill what it cannot see.
 */
export function processesOf(podUid: string): PodProcess[] {
  const marks = [`pod${podUid}`, `pod${podUid.replaceAll("-", "_")}`]; // cgroupfs and systemd drivers
  return readdirSync("/proc")
    .filter((entry) => /^[0-9]+$/.test(entry))
    .flatMap((pid) => {
      const groups = readProc(pid, "cgroup");
      if (!marks.some((mark) => groups.includes(mark))) return [];
      const command = readProc(pid, "cmdline").replaceAll("\0", " ").trim();
      return command === "" || command.startsWith("/pause") ? [] : [{ pid: Number(pid), command }];
    });
}

/** Kills the pod's process whose command matches, with SIGKILL. Throws when there is none. */
export function killProcess(podUid: string, command: RegExp): void {
  const found = processesOf(podUid).find((candidate) => command.test(candidate.command));
  if (found === undefined) throw new Error(`no process of pod ${podUid} matches ${String(command)} on this machine`);
  process.kill(found.pid, "SIGKILL");
}

function readProc(pid: string, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return ""; // it ended meanwhile
  }
}
