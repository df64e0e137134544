import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LogEvent } from "@paddock/api/log/events";
import { API_VERSION, GROUP, KINDS, VERSION } from "@paddock/api/group";
import type { KindName } from "@paddock/api/group";
import { GATEWAY_CA } from "@paddock/api/names";
import { startFakeApiServer } from "../fakes/apiserver.ts";
import type { FakeApiServer } from "../fakes/apiserver.ts";
import type { Body } from "../fakes/apiserver-store.ts";
import { send } from "../fakes/client.ts";
import type { Reply, Sent, Target } from "../fakes/client.ts";
import { startTcpProxy } from "../fakes/tcp-proxy.ts";
import type { TcpProxy } from "../fakes/tcp-proxy.ts";
import { startReviews } from "../fakes/reviews.ts";
import type { Reviews } from "../fakes/reviews.ts";
import { spawnNode, startKubelet } from "./kubelet.ts";
import type { Kubelet } from "./kubelet.ts";
import { API_KEY, startScriptedModel } from "./model.ts";
import type { ScriptedAnswer, ScriptedModel } from "./model.ts";
import type { OperatorOptions } from "./processes/operator.ts";

// A release on one machine: gateway, operator, runners and sandboxes as processes of their own, around an API server, token reviews and a model in this one.

export const NAMESPACE = "team";
const RELEASE = "paddock-system";
const OURS = `/apis/${GROUP}/${VERSION}`;

/** A process that is started again when it has ended, as a container is. */
export interface Service {
  /** SIGKILL, and started again. Resolves when it has ended. */
  kill(): Promise<void>;
  /** SIGKILL, and not started again before `start`. */
  down(): Promise<void>;
  start(): void;
  /** Ends that nobody has asked for. */
  crashes(): number;
}

/** Of the gateway, before its first start is given up. */
const MOST_CRASHES = 3;
const CRASH_REST_MS = 300;

export interface House {
  readonly folder: string;
  readonly api: FakeApiServer;
  readonly reviews: Reviews;
  readonly kubelet: Kubelet;
  readonly model: ScriptedModel;
  readonly gateway: Service & Target & { /** The store as it is; only while down. */ backUp(): void; /** Puts that copy in its place; only while down. */ restore(): void };
  readonly operator: Service;
  make(kind: KindName, name: string, spec: unknown): string;
  find(kind: KindName, name: string): Body | undefined;
  edit(kind: KindName, name: string, change: (object: Body) => Partial<Pick<Body, "spec" | "status">>): void;
  remove(kind: KindName, name: string): void;
  /** What runners, and the operator, reach the gateway through; it can be told to misbehave. */
  readonly wires: { readonly runners: TcpProxy; readonly operator: TcpProxy };
  /** Somebody who may read and write the sessions' events. Each has an allowance of requests. */
  person(username: string): Person;
  close(): Promise<void>;
}

export interface Person {
  readonly token: string;
  /** undefined when there was no answer. */
  send(sent: Omit<Sent, "token">): Promise<Reply | undefined>;
  /** The log of a session by its UID, read in pages. Rejects when it cannot be read. */
  log(name: string, uid: string): Promise<readonly LogEvent[]>;
}

