// `npm run demo`: a real cluster with Paddock in it, the two examples that need no key run to their end, and how to go on.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Session } from "@paddock/api/session";
import { LABELS } from "@paddock/api/names";
import { kubeconfigFile, kubectl, root, toolsDir } from "./cluster/checkout.ts";
import { describeError, up } from "./cluster/main.ts";
import type { Standing } from "./cluster/main.ts";
import { openProgress } from "./progress.ts";
import type { Progress } from "./progress.ts";

interface Example {
  readonly folder: string;
  readonly session: string;
}

const EXAMPLES: readonly Example[] = [
  { folder: "01-hello", session: "hello" },
  { folder: "02-workspace", session: "workspace" },
];
const NAMESPACE = "default";
const TIME_LIMIT_MS = 5 * 60_000;
const POLL_MS = 500;
/** Of each part of a failure's description. */
const MAX_LINES = 60;

const MODEL_IMAGE = "ghcr.io/paddock/scripted-model:0.1.0";

type Kubectl = (...args: readonly string[]) => Promise<string>;

class ExampleFailed extends Error {
  readonly session: string;
  constructor(session: string, message: string) {
    super(message);
    this.name = "ExampleFailed";
    this.session = session;
  }
}

async function main(): Promise<void> {
  const progress = openProgress();
  const cluster = await up(progress);
  const ask: Kubectl = (...args) => kubectl(cluster.kubeconfig, ["-n", NAMESPACE, ...args]);
  try {
    await ask("delete", "session", ...EXAMPLES.map(({ session }) => session), "--ignore-not-found");
    const sessions: Session[] = [];
    for (const example of EXAMPLES) {
      await applyExample(example, cluster, ask);
      progress(`examples/${example.folder}: applied`);
      sessions.push(await finishedSession(example.session, ask, progress));
    }
    sessions.forEach((session, index) => print(describeRun(session, EXAMPLES[index]?.folder ?? "")));
    print(describeNextSteps());
  } catch (error) {
    if (error instanceof ExampleFailed) print(await describeFailure(error.session, ask));
    throw error;
  }
}

/** As a person does it. A cluster that was there before pulls the model server from its owner's registry: there its name is another. */
async function applyExample({ folder }: Example, { provider, kubeconfig, images }: Standing, ask: Kubectl): Promise<void> {
  const path = join(root, "examples", folder);
  if (provider !== "existing") return void (await ask("apply", "-f", path));
  const manifests = readdirSync(path).filter((name) => name.endsWith(".yaml")).map((name) => readFileSync(join(path, name), "utf8"));
  const input = manifests.join("\n---\n").replaceAll(MODEL_IMAGE, images.get("scripted-model") ?? MODEL_IMAGE);
  await kubectl(kubeconfig, ["-n", NAMESPACE, "apply", "-f", "-"], { input });
}

/** The Session once it has finished; throws ExampleFailed unless it is Completed. */
async function finishedSession(session: string, ask: Kubectl, progress: Progress): Promise<Session> {
  const giveUpAt = performance.now() + TIME_LIMIT_MS;
  let told = "";
  while (performance.now() < giveUpAt) {
    const observed = JSON.parse(await ask("get", "session", session, "-o", "json")) as Session;
    const news = describeState(observed);
    if (news !== told) progress(`session/${session}: ${news}`);
    told = news;
    if (conditionOf(observed, "Finished")?.status === "True") {
      if (conditionOf(observed, "Succeeded")?.status !== "True") throw new ExampleFailed(session, `session/${session} ended as ${told}`);
      return observed;
    }
    await sleep(POLL_MS);
  }
  throw new ExampleFailed(session, `session/${session} has not finished within ${TIME_LIMIT_MS / 1000} s; last seen: ${told}`);
}

function conditionOf(session: Session, type: string) {
  return session.status?.conditions?.find((condition) => condition.type === type);
}

function describeState(session: Session): string {
  const condition = conditionOf(session, "Succeeded");
  if (condition === undefined) return "not seen by the operator yet";
  const steps = session.status?.turns === undefined ? "" : `, turns ${session.status.turns}, tool calls ${session.status.toolCalls ?? 0}`;
  return `${condition.reason}${steps}${condition.status === "Unknown" && condition.message ? ` — ${condition.message}` : ""}`;
}

function describeRun({ metadata, status = {} }: Session, folder: string): string {
  const { result, usage, turns, toolCalls, trace, lastEventSeq } = status;
  const rows: readonly (readonly [string, unknown])[] = [
    ["session", `${metadata.namespace}/${metadata.name} (examples/${folder})`],
    ["answer", result?.text],
    ["outcome", result?.outcome],
    ["turns", turns],
    ["calls", toolCalls],
    ["tokens", usage?.totalTokens],
    ["cost", usage?.costUSD === undefined ? "unknown" : `${usage.costUSD} USD`],
    ["trace id", trace?.id],
    ["events", lastEventSeq],
    ["log", `https://paddock-gateway.paddock-system.svc:8443/v1/namespaces/${metadata.namespace}/sessions/${metadata.name}/events`],
  ];
  return `\n${rows.map(([name, value]) => `${name.padEnd(9)} ${String(value).trim().replaceAll("\n", `\n${" ".repeat(10)}`)}`).join("\n")}`;
}

function describeNextSteps(): string {
  const path = `namespaces/${NAMESPACE}/sessions/workspace/events`;
  return `
Look at what is there:

  export KUBECONFIG=${kubeconfigFile} PATH=${toolsDir}:$PATH
  kubectl get sessions
  kubectl describe session workspace

Read the log of a session, as a user who may run sessions in the namespace:

  kubectl create serviceaccount me
  kubectl create rolebinding me --clusterrole=paddock-user --serviceaccount=${NAMESPACE}:me
  kubectl -n paddock-system get configmap paddock-gateway-ca -o jsonpath='{.data.ca\\.crt}' > gateway-ca.crt
  kubectl -n paddock-system port-forward service/paddock-gateway 8443 &
  curl --cacert gateway-ca.crt -H "Authorization: Bearer $(kubectl create token me)" https://localhost:8443/v1/${path}

Run an example again:    kubectl delete session workspace && kubectl apply -f examples/02-workspace/
Run with a real model:   examples/03-real-model/README.md
Remove the cluster:      npm run cluster:down`;
}

/** What a person needs to find the cause: conditions, pods and their last words. Never rejects: each part stands for itself. */
async function describeFailure(session: string, ask: Kubectl): Promise<string> {
  const selector = `${LABELS.session}=${session}`;
  const parts: readonly (readonly [string, readonly string[]])[] = [
    ["conditions and steps", ["get", "session", session, "-o", "yaml"]],
    ["pods", ["get", "pods", "-o", "wide"]],
    ["the session's pods", ["logs", "-l", selector, "--tail=20", "--prefix"]],
    ["events", ["get", "events", "--sort-by=.lastTimestamp", "--field-selector=type=Warning"]],
    ["operator", ["-n", "paddock-system", "logs", "deployment/paddock-operator", "--tail=20"]],
    ["gateway", ["-n", "paddock-system", "logs", "statefulset/paddock-gateway", "--tail=20"]],
  ];
  const texts = await Promise.all(parts.map(([, args]) => ask(...args).catch((error: unknown) => String(error))));
  return parts.map(([title], index) => `\n== ${title}\n${(texts[index] ?? "").trimEnd().split("\n").slice(-MAX_LINES).join("\n")}`).join("\n");
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

try {
  await main();
} catch (error) {
  process.stderr.write(`\ndemo failed: ${describeError(error)}\n`);
  process.exitCode = 1;
}
