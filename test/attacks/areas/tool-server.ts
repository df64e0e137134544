import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { KUBECONFIG, get, kubectlProgram, list } from "../../e2e/kubectl.ts";
import { apply, eventually } from "../../e2e/lab.ts";
import type { Pod } from "../../e2e/lab.ts";
import { sandboxImage } from "../../e2e/reach.ts";
import type { Attack, Outcome } from "../attack.ts";
import { loadProgram, runInside, runOrdinary } from "../program.ts";
import type { Stage } from "../stage.ts";
import { held } from "./network.ts";

// A tool server, asked past the network policy: by whoever may port-forward to its pod, and from its own runner's pod without the runner's key.

interface Question {
  readonly path: string;
  readonly init: { readonly method: string; readonly headers?: Readonly<Record<string, string>>; readonly body?: string };
}

interface Reply {
  readonly status: number;
  readonly body: string;
}

/** Asks port 8080 of a pod through the API server, as an administrator may; status 0 when the connection ends without an answer. */
async function askThrough(namespace: string, pod: string, { path, init }: Question): Promise<Reply> {
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
    return await fetch(`http://127.0.0.1:${port}${path}`, init).then(
      async (response) => ({ status: response.status, body: await response.text() }),
      (error: unknown) => ({ status: 0, body: error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error) }),
    );
  } finally {
    forward.removeAllListeners("exit");
    forward.kill();
  }
}

const headers = { authorization: "Bearer a-key-that-the-attacker-made-up", "paddock-epoch": "1000000", "content-type": "application/json" };
const BIND: Question = { path: "/v1/bind", init: { method: "PUT", headers, body: JSON.stringify({ session: "stolen", probe: [], trust: "" }) } };
const CALL: Question = {
  path: "/v1/calls", init: { method: "POST", headers, body: JSON.stringify({ call: "root/1/0", attempt: 1, tool: "bash", arguments: { command: "echo taken" }, timeoutSeconds: 5 }) },
};
const HEALTH: Question = { path: "/healthz", init: { method: "GET" } };

const outcomeOf = ({ status, body }: Reply): Outcome => ({ succeeded: status === 200, how: `${status === 0 ? "cut off" : status} ${body.slice(0, 160)}` });
const programOf = (address: string, { path, init }: Question) => loadProgram("ask.ts", { url: `http://${address}:8080${path}`, init });

/** Address of a tool server that nobody has bound, in a pod that nobody guards. Its probe reaches what it tries. */
async function unbound(stage: Stage): Promise<string> {
  return stage.once("unbound tool server", async () => {
    const name = "unbound";
    const container = { name: "sandbox", image: await sandboxImage(), imagePullPolicy: "IfNotPresent", env: [{ name: "PADDOCK_WORKSPACE", value: "/workspace" }] };
    await apply(stage.namespace, { apiVersion: "v1", kind: "Pod", metadata: { name }, spec: { automountServiceAccountToken: false, terminationGracePeriodSeconds: 1, securityContext: { runAsNonRoot: true, runAsUser: 10001 }, containers: [container] } });
    return eventually("the unbound tool server", async () => {
      const status = (await get<Pod>("pod", name, stage.namespace))?.status;
      if (status?.podIP === undefined) return false;
      stage.controls.add(status.podIP);
      return status.phase === "Running" && status.podIP;
    });
  });
}

/** From an ordinary pod to the unbound one: it takes any key, and then that key's calls. */
async function askUnbound(stage: Stage, name: string, question: Question): Promise<Outcome> {
  const address = await unbound(stage);
  const { result } = await runOrdinary(stage, { name, program: programOf(address, question) });
  return outcomeOf(result as unknown as Reply);
}

const bindUnbound = (stage: Stage): Promise<Outcome> => stage.once("unbound tool server, bound", () => askUnbound(stage, "bind-unbound", BIND));

async function callUnbound(stage: Stage): Promise<Outcome> {
  const bound = await bindUnbound(stage);
  return bound.succeeded ? askUnbound(stage, "call-unbound", CALL) : bound;
}

function fromRunner(what: string, question: Question, control: Attack["control"]): Attack {
  return {
    area: "ingress", name: `${what} by another key, from its runner's pod`, control,
    attempt: async (stage) => {
      const { runner, sandbox } = await held(stage, "standard");
      return outcomeOf((await runInside(stage.namespace, runner.metadata.name, programOf(sandbox.status.podIP ?? "", question))) as unknown as Reply);
    },
  };
}

function throughForward(what: string, question: Question): Attack {
  return {
    area: "ingress", name: `${what}, through a port-forward`,
    attempt: async (stage) => outcomeOf(await askThrough(stage.namespace, (await held(stage, "standard")).sandbox.metadata.name, question)),
    // A server that answers whoever comes from its own pod, as most do.
    control: async (stage) => {
      const [pod] = await list<Pod>("pods", stage.namespace, "app=scripted-model");
      return outcomeOf(await askThrough(stage.namespace, pod?.metadata.name ?? "", HEALTH));
    },
  };
}

export const toolServerAttacks: readonly Attack[] = [
  fromRunner("a sandbox bound", BIND, bindUnbound), fromRunner("a call in a sandbox", CALL, callUnbound),
  throughForward("a sandbox bound", BIND), throughForward("a call in a sandbox", CALL),
];