/** `script` is the model's, see startScriptedModel. Rejects when the gateway does not start. */
export async function openHouse(script: (step: number, prompt: string) => ScriptedAnswer): Promise<House> {
  const folder = await mkdtemp(join(tmpdir(), "paddock-kills-"));
  const api = await startFakeApiServer();
  const reviews = await startReviews();
  const model = await startScriptedModel(script);
  const port = await freePort();
  const dataDir = join(folder, "data");
  mkdirSync(join(folder, "pods"));
  mkdirSync(dataDir);
  const gatewayUrl = `https://127.0.0.1:${port}`;
  const gateway = keepRunning(() =>
    spawnNode("test/kills/processes/gateway.ts", undefined, {
      log: join(folder, "gateway.log"),
      env: {
        PADDOCK_NAMESPACE: RELEASE,
        PADDOCK_DATA_DIR: dataDir,
        PADDOCK_PORT: String(port),
        PADDOCK_METRICS_PORT: "0",
        PADDOCK_OPERATOR_USER: reviews.operatorUser,
        PADDOCK_LOG_LEVEL: "info",
        KUBERNETES_SERVICE_HOST: "127.0.0.1",
        KUBERNETES_SERVICE_PORT: new URL(reviews.options.url).port,
        PADDOCK_API_TOKEN_FILE: reviews.options.tokenFile,
        PADDOCK_API_CA_FILE: reviews.options.caFile,
      },
    }),
  );
  gateway.start();
  const ca = await until(() => reviews.configMap(RELEASE, GATEWAY_CA.configMap)[GATEWAY_CA.key] ?? gateway.crashes() > MOST_CRASHES);
  if (ca === true) {
    const log = readFileSync(join(folder, "gateway.log"), "utf8").slice(0, 2000);
    await Promise.all([gateway.down(), api.close(), reviews.close(), model.close(), rm(folder, { recursive: true })]);
    throw new Error(`the gateway does not start:\n${log}`);
  }
  api.store.create("/api/v1/namespaces", "", { metadata: { name: NAMESPACE } });
  api.store.create("/api/v1/configmaps", RELEASE, { metadata: { name: GATEWAY_CA.configMap }, data: { [GATEWAY_CA.key]: ca } });
  api.store.create("/api/v1/secrets", NAMESPACE, { metadata: { name: "model" }, data: { key: Buffer.from(API_KEY).toString("base64") } });
  const kubelet = startKubelet({ api, reviews, folder: join(folder, "pods") });
  const wires = { runners: await startTcpProxy({ host: "127.0.0.1", port }), operator: await startTcpProxy({ host: "127.0.0.1", port }) };
  const over = (wire: TcpProxy): string => `https://127.0.0.1:${wire.port}`;
  const options: OperatorOptions = { apiUrl: api.url, gatewayUrl: over(wires.runners), gatewayDialUrl: over(wires.operator), token: reviews.operatorToken(), namespace: RELEASE };
  const operator = keepRunning(() => spawnNode("test/kills/processes/operator.ts", options, { log: join(folder, "operator.log") }));
  operator.start();
  const target: Target = { url: gatewayUrl, ca };
  const keyOf = (kind: KindName, name: string) => ({ collection: `${OURS}/${KINDS[kind].plural}`, namespace: NAMESPACE, name });
  return {
    folder, api, reviews, kubelet, model, operator, wires,
    gateway: {
      ...gateway, ...target,
      backUp: () => {
        rmSync(`${dataDir}-copy`, { recursive: true, force: true });
        cpSync(dataDir, `${dataDir}-copy`, { recursive: true });
      },
      restore: () => {
        rmSync(dataDir, { recursive: true });
        cpSync(`${dataDir}-copy`, dataDir, { recursive: true });
      },
    },
    make: (kind, name, spec) => api.store.create(`${OURS}/${KINDS[kind].plural}`, NAMESPACE, { apiVersion: API_VERSION, kind, metadata: { name }, spec }).metadata.uid,
    find: (kind, name) => api.store.list(`${OURS}/${KINDS[kind].plural}`).find(({ body }) => body.metadata.name === name)?.body,
    edit: (kind, name, change) => {
      const key = keyOf(kind, name);
      const body = api.store.get(key);
      const changed = change(body);
      api.store.update(key, { ...body, ...changed }, changed.status !== undefined);
    },
    remove: (kind, name) => void api.store.delete(keyOf(kind, name), undefined),
    person: (username) => {
      const token = reviews.personToken(username, [NAMESPACE], ["get", "create"]);
      return {
        token,
        send: (sent) => send(target, { ...sent, token }).catch(() => undefined),
        log: (name, uid) => readLog(target, token, { name, uid }),
      };
    },
    close: async () => {
      await Promise.all([operator.down(), kubelet.stop()]);
      await gateway.down();
      await Promise.all([model.close(), api.close(), reviews.close(), wires.runners.close(), wires.operator.close()]);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function readLog(target: Target, token: string, { name, uid }: { readonly name: string; readonly uid: string }): Promise<readonly LogEvent[]> {
  const events: LogEvent[] = [];
  for (;;) {
    const { status, body } = await send(target, { path: `/v1/namespaces/${NAMESPACE}/sessions/${name}/events?limit=1000&uid=${uid}&after=${events.length}`, token });
    if (status !== 200) throw new Error(`the log of ${name} cannot be read: ${status} ${JSON.stringify(body)}`);
    const page = (body as { readonly events: readonly LogEvent[] }).events;
    if (page.length === 0) return events;
    events.push(...page);
  }
}

function keepRunning(spawn: () => ChildProcess): Service {
  let child: ChildProcess | undefined;
  let isWanted = false;
  let crashes = 0;
  const start = (): void => {
    isWanted = true;
    const mine = spawn();
    child = mine;
    mine.once("exit", (_code, signal) => {
      if (!isWanted || child !== mine) return;
      if (signal === "SIGKILL") return start();
      crashes += 1;
      setTimeout(() => {
        if (isWanted && child === mine) start();
      }, CRASH_REST_MS);
    });
  };
  const kill = async (): Promise<void> => {
    const mine = child;
    if (mine === undefined || mine.exitCode !== null || mine.signalCode !== null) return;
    const ended = once(mine, "exit");
    mine.kill("SIGKILL");
    await ended;
  };
  return {
    start, kill,
    down: () => {
      isWanted = false;
      return kill();
    },
    crashes: () => crashes,
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** Resolves with the first value that is there; looks every few milliseconds. Whoever calls bounds it. */
export async function until<T>(look: () => T | undefined | false | Promise<T | undefined | false>): Promise<T> {
  for (;;) {
    const value = await look();
    if (value !== undefined && value !== false) return value;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
