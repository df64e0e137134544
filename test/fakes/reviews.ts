import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { createServer } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GATEWAY_AUDIENCE, POD_SERVICE_ACCOUNT } from "@paddock/api/names";
import type { ApiServerOptions } from "../../gateway/src/auth/api-server.ts";
import { issueServing, makeAuthority, parseAuthority } from "../../gateway/src/tls/authority.ts";

// The part of an API server that the gateway asks, over real TLS on loopback: TokenReview, SubjectAccessReview, and one ConfigMap.

const OPERATOR = "system:serviceaccount:paddock-system:paddock-operator";
const CLUSTER_AUDIENCE = "https://kubernetes.default.svc.cluster.local";

interface User {
  readonly username: string;
  readonly uid: string;
  readonly groups: readonly string[];
  readonly extra: Readonly<Record<string, readonly string[]>>;
}

export interface RunnerPod {
  readonly namespace: string;
  readonly podUid: string;
  readonly podName: string;
}

export interface Reviews {
  /** How the gateway is told of this server. */
  readonly options: ApiServerOptions;
  readonly operatorUser: string;
  operatorToken(): string;
  /** A token as the kubelet projects it into a runner pod. */
  runnerToken(pod: RunnerPod): string;
  /** A person who may do this with sessions/events in these namespaces, `list` with sessions themselves; `verbs` absent means get. */
  personToken(username: string, namespaces: readonly string[], verbs?: readonly string[]): string;
  /** From now on the token is unknown. */
  revoke(token: string): void;
  /** Requests so far by path's last part, e.g. `tokenreviews`. */
  asked(resource: string): number;
  /** Data patched into `namespace/name` so far. */
  configMap(namespace: string, name: string): Readonly<Record<string, string>>;
  /** Replaces the gateway's own token, in its file and in what is accepted, as the kubelet does. */
  rotateOwnToken(): Promise<void>;
  /** Answers everything with status 500 while true. */
  setBroken(broken: boolean): void;
  close(): Promise<void>;
}

interface World {
  readonly tokens: Map<string, { readonly user: User; readonly audience: string }>;
  readonly grants: Map<string, { readonly namespaces: readonly string[]; readonly verbs: readonly string[] }>;
  readonly configMaps: Map<string, Readonly<Record<string, string>>>;
  readonly counts: Map<string, number>;
  broken: boolean;
}

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/** Starts the server on a free port of loopback. */
export async function startReviews(): Promise<Reviews> {
  const world: World = { tokens: new Map(), grants: new Map(), configMaps: new Map(), counts: new Map(), broken: false };
  const authority = parseAuthority(await makeAuthority(new Date()));
  const serving = await issueServing(authority, ["localhost", "127.0.0.1"], new Date());
  const folder = await mkdtemp(join(tmpdir(), "paddock-reviews-"));
  let ownToken = "";
  const rotateOwnToken = async (): Promise<void> => {
    ownToken = randomBytes(16).toString("hex");
    await writeFile(join(folder, "token"), ownToken);
  };
  await rotateOwnToken();
  await writeFile(join(folder, "ca.crt"), authority.certificate);
  const server = createServer({ cert: serving.certificate, key: serving.key }, (request, response) => {
    void readJson(request)
      .then((body) => answer(world, request, { body, authorized: request.headers.authorization === `Bearer ${ownToken}` }))
      .catch((error: unknown): Answer => ({ status: 400, body: { message: String(error) } }))
      .then(({ status, body }) => response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body)));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the fake API server has no port");
  const issue = (user: User, audience: string): string => {
    const token = tokenFor(user.username, audience);
    world.tokens.set(token, { user, audience });
    return token;
  };
  return {
    options: { url: `https://127.0.0.1:${address.port}`, tokenFile: join(folder, "token"), caFile: join(folder, "ca.crt") },
    operatorUser: OPERATOR,
    operatorToken: () => issue(userOf(OPERATOR, {}), GATEWAY_AUDIENCE),
    runnerToken: ({ namespace, podUid, podName }) => {
      const extra = { "authentication.kubernetes.io/pod-uid": [podUid], "authentication.kubernetes.io/pod-name": [podName] };
      return issue(userOf(`system:serviceaccount:${namespace}:${POD_SERVICE_ACCOUNT}`, extra), GATEWAY_AUDIENCE);
    },
    personToken: (username, namespaces, verbs = ["get"]) => {
      world.grants.set(username, { namespaces, verbs });
      return issue(userOf(username, {}), CLUSTER_AUDIENCE);
    },
    revoke: (token) => void world.tokens.delete(token),
    asked: (resource) => world.counts.get(resource) ?? 0,
    configMap: (namespace, name) => world.configMaps.get(`${namespace}/${name}`) ?? {},
    rotateOwnToken,
    setBroken: (broken) => {
      world.broken = broken;
    },
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function userOf(username: string, extra: User["extra"]): User {
  return { username, uid: `uid-of-${username}`, groups: ["system:authenticated"], extra };
}

function tokenFor(subject: string, audience: string): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "none" })}.${part({ sub: subject, aud: [audience] })}.${randomBytes(16).toString("base64url")}`;
}

async function readJson(request: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return JSON.parse(Buffer.concat(chunks).toString("utf8")) as Record<string, unknown>;
}

function answer(world: World, request: IncomingMessage, { body, authorized }: { body: Record<string, unknown>; authorized: boolean }): Answer {
  const path = request.url ?? "";
  const resource = path.split("/").at(-1) ?? "";
  world.counts.set(resource, (world.counts.get(resource) ?? 0) + 1);
  if (world.broken) return { status: 500, body: { message: "broken on purpose" } };
  if (!authorized) return { status: 401, body: { message: "Unauthorized" } };
  switch (`${request.method ?? ""} ${path}`) {
    case "POST /apis/authentication.k8s.io/v1/tokenreviews":
      return { status: 201, body: { status: reviewToken(world, body.spec) } };
    case "POST /apis/authorization.k8s.io/v1/subjectaccessreviews":
      return { status: 201, body: { status: reviewAccess(world, body.spec) } };
    default:
      return patchConfigMap(world, request, body);
  }
}

function patchConfigMap({ configMaps }: World, { url, method, headers }: IncomingMessage, body: Record<string, unknown>): Answer {
  const key = /^\/api\/v1\/namespaces\/([^/]+)\/configmaps\/([^/]+)$/.exec(url ?? "")?.slice(1).join("/");
  if (key === undefined || method !== "PATCH" || headers["content-type"] !== "application/merge-patch+json") return { status: 404, body: { message: "Not found" } };
  configMaps.set(key, { ...configMaps.get(key), ...(body.data as Record<string, string>) });
  return { status: 200, body: {} };
}

function reviewToken({ tokens }: World, spec: unknown): unknown {
  const { token, audiences = [CLUSTER_AUDIENCE] } = spec as { token: string; audiences?: string[] };
  const known = tokens.get(token);
  if (known === undefined || !audiences.includes(known.audience)) return { authenticated: false, error: "invalid bearer token" };
  return { authenticated: true, user: known.user, audiences: [known.audience] };
}

function reviewAccess({ grants }: World, spec: unknown): unknown {
  const { user, resourceAttributes: wanted } = spec as { user: string; resourceAttributes: Record<string, string> };
  const { verb = "", namespace = "", group, resource, subresource } = wanted;
  const grant = grants.get(user);
  const isOurs = group === "paddock.dev" && resource === "sessions" && subresource === (verb === "list" ? undefined : "events");
  return { allowed: isOurs && grant?.verbs.includes(verb) === true && grant.namespaces.includes(namespace) };
}
