import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { request } from "node:https";
import type { IncomingMessage } from "node:http";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { GATEWAY_CA } from "@paddock/api/names";
import type { LogEvent } from "@paddock/api/log/events";
import { apply, eventually } from "./lab.ts";
import { KUBECONFIG, get, kubectlProgram, must } from "./kubectl.ts";

const RELEASE_NAMESPACE = "paddock-system";

/** The gateway as a person outside the cluster reaches it: through a port-forward, trusting the published CA. */
export interface PeopleClient {
  /** `https://127.0.0.1:PORT`. */
  readonly url: string;
  readonly ca: string;
  /** GETs a path; headers besides the token as given. */
  get(path: string, token: string | undefined, headers?: Readonly<Record<string, string>>): Promise<{ status: number; body: string }>;
  /** POSTs JSON to a path. */
  post(path: string, token: string, body: object, headers?: Readonly<Record<string, string>>): Promise<{ status: number; body: string }>;
  /** Follows a session's events as server-sent events until `until` says enough or the stream ends. */
  follow(path: string, token: string, options: FollowOptions): Promise<SseEvent[]>;
  close(): void;
}

interface FollowOptions {
  readonly lastEventId?: string;
  readonly until?: (event: SseEvent) => boolean;
}

export interface SseEvent {
  readonly id: string | undefined;
  readonly event: string;
  readonly data: string;
}

async function forwardToGateway(): Promise<{ readonly forward: ChildProcess; readonly port: number }> {
  const forward = spawn(kubectlProgram(), ["--kubeconfig", KUBECONFIG, "port-forward", "-n", RELEASE_NAMESPACE, "service/paddock-gateway", ":8443"], { stdio: ["ignore", "pipe", "inherit"] });
  const port = await new Promise<number>((resolve, reject) => {
    forward.on("error", reject);
    forward.on("exit", (code) => {
      reject(new Error(`kubectl port-forward ended with ${String(code)}`));
    });
    createInterface(forward.stdout).on("line", (line) => {
      const match = /127\.0\.0\.1:([0-9]+)/.exec(line);
      if (match !== null) resolve(Number(match[1]));
    });
  });
  return { forward, port };
}

export async function openGateway(): Promise<PeopleClient> {
  const ca = await eventually("the gateway's CA certificate", async () => {
    const map = await get<{ data?: Record<string, string> }>("configmap", GATEWAY_CA.configMap, RELEASE_NAMESPACE);
    return map?.data?.[GATEWAY_CA.key];
  });
  // Again while its pod is on its way.
  const { forward, port } = await eventually("a way to the gateway", forwardToGateway, 60);
  const open = (path: string, token: string | undefined, headers: Readonly<Record<string, string>> = {}, body?: string) =>
    new Promise<IncomingMessage>((resolve, reject) => {
      const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
      const method = body === undefined ? "GET" : "POST";
      request({ host: "127.0.0.1", port, path, method, ca, servername: "localhost", headers: { ...headers, ...authorization } }, resolve).on("error", reject).end(body);
    });
  return {
    url: `https://127.0.0.1:${port}`,
    ca,
    async get(path, token, headers) {
      const response = await open(path, token, headers);
      return { status: response.statusCode ?? 0, body: await text(response) };
    },
    async post(path, token, body, headers) {
      const response = await open(path, token, { "content-type": "application/json", ...headers }, JSON.stringify(body));
      return { status: response.statusCode ?? 0, body: await text(response) };
    },
    async follow(path, token, { lastEventId, until }) {
      const response = await open(path, token, { accept: "text/event-stream", ...(lastEventId === undefined ? {} : { "last-event-id": lastEventId }) });
      if (response.statusCode !== 200) throw new Error(`${path}: ${String(response.statusCode)}`);
      const seen: SseEvent[] = [];
      for await (const event of parseSse(response)) {
        seen.push(event);
        if (until?.(event) === true) break;
      }
      response.destroy();
      return seen;
    },
    close() {
      forward.removeAllListeners("exit");
      forward.kill();
    },
  };
}

/** A whole session's log, read as a person with `token`. */
export async function readLog(gateway: PeopleClient, namespace: string, session: string, token: string): Promise<LogEvent[]> {
  const { status, body } = await gateway.get(`/v1/namespaces/${namespace}/sessions/${session}/events?limit=1000`, token);
  if (status !== 200) throw new Error(`reading the log of ${namespace}/${session}: ${status} ${body}`);
  return (JSON.parse(body) as { events: LogEvent[] }).events;
}

/** Token of a service account that may use Paddock in the namespace as a user does. */
export async function userToken(namespace: string, account = "user"): Promise<string> {
  await apply(
    namespace,
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: account } },
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "RoleBinding",
      metadata: { name: account },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "paddock-user" },
      subjects: [{ kind: "ServiceAccount", name: account, namespace }],
    },
  );
  return tokenOf(namespace, account);
}

export async function tokenOf(namespace: string, account: string): Promise<string> {
  return (await must(["create", "token", account, "-n", namespace])).trim();
}

async function* parseSse(stream: AsyncIterable<Buffer>): AsyncGenerator<SseEvent> {
  let fields: { id?: string; event?: string; data: string[] } = { data: [] };
  for await (const line of createInterface({ input: stream as unknown as NodeJS.ReadableStream })) {
    if (line === "") {
      if (fields.event !== undefined || fields.data.length > 0) yield { id: fields.id, event: fields.event ?? "message", data: fields.data.join("\n") };
      fields = { data: [] };
      continue;
    }
    const colon = line.indexOf(":");
    const name = line.slice(0, colon);
    const value = line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") fields.data.push(value);
    if (name === "id") fields.id = value;
    if (name === "event") fields.event = value;
  }
}
