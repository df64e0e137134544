import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { KUBECONFIG, get, kubectlProgram } from "../../e2e/kubectl.ts";
import { apply, eventually } from "../../e2e/lab.ts";
import type { Pod } from "../../e2e/lab.ts";
import { sandboxImage } from "../../e2e/reach.ts";
import type { Attack, Outcome } from "../attack.ts";
import type { Stage } from "../stage.ts";
import { held } from "./network.ts";

// A tool server, asked past the network policy: whoever may port-forward to a sandbox is still not its runner.

interface Reply {
  readonly status: number;
  readonly body: string;
}

/** Asks port 8080 of a pod through the API server, as an administrator may. */
async function askThrough(namespace: string, pod: string, ask: (url: string) => Promise<Response>): Promise<Reply> {
  const forward = spawn(kubectlProgram(), ["--kubeconfig", KUBECONFIG, "port-forward", "-n", namespace, `pod/${pod}`, ":8080"], { stdio: ["ignore", "pipe", "ignore"] });
  try {
    const port = await new Promise<string>((resolve, reject) => {
      forward.on("error", reject);
      forward.on("exit", (code) => reject(new Error(`kubectl port-forward to ${pod} ended with ${String(code)}`)));
      createInterface(forward.stdout).on("line", (line) => {
        const found = /127\.0\.0\.1:([0-9]+)/.exec(line)?.[1];
        if (found !== undefined) resolve(found);
      });
    });
    const response = await ask(`http://127.0.0.1:${port}`);
    return { status: response.status, body: await response.text() };
  } finally {
    forward.removeAllListeners("exit");
    forward.kill();
  }
}

const KEY = "a-key-that-the-attacker-made-up";
const headers = (epoch: number) => ({ authorization: `Bearer ${KEY}`, "paddock-epoch": String(epoch), "content-type": "application/json" });
const bind = (url: string): Promise<Response> => fetch(`${url}/v1/bind`, { method: "PUT", headers: headers(1_000_000), body: JSON.stringify({ session: "stolen", probe: [], trust: "" }) });
const callOf = (url: string): Promise<Response> => fetch(`${url}/v1/calls`, { method: "POST", headers: headers(1_000_000), body: JSON.stringify({ call: "root/1/0", attempt: 1, tool: "bash", arguments: { command: "echo taken" }, timeoutSeconds: 5 }) });

/** A tool server that nobody has bound, in a pod that nobody guards. */
async function unbound(stage: Stage): Promise<string> {
  return stage.once("unbound tool server", async () => {
    const name = "unbound";
    const container = { name: "sandbox", image: await sandboxImage(), imagePullPolicy: "IfNotPresent", env: [{ name: "PADDOCK_WORKSPACE", value: "/workspace" }] };
    await apply(stage.namespace, { apiVersion: "v1", kind: "Pod", metadata: { name }, spec: { automountServiceAccountToken: false, terminationGracePeriodSeconds: 1, securityContext: { runAsNonRoot: true, runAsUser: 10001 }, containers: [container] } });
    await eventually("the unbound tool server", async () => (await get<Pod>("pod", name, stage.namespace))?.status.phase === "Running");
    await eventually("the unbound tool server to take a key", async () => (await askThrough(stage.namespace, name, bind)).status === 200, 60);
    return name;
  });
}

function attack(name: string, ask: (url: string) => Promise<Response>): Attack {
  const outcome = ({ status, body }: Reply): Outcome => ({ succeeded: status === 200, how: `${status} ${body.slice(0, 160)}` });
  return {
    area: "ingress", name,
    attempt: async (stage) => outcome(await askThrough(stage.namespace, (await held(stage, "standard")).sandbox.metadata.name, ask)),
    control: async (stage) => outcome(await askThrough(stage.namespace, await unbound(stage), ask)),
  };
}

export const toolServerAttacks: readonly Attack[] = [
  attack("a sandbox bound by another key, through a port-forward", bind),
  attack("a call in a sandbox by another key, through a port-forward", callOf),
];
