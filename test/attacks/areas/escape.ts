import type { Attack, Outcome } from "../attack.ts";
import { loadProgram, runOrdinary } from "../program.ts";
import { reportOf } from "../stage.ts";

// What containers are broken out by: each is refused to a sandbox and allowed to a pod that has what sandboxes never get.

const ATTEMPTS: Readonly<Record<string, string>> = {
  "capabilities": "any capability in the sandbox",
  "new privileges": "new privileges by a setuid program",
  "no seccomp": "system calls without a filter",
  "root": "being root",
  "unshare mounts": "a mount namespace of its own (unshare)",
  "unshare users": "a user namespace of its own (unshare)",
  "unshare network": "a network namespace of its own (unshare)",
  "mount": "mounting a file system",
  "keyctl": "keys of the kernel (keyctl)",
  "bpf": "programs in the kernel (bpf)",
  "perf": "events of the kernel (perf_event_open)",
  "userfaultfd": "page faults in its own hands (userfaultfd)",
  "read-only root": "writing to the image's files",
  "sysctl": "writing to /proc/sys",
  "sysfs": "writing to /sys",
  "device": "making a device node",
  "memory of the machine": "opening /dev/kmsg",
  "runtime socket": "the socket of containerd or Docker",
  "files of the host": "files of the host",
  "processes of the host": "processes of the host",
};

/** All that the sandbox's pod has not. It does what the program does, which changes nothing outside it. */
const PRIVILEGED = { runAsNonRoot: false, runAsUser: 0, privileged: true, allowPrivilegeEscalation: true, seccompProfile: { type: "Unconfined" } };
/** Where runtimes have their sockets. */
const OF_THE_HOST = ["run", "var/lib"].map((path) => ({ name: `host-${path.replace("/", "-")}`, path }));

function escape(key: string, name: string): Attack {
  const outcome = (report: Readonly<Record<string, unknown>>): Outcome => ({ succeeded: report[key] === "allowed", how: String(report[key]) });
  return {
    area: "escape", name,
    attempt: async (stage) => outcome(await stage.once("escape from a sandbox", async () => reportOf(await stage.hijack({ name: "escape", program: loadProgram("escape.py") })))),
    control: async (stage) => outcome(await stage.once("escape from a pod", async () => (await runOrdinary(stage, {
      name: "escape-privileged", program: loadProgram("escape.py"), container: { securityContext: PRIVILEGED }, mounts: OF_THE_HOST.map(({ name: volume, path }) => ({ name: volume, mountPath: `/host/${path}`, readOnly: true })),
      volumes: OF_THE_HOST.map(({ name: volume, path }) => ({ name: volume, hostPath: { path: `/${path}`, type: "Directory" } })), spec: { hostPID: true, securityContext: {} },
    })).result)),
  };
}

export const escapeAttacks: readonly Attack[] = Object.entries(ATTEMPTS).map(([key, name]) => escape(key, name));
