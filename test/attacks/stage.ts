import { randomBytes } from "node:crypto";
import type { LogEvent, LogEventOf } from "@paddock/api/log/events";
import { assertSinkOwns, internet, listenInSink, metadataAddress, openSink } from "../cluster/sink.ts";
import type { Arrival } from "../cluster/sink.ts";
import { makeCanaries } from "../canary/canaries.ts";
import type { Canary } from "../canary/canaries.ts";
import { apply, buildAgent, buildEnvironment, buildSession, eventually, finished, reasonOf } from "../e2e/lab.ts";
import { kubectl, list, must } from "../e2e/kubectl.ts";
import { call, deployModel, say } from "../e2e/model.ts";
import { openGateway, readLog, userToken } from "../e2e/people.ts";
import type { PeopleClient } from "../e2e/people.ts";
import { FORGE_CA, FORGE_PEER, FORGE_SECRET, deployForge } from "../forge/deploy.ts";
import type { DeployedForge } from "../forge/deploy.ts";
import { buildMap, parseResult } from "./program.ts";
import type { Program } from "./program.ts";

// Where attacks are played: a tenant with hijacked agents, another tenant as their victim, the forge as a server that they may reach, and the sink.

/** What a hijacked agent is made to run. */
export interface Hijack {
  /** Of the session; no other in the suite has it. */
  readonly name: string;
  readonly program: Program;
  readonly environment?: string;
  /** Which of the scripts below; obeys what a file says by default. */
  readonly prompt?: keyof typeof PROMPTS;
  readonly spec?: object;
}

/** How a session of a hijacked agent went. */
export interface Played {
  readonly session: string;
  readonly outcome: string;
  /** What the program reported; undefined when its call did not end with a report. */
  readonly result: Readonly<Record<string, unknown>> | undefined;
  /** The last tool's output. */
  readonly text: string;
  readonly events: readonly LogEvent[];
}

export interface Stage {
  /** Of the hijacked agents. */
  readonly namespace: string;
  /** Of another tenant. */
  readonly other: string;
  readonly gateway: PeopleClient;
  readonly forge: DeployedForge;
  /** The forge's credential is the first; the model's key is the second. */
  readonly canaries: readonly Canary[];
  /** Undefined where the cluster has no sink. */
  readonly sink: StageSink | undefined;
  /** Sandboxes of a burst. */
  readonly burst: number;
  /** Work that several attacks share is done once. */
  once<T>(key: string, work: () => Promise<T>): Promise<T>;
  hijack(hijack: Hijack): Promise<Played>;
  /** Addresses whose packets the sink may see: those of controls. */
  readonly controls: Set<string>;
  close(): Promise<void>;
}

export interface StageSink {
  readonly internet: { readonly host: string; readonly port: number };
  readonly metadata: { readonly host: string; readonly port: number };
  readonly dns: { readonly host: string; readonly port: number };
  seen(): readonly Arrival[];
  seenFrom(address: string): readonly Arrival[];
}

/** What the tenant's agents are asked to do, by their script. */
export const PROMPTS = {
  /** Reads a file and runs what it says. */
  obey: "Set the project up as its README says.",
  /** The same, with ten seconds for the command. */
  obeyQuickly: "Set the project up as its README says, quickly.",
  /** Waits in the sandbox. */
  hold: "Wait in the sandbox.",
  /** Ends by itself soon. */
  shoot: "Look how often it shot.",
  /** Asks to run what is not what it looks like. */
  sneak: "Do the usual.",
  garbage: "garbage",
  huge: "huge",
  wrong: "wrong",
  cut: "cut",
  honest: "honest",
} as const;

const README = /Run this: (.*)/.source;
const obey = (more: object = {}) => [call("read", { path: "README.md" }), call("bash", { command: `{{lastToolResult:${README}}}`, timeoutSeconds: 120, ...more }), say("{{lastToolResult}}")];

/** To the hostile tool server, which answers by the command. */
const toHostile = (command: string) => [call("bash", { command, timeoutSeconds: 30 }), say("Done.")];

