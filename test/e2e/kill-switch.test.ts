import assert from "node:assert/strict";
import { before, test } from "node:test";
import type { TestContext } from "node:test";
import { apply, buildAgent, buildSession, eventually, podsOf } from "./lab.ts";
import type { Pod } from "./lab.ts";
import { get, list, must } from "./kubectl.ts";
import { call, deployModel, say } from "./model.ts";
import { openNamespace } from "./namespace.ts";
import { FORGE_PEER, buildForgeCa, deployForge } from "../forge/deploy.ts";
import type { DeployedForge } from "../forge/deploy.ts";
import { buildForgeEnvironment } from "../forge/scene.ts";
import { clock } from "../forge/seen.ts";

// Stop is real: a command in a sandbox sends a byte every 50 ms, terminated and tunnelled, begins again whenever it is cut off, and ignores signals.
// The forge writes down when each byte came. Times run from the API server's answer to the request that stops it, which on a loaded machine takes seconds; what is
// told besides runs from before it was sent.

const LAST_BYTE_MS = 2000;
const PODS_GONE_MS = 15_000;
/** The machine that tests run on does other things too: only what takes many times longer is wrong whatever else it does. The figures are told. */
const NOISE = 5;
const RELEASE = "paddock-system";

let forge: DeployedForge;
let forgeNamespace: string;
let offset: { readonly ms: number; readonly uncertainMs: number };
let namespace: string;

before(async () => {
  forgeNamespace = await openNamespace("forge");
  forge = await deployForge(forgeNamespace);
  offset = await forge.clockOffset();
  namespace = await openTenant();
});

