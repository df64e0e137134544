import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { childEnvironment } from "../config.ts";
import type { Progress } from "../progress.ts";
import { kubectl, toolsDir } from "./checkout.ts";

const port = 8080;
/** An enforcing network reacts within a second; a slow one is given half a minute. */
const patienceMs = 30_000;

/** Waits for connections; ends only by being killed. */
const serverProgram = `require("node:net").createServer((socket) => socket.on("error", () => {}).end("hello")).listen(${port})`;

/** Tries a connection ten times a second, and prints `open` or `closed` whenever that has changed. */
const clientProgram = `
const net = require("node:net");
let last = "";
const tell = (state) => { if (state !== last) console.log(last = state); };
setInterval(() => {
  const socket = net.connect({ host: process.argv[1], port: ${port}, timeout: 400 });
  const end = (state) => { socket.destroy(); tell(state); };
  socket.on("data", () => end("open")).on("timeout", () => end("closed")).on("error", () => end("closed"));
}, 100);`;

const policies = [
  { what: "incoming traffic of a pod", spec: { podSelector: { matchLabels: { app: "server" } }, policyTypes: ["Ingress"] } },
  { what: "outgoing traffic of a pod", spec: { podSelector: { matchLabels: { app: "client" } }, policyTypes: ["Egress"] } },
] as const;

/**
 * Proves with two pods in a namespace of their own that the cluster enforces network policies: a connection that works is cut
 * by a policy that denies, in each direction, and works again without it. Rejects otherwise. Removes what it made.
 */
export async function proveEnforcement(kubeconfig: string, image: string, progress: Progress): Promise<void> {
  const namespace = `paddock-enforcement-${randomBytes(4).toString("hex")}`;
  await kubectl(kubeconfig, ["create", "namespace", namespace]);
  try {
    await progress.during("network policies are enforced", () => prove(kubeconfig, namespace, image));
  } finally {
    await kubectl(kubeconfig, ["delete", "namespace", namespace, "--wait=false"]);
  }
}

async function prove(kubeconfig: string, namespace: string, image: string): Promise<void> {
  const within = (args: readonly string[], input?: string): Promise<string> =>
    kubectl(kubeconfig, ["-n", namespace, ...args], { timeoutMs: 150_000, ...(input !== undefined && { input }) });
  const create = (object: unknown): Promise<string> => within(["create", "-f", "-"], JSON.stringify(object));
  const awaitPod = (name: string): Promise<string> => within(["wait", "--for=condition=Ready", `pod/${name}`, "--timeout=120s"])
    .catch(async () => { throw new Error(`a pod of ${image} does not get ready:\n${await within(["get", "pods,events"])}`); });
  await create(buildPod("server", image, [serverProgram]));
  await awaitPod("server");
  await create(buildPod("client", image, [clientProgram, await within(["get", "pod", "server", "-o", "jsonpath={.status.podIP}"])]));
  await awaitPod("client");
  const view = followClient(kubeconfig, namespace);
  try {
    await view.expect("open", "a pod cannot reach another one although no policy forbids it: the pod network does not work");
    for (const { what, spec } of policies) {
      await create({ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { name: "deny" }, spec });
      await view.expect("closed", `this cluster does not enforce network policies: one that denies all ${what} did not cut a connection. ` +
        "Agents would not be isolated, so nothing is run on it. Give it a network that enforces NetworkPolicy (Cilium, Calico, kind 0.24 or newer)");
      await within(["delete", "networkpolicy", "deny"]);
      await view.expect("open", `a connection that a policy on ${what} had cut did not come back after the policy was removed: the pod network is unreliable`);
    }
  } finally {
    await view.close();
  }
}

/** Pure: fits the restricted pod security standard. */
function buildPod(name: string, image: string, program: readonly string[]): unknown {
  return {
    apiVersion: "v1", kind: "Pod", metadata: { name, labels: { app: name } },
    spec: {
      terminationGracePeriodSeconds: 0, automountServiceAccountToken: false, restartPolicy: "Never",
      securityContext: { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: "RuntimeDefault" } },
      containers: [{
        name, image, imagePullPolicy: "IfNotPresent", command: ["node", "-e", ...program],
        securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
      }],
    },
  };
}

interface ClientView { expect(state: string, complaint: string): Promise<void>; close(): Promise<void> }

/** Follows the client's log. */
function followClient(kubeconfig: string, namespace: string): ClientView {
  const child: ChildProcess = spawn(join(toolsDir, "kubectl"), ["-n", namespace, "logs", "--follow", "pod/client"], {
    env: childEnvironment({ KUBECONFIG: kubeconfig }), stdio: ["ignore", "pipe", "ignore"],
  });
  const ended = once(child, "close");
  let state = "";
  let wake = (): void => {};
  if (child.stdout) createInterface({ input: child.stdout }).on("line", (line) => {
    state = line.trim();
    wake();
  });
  const reaches = (wanted: string): Promise<boolean> => new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), patienceMs);
    wake = () => {
      if (state !== wanted) return;
      clearTimeout(timer);
      resolve(true);
    };
    wake();
  });
  return {
    expect: async (wanted, complaint) => {
      if (!(await reaches(wanted))) throw new Error(complaint);
    },
    close: async () => {
      child.kill("SIGKILL");
      await ended;
    },
  };
}
