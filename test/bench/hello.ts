import { randomBytes } from "node:crypto";
import { CoreV1Api, CustomObjectsApi, KubeConfig, Watch } from "@kubernetes/client-node";
import { GROUP, VERSION } from "@paddock/api/group";
import type { Session } from "@paddock/api/session";
import { apply, buildAgent, buildEnvironment, buildSession, eventually, podsOf } from "../e2e/lab.ts";
import { KUBECONFIG, get, kubectl, must } from "../e2e/kubectl.ts";
import { deployModel, modelRequests, say } from "../e2e/model.ts";
import type { ModelRequest } from "../e2e/model.ts";
import { countWrites } from "../e2e/writes.ts";
import { inPairs, printFigure, printRatio } from "./figures.ts";

// Create → first model request of a session whose pods do not exist yet, beside a bare pod of the same image that does nothing but send
// one request to the same server: both end when the server has the request, by the server's clock. Client and server must share a clock,
// as they do on a cluster on this machine.

const PAIRS = 9;

/** Prints the skeleton's figures; needs a cluster with Paddock. */
export async function run(): Promise<void> {
  const namespace = `bench-hello-${randomBytes(3).toString("hex")}`;
  await must(["create", "namespace", namespace]);
  try {
    await measure(namespace);
  } finally {
    await kubectl(["delete", "namespace", namespace, "--wait=false"]);
  }
}

async function measure(namespace: string): Promise<void> {
  const config = new KubeConfig();
  config.loadFromFile(KUBECONFIG);
  const objects = config.makeApiClient(CustomObjectsApi);
  const core = config.makeApiClient(CoreV1Api);
  const scripts = Object.fromEntries(Array.from({ length: PAIRS + 1 }, (_, round) => [prompt(round), [say("Hello.")]]));
  await deployModel(namespace, { ...scripts, [CONTROL]: [say("Hello.")] });
  await apply(namespace, buildAgent("agent"), buildEnvironment("environment"));
  await eventually("a ready Environment", async () => {
    const environment = await get<{ status?: { conditions?: { type: string; status: string }[] } }>("environment", "environment", namespace);
    return environment?.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True");
  });

  const figures: number[] = [];
  const ends: number[] = [];
  const writes: number[] = [];
  const controls: number[] = [];
  const image = await runnerImage();

  const session = async (round: number): Promise<void> => {
    const before = await countWrites();
    const { terminal } = await watchTerminal(config, namespace, `hello-${round}`);
    const createdAt = now();
    await objects.createNamespacedCustomObject({ group: GROUP, version: VERSION, namespace, plural: "sessions", body: buildSession(`hello-${round}`, prompt(round)) });
    const terminalAt = await terminal;
    const request = await theRequest(namespace, prompt(round));
    await eventually("the pods to be gone", async () => (await podsOf(namespace, `hello-${round}`, "runner")).length === 0);
    figures.push(request.receivedAt - createdAt);
    ends.push(terminalAt - (request.lastByteAt ?? Number.NaN));
    writes.push((await countWrites()) - before);
  };
  const bare = async (round: number): Promise<void> => {
    const seen = (await modelRequests(namespace)).length;
    const createdAt = now();
    await core.createNamespacedPod({ namespace, body: buildBarePod(`bare-${round}`, image) });
    const request = await eventually("the bare pod's request", async () => (await modelRequests(namespace))[seen]);
    controls.push(request.receivedAt - createdAt);
    await must(["delete", "pod", `bare-${round}`, "-n", namespace, "--grace-period=0", "--force"]);
  };

  await session(PAIRS); // the first of all pays for caches of the machine, not of the product
  for (const list of [figures, ends, writes]) list.length = 0;
  await inPairs(PAIRS, session, bare);

  printFigure("create_to_first_model_request_cold", figures, "ms");
  printFigure("control_bare_pod_create_to_request", controls, "ms");
  printRatio("ratio_cold_to_bare_pod", figures, controls);
  printFigure("last_model_byte_to_terminal_status", ends, "ms");
  printFigure("operator_writes_per_session", writes, "writes");
}

const CONTROL = "a bare pod asks";
const prompt = (round: number): string => `bench round ${round}.`;

/** Wall clock with sub-millisecond digits, as the model server keeps it. */
function now(): number {
  return performance.timeOrigin + performance.now();
}

async function theRequest(namespace: string, wanted: string): Promise<ModelRequest> {
  return eventually(`the request of "${wanted}"`, async () => (await modelRequests(namespace)).find((request) => request.prompt === wanted && request.lastByteAt !== null));
}

/** Opens a watch; `terminal` is the time at which it shows the Session in a terminal state. */
async function watchTerminal(config: KubeConfig, namespace: string, name: string): Promise<{ terminal: Promise<number> }> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const { metadata } = JSON.parse(await must(["get", "sessions", "-n", namespace, "-o", "json"])) as { metadata: { resourceVersion?: string } };
  const controller = await new Watch(config).watch(
    `/apis/${GROUP}/${VERSION}/namespaces/${namespace}/sessions`,
    { fieldSelector: `metadata.name=${name}`, resourceVersion: metadata.resourceVersion },
    (_type, object: Session) => {
      if (!object.status?.conditions?.some(({ type, status }) => type === "Finished" && status === "True")) return;
      resolve(now());
      controller.abort();
    },
    (error: unknown) => {
      reject(error instanceof Error ? error : new Error("the watch ended before the Session did"));
    },
  );
  return { terminal: promise };
}

async function runnerImage(): Promise<string> {
  return (await must(["get", "deployment", "paddock-operator", "-n", "paddock-system", "-o", `jsonpath={.spec.template.spec.containers[0].env[?(@.name=="PADDOCK_RUNNER_IMAGE")].value}`])).trim();
}

function buildBarePod(name: string, image: string): { metadata: { name: string }; spec: { restartPolicy: string; automountServiceAccountToken: boolean; containers: { name: string; image: string; imagePullPolicy: string; command: string[] }[] } } {
  const body = JSON.stringify({ model: "scripted", messages: [{ role: "user", content: CONTROL }] });
  const program = `fetch("http://scripted-model:8080/v1/chat/completions", { method: "POST", headers: { "content-type": "application/json" }, body: ${JSON.stringify(body)} })`;
  return {
    metadata: { name },
    spec: { restartPolicy: "Never", automountServiceAccountToken: false, containers: [{ name: "bare", image, imagePullPolicy: "IfNotPresent", command: ["node", "-e", program] }] },
  };
}