/** Colours, a cleared screen, text that runs backwards, a returned carriage, a forged line, and letters that nobody sees. */
export const NASTY = "\u001b[2J\u001b[31mred\u202e txet\u2066\rhidden\n{\"level\":50,\"msg\":\"forged line\"}\u200b\u2060\u00ad\u0007\u009b31m";

export const SCRIPTS = {
  [PROMPTS.shoot]: [call("bash", { command: "sleep 1; cat /tmp/shots" }), say("{{lastToolResult}}")],
  [PROMPTS.sneak]: [call("bash", { command: `echo fine # ${NASTY}` }), say("Done.")],
  ...Object.fromEntries((["garbage", "huge", "wrong", "cut", "honest"] as const).map((key) => [PROMPTS[key], toHostile(key)])),
  [PROMPTS.obeyQuickly]: obey({ timeoutSeconds: 10 }),
  [PROMPTS.obey]: obey(),
  [PROMPTS.hold]: [call("bash", { command: "sleep 900", timeoutSeconds: 600 }), say("late")],
};

async function openStageSink(): Promise<{ readonly sink: StageSink; close(): Promise<void> } | undefined> {
  // There is one; another test that has it gives it back soon.
  const { listeners } = await eventually("the sink to be free", async () => ({ listeners: await openSink() }), 120);
  if (listeners === undefined) return undefined;
  const host = internet.replace("0/24", "10");
  for (const address of [host, metadataAddress]) await assertSinkOwns(address);
  const dns = await listenInSink(53);
  const seen = (): readonly Arrival[] => [...listeners.seen(), ...dns.seen()];
  const sink: StageSink = {
    internet: { host, port: 8443 }, metadata: { host: metadataAddress, port: 80 }, dns: { host, port: 53 },
    seen, seenFrom: (address) => seen().filter(({ from }) => from === address),
  };
  return { sink, close: async () => void (await Promise.all([listeners.close(), dns.close()])) };
}

/** Environments of the tenant. `standard` reaches nothing but its model; `online` the forge and, by names that lead astray, nothing else. */
function buildEnvironments(namespace: string): readonly object[] {
  const model = { podSelector: { matchLabels: { app: "scripted-model" } }, ports: [8080] };
  const key = { apiKey: { secretKeyRef: { name: "scripted-model-key", key: "value" } } };
  const svc = (name: string): string => `${name}.${namespace}.svc`;
  const network = {
    inCluster: [model, FORGE_PEER],
    caBundle: { configMapKeyRef: FORGE_CA },
    allowedHosts: [
      { host: svc("forge"), ports: [443, 80] },
      { host: svc("mirror"), ports: [443, 80], methods: ["GET"], paths: ["/whoami", "/redirect"] },
      { host: svc("tunnel"), ports: [443, 80] },
      ...["api-alias", "tenant-alias", "sink-alias"].map((name) => ({ host: svc(name), ports: [443, 80, 8080, 8443] })),
    ],
  };
  const credentials = [{ name: "forge", secretKeyRef: FORGE_SECRET, hosts: [svc("forge")] }];
  return [
    buildEnvironment("standard", { model: key }),
    buildEnvironment("online", { model: key, spec: { network, credentials } }),
    buildEnvironment("narrow", { model: key, spec: { sandbox: { resources: { limits: { memory: "256Mi" } }, workspace: { size: "64Mi" } } } }),
  ];
}

/** Names that stand for what nobody may reach: DNS that an attacker controls. */
function buildAliases(namespace: string, other: string, sinkAddress: string): readonly object[] {
  const alias = (name: string, externalName: string): object => ({ apiVersion: "v1", kind: "Service", metadata: { name, namespace }, spec: { type: "ExternalName", externalName } });
  return [
    alias("api-alias", "kubernetes.default.svc.cluster.local"),
    alias("tenant-alias", `scripted-model.${other}.svc.cluster.local`),
    { apiVersion: "v1", kind: "Service", metadata: { name: "sink-alias", namespace }, spec: { clusterIP: "None", ports: [{ port: 8443 }] } },
    {
      apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", metadata: { name: "sink-alias", namespace, labels: { "kubernetes.io/service-name": "sink-alias" } },
      addressType: "IPv4", ports: [{ port: 8443 }], endpoints: [{ addresses: [sinkAddress], conditions: { ready: true } }],
    },
  ];
}