/** A namespace with everything that sessions need but the forge, which outlives it. */
async function openTenant(): Promise<string> {
  const tenant = await openNamespace("stop");
  const forgePeer = { ...FORGE_PEER, namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": forgeNamespace } } };
  const modelPeer = { podSelector: { matchLabels: { app: "scripted-model" } }, ports: [8080] };
  // A rule for paths has the proxy end TLS; without one the connection is carried as it is.
  const network = { allowedHosts: [{ host: forge.host, paths: ["/pour"] }, { host: forge.mirror, ports: [8444] }], inCluster: [modelPeer, forgePeer] };
  await apply(tenant, buildForgeCa(forge.ca), buildAgent("agent"), buildForgeEnvironment("environment", network), buildForgeEnvironment("doomed", network));
  const names = [...CASES.map(({ name }) => name), "namespace", "runner", "environment"];
  const scripts = names.map((name) => [name, [call("bash", { command: pourCommand(name), timeoutSeconds: 600 }), say("late")]] as const);
  await deployModel(tenant, { ...Object.fromEntries(scripts), suspend: [call("bash", { command: `setsid nohup sh -c ${quote(pourCommand("suspend"))} > /dev/null 2>&1 & echo begun` }), call("bash", { command: "sleep 5" }), say("late")] });
  return tenant;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'"'"'`)}'`;
}

function pourCommand(id: string): string {
  const pour = (url: string): string => `while :; do (while :; do printf x; sleep 0.05; done) | curl -sS --http2 -H Expect: -T - "${url}?id=${id}"; sleep 0.05; done`;
  return `trap "" TERM HUP INT; (${pour(`https://${forge.host}/pour`)}) & (${pour(`https://${forge.mirror}:8444/pour`)}) & wait`;
}

/** When the forge got the newest byte, or request, of a session; in milliseconds since 1970 on this machine's clock. */
async function lastByteAt(id: string): Promise<number> {
  const requests = await poursOf(id);
  return Math.max(0, ...requests.map(({ at, lastReceivedAt }) => Math.max(at, lastReceivedAt ?? 0))) - offset.ms;
}

async function poursOf(id: string): ReturnType<DeployedForge["requests"]> {
  return forge.requests(`/pour?id=${id}`);
}

/** Waits until both streams of a session flow. */
async function pouring(id: string): Promise<void> {
  await eventually(`${id} to send`, async () => new Set((await poursOf(id)).filter(({ bytesReceived }) => bytesReceived >= 5).map(({ host }) => host)).size === 2, 120);
}

interface Stopped {
  readonly lastByteMs: number;
  readonly podsGoneMs: number;
}

interface Stop {
  readonly tenant: string;
  readonly session: string;
  /** What stops it; gives the time of the API server's answer to that. */
  readonly act: () => Promise<number>;
  /** Whose pods must go; absent: the session's. */
  readonly isGone?: () => Promise<boolean>;
}

/** Does what stops a session that pours, and measures on one clock until its pods are gone. */
async function measure(t: TestContext, { tenant, session, act, isGone = () => podsGone(tenant, session) }: Stop): Promise<Stopped> {
  const sentAt = clock();
  const acceptedAt = await act();
  await eventually(`the pods of ${session} to be gone`, isGone, 120);
  const podsGoneMs = clock() - acceptedAt;
  const lastByteMs = (await lastByteAt(session)) - acceptedAt;
  const round = (ms: number): string => `${Math.round(ms)} ms`;
  const took = acceptedAt - sentAt;
  t.diagnostic(`last byte ${round(lastByteMs)} after the API server's answer (${round(lastByteMs + took)} after the request was sent), pods gone ${round(podsGoneMs)} (${round(podsGoneMs + took)}); clocks agree to ${round(offset.uncertainMs)}`);
  return { lastByteMs, podsGoneMs };
}

async function podsGone(tenant: string, session: string): Promise<boolean> {
  return (await podsOf(tenant, session, "sandbox")).length + (await podsOf(tenant, session, "runner")).length === 0;
}

async function releasePods(component: string): Promise<Pod[]> {
  return list<Pod>("pods", RELEASE, `app.kubernetes.io/component=${component}`);
}

/** Deletes a pod of the release without waiting; another one takes its place. */
async function restart(component: "gateway" | "operator"): Promise<void> {
  const pods = await releasePods(component);
  assert.ok(pods.length > 0, `a pod of the ${component}`);
  await must(["delete", "pod", ...pods.map(({ metadata }) => metadata.name), "-n", RELEASE, "--wait=false"]);
}

async function ready(): Promise<void> {
  await must(["rollout", "status", "statefulset/paddock-gateway", "-n", RELEASE, "--timeout=120s"]);
  await must(["rollout", "status", "deployment/paddock-operator", "-n", RELEASE, "--timeout=120s"]);
}

/** Runs kubectl; the time of its answer. */
async function answered(...args: readonly string[]): Promise<number> {
  await must(args);
  return clock();
}

const cancel = (session: string) => answered("patch", "session", session, "-n", namespace, "--type=merge", "-p", '{"spec":{"cancel":true}}');

interface Case {
  readonly name: string;
  readonly title: string;
  readonly act: (session: string) => Promise<number>;
  readonly environment?: string;
  /** What is promised; where the operator is away, it is that of the one that takes its place. */
  readonly lastByteMs: number;
}

const CASES: readonly Case[] = [
  { name: "cancel", title: "cancelled", act: cancel, lastByteMs: LAST_BYTE_MS },
  { name: "delete", title: "deleted", act: (session) => answered("delete", "session", session, "-n", namespace, "--wait=false"), lastByteMs: LAST_BYTE_MS },
  {
    name: "gateway-before", title: "cancelled right after the gateway's pod was deleted", lastByteMs: LAST_BYTE_MS,
    act: async (session) => {
      await restart("gateway");
      return cancel(session);
    },
  },
  {
    name: "gateway-after", title: "cancelled right before the gateway's pod was deleted", lastByteMs: LAST_BYTE_MS,
    act: async (session) => {
      const at = await cancel(session);
      await restart("gateway");
      return at;
    },
  },
  {
    // Nobody reads the cancel until the next operator does: then it is as quick as ever.
    name: "operator-before", title: "cancelled right after the operator's pod was deleted", lastByteMs: PODS_GONE_MS,
    act: async (session) => {
      await restart("operator");
      return cancel(session);
    },
  },
  {
    name: "operator-after", title: "cancelled right before the operator's pod was deleted", lastByteMs: PODS_GONE_MS,
    act: async (session) => {
      const at = await cancel(session);
      await restart("operator");
      return at;
    },
  },
];

for (const { name, title, act, lastByteMs } of CASES) {
  test(`a Session that is ${title}: the last byte within ${lastByteMs / 1000} s, the pods gone within ${PODS_GONE_MS / 1000} s`, async (t) => {
    t.after(ready);
    await apply(namespace, buildSession(name, name));
    await pouring(name);
    const stopped = await measure(t, { tenant: namespace, session: name, act: () => act(name) });
    assert.ok(stopped.lastByteMs <= NOISE * lastByteMs, `last byte after ${stopped.lastByteMs} ms`);
    assert.ok(stopped.podsGoneMs <= NOISE * PODS_GONE_MS, `pods gone after ${stopped.podsGoneMs} ms`);
  });
}

test("a runner's pod that is deleted takes its streams with it", async (t) => {
  await apply(namespace, buildSession("runner", "runner"));
  await pouring("runner");
  const [runner] = await podsOf(namespace, "runner", "runner");
  assert.ok(runner?.status.podIP !== undefined);
  const address = runner.status.podIP;
  const sentAt = clock();
  await must(["delete", "pod", runner.metadata.name, "-n", namespace, "--wait=false"]);
  await eventually("the pod to be gone", async () => (await get("pod", runner.metadata.name, namespace)) === undefined);
  const through = (await poursOf("runner")).filter(({ from }) => from.endsWith(address));
  assert.ok(through.length >= 2, "control: what it carried came from its address");
  const last = Math.max(...through.map(({ lastReceivedAt }) => lastReceivedAt ?? 0)) - offset.ms - sentAt;
  t.diagnostic(`last byte ${Math.round(last)} ms after the pod's deletion was sent`);
  assert.ok(last <= NOISE * LAST_BYTE_MS, `last byte after ${last} ms`);
  await must(["delete", "session", "runner", "-n", namespace]);
});

test("a Session that is suspended: what a call left running sends nothing once the call that runs has ended", async (t) => {
  await apply(namespace, buildSession("suspend", "suspend", { spec: { idleTimeoutSeconds: 0 } }));
  await pouring("suspend");
  await must(["patch", "session", "suspend", "-n", namespace, "--type=merge", "-p", '{"spec":{"suspend":true}}']);
  await eventually("its pods to be gone", () => podsGone(namespace, "suspend"), 120);
  const session = await get<{ status?: { conditions?: readonly { type: string; lastTransitionTime: string }[] } }>("session", "suspend", namespace);
  const suspendedAt = session?.status?.conditions?.find(({ type }) => type === "Suspended")?.lastTransitionTime ?? "";
  const last = (await lastByteAt("suspend")) - Date.parse(suspendedAt);
  t.diagnostic(`last byte ${Math.round(last)} ms after Suspended was shown (in whole seconds); the call took 5 s`);
  assert.ok((await poursOf("suspend")).every(({ endedAt }) => endedAt !== null), "every stream has ended");
  await must(["delete", "session", "suspend", "-n", namespace]);
});

// Kubernetes waits 5 s before it begins with what is in a namespace, and takes the pods itself, each with its own grace: the Session is deleted after them.
test("a namespace that is deleted: the last byte within 15 s, and its pods go", async (t) => {
  const tenant = await openTenant();
  await apply(tenant, buildSession("namespace", "namespace"));
  await pouring("namespace");
  const act = () => answered("delete", "namespace", tenant, "--wait=false");
  const { lastByteMs } = await measure(t, { tenant, session: "namespace", act });
  assert.ok(lastByteMs <= NOISE * PODS_GONE_MS, `last byte after ${lastByteMs} ms`);
});

test("an Environment that is deleted: its policies go with it, and with them the way out", async (t) => {
  await apply(namespace, buildSession("environment", "environment", { environment: "doomed" }));
  await pouring("environment");
  const sentAt = clock();
  await must(["delete", "environment", "doomed", "-n", namespace, "--wait=false"]);
  const last = await eventually("the streams to end", async () => {
    const newest = await lastByteAt("environment");
    return clock() - newest > 3000 && newest;
  }, 120);
  t.diagnostic(`last byte ${Math.round(last - sentAt)} ms after the deletion was sent`);
  await must(["delete", "session", "environment", "-n", namespace]);
});