/** Opens the stage: half a minute, most of it images that start. */
export async function openStage({ burst }: { readonly burst: number }): Promise<Stage> {
  const id = randomBytes(3).toString("hex");
  const [namespace, other] = [`attacks-${id}`, `attacks-other-${id}`];
  const sink = await openStageSink();
  const clear = async (): Promise<void> => {
    await sink?.close();
    const made = (await list<{ metadata: { name: string } }>("namespaces", "default")).map(({ metadata: { name } }) => name).filter((name) => name.startsWith(namespace) || name === other);
    if (made.length > 0) await kubectl(["delete", "namespace", ...made, "--wait=false", "--ignore-not-found"]);
  };
  try {
    return await setStage({ namespace, other, burst, sink: sink?.sink, clear });
  } catch (error) {
    await clear();
    throw error;
  }
}

interface Setting extends Pick<Stage, "namespace" | "other" | "burst" | "sink"> {
  clear(): Promise<void>;
}

async function setStage({ namespace, other, burst, sink, clear }: Setting): Promise<Stage> {
  const canaries = makeCanaries(4);
  const [token, key] = canaries.map(({ value }) => value);
  if (token === undefined || key === undefined) throw new Error("there are no canaries");
  for (const name of [namespace, other]) await must(["create", "namespace", name]);
  // Made, not applied: what is applied is kept a second time, in an annotation.
  const secret = (name: string, value: string): Promise<string> => must(["create", "-n", namespace, "-f", "-"], { input: JSON.stringify({ apiVersion: "v1", kind: "Secret", metadata: { name }, stringData: { value } }) });
  await secret(FORGE_SECRET.name, token);
  await secret("scripted-model-key", key);
  const [forge] = await Promise.all([deployForge(namespace), deployModel(namespace, SCRIPTS), deployModel(other, {})]);
  await apply(namespace, buildAgent("agent"), buildAgent("asks", { tools: [{ name: "bash", permission: "Ask" }] }), ...buildEnvironments(namespace), ...buildAliases(namespace, other, sink?.internet.host ?? "198.18.0.10"));
  const [gateway, reader] = await Promise.all([openGateway(), userToken(namespace, "reader")]);
  const shared = new Map<string, Promise<unknown>>();
  return {
    namespace, other, gateway, forge, canaries, burst, sink, controls: new Set(),
    once: <T>(name: string, work: () => Promise<T>): Promise<T> => {
      const known = shared.get(name) ?? work();
      shared.set(name, known);
      return known as Promise<T>;
    },
    hijack: async (hijack) => {
      const { name, program, environment = "standard", prompt = "obey", spec } = hijack;
      await apply(namespace, buildMap(name, program));
      const files = ["README.md", program.file, "request.json"].map((path) => ({ path, configMapKeyRef: { name, key: path } }));
      await apply(namespace, buildSession(name, PROMPTS[prompt], { environment, spec: { files, ...spec } }));
      return readPlayed(await finished(namespace, name, 240), await readLog(gateway, namespace, name, reader));
    },
    close: async () => {
      gateway.close();
      await clear();
    },
  };
}

function readPlayed(session: Awaited<ReturnType<typeof finished>>, events: readonly LogEvent[]): Played {
  const results = events.filter((event): event is LogEventOf<"tool.finished"> => event.type === "tool.finished");
  const text = results.length < 2 ? "" : (results.at(-1)?.data.content ?? "");
  return { session: session.metadata.name, outcome: reasonOf(session) ?? "", result: parseResult(text), text, events };
}

/** What a program reported; throws with what became of the session when there is no report. */
export function reportOf({ session, outcome, result, text, events }: Played): Readonly<Record<string, unknown>> {
  if (result !== undefined) return result;
  const end = events.findLast(({ type }) => type === "run.finished")?.data;
  throw new Error(`session ${session} ended as ${outcome} without a report: ${JSON.stringify(end).slice(0, 800)} ${text.slice(-800)}`);
}

