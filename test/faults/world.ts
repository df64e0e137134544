import { readConfig } from "../../operator/src/config.ts";
import { startOperator } from "../../operator/src/operator.ts";
import type { Operator } from "../../operator/src/operator.ts";
import { createLogger } from "../../operator/src/telemetry/log.ts";
import { createMetrics } from "../../operator/src/telemetry/metrics.ts";
import type { LaneOptions } from "../../operator/src/cluster/session.ts";
import type { LogEvent } from "@paddock/api/log/events";
import { API_VERSION, GROUP, KINDS, VERSION } from "@paddock/api/group";
import type { KindName } from "@paddock/api/group";
import type { BudgetView } from "@paddock/api/wire/records";
import { startFakeApiServer } from "../fakes/apiserver.ts";
import type { FakeApiServer } from "../fakes/apiserver.ts";
import type { Body } from "../fakes/apiserver-store.ts";
import { follow, send } from "../fakes/client.ts";
import type { LocalGateway } from "../fakes/gateway.ts";
import type { Fate } from "./fate.ts";
import { startPlayers } from "./players.ts";
import type { Script } from "./players.ts";
import { relayToApi, relayToGateway } from "./relay.ts";

// A cluster in one process: an API server that keeps the real one's rules, the real gateway, the real operator between them, and players for
// kubelet, garbage collector and runner.

export const NAMESPACE = "team";
export const OURS = `/apis/${GROUP}/${VERSION}`;

export interface World {
  readonly api: FakeApiServer;
  readonly gateway: LocalGateway;
  /** What runners do that begin from now on. */
  play(script: Script): void;
  /** What runners have done so far. */
  deeds(): number;
  make(kind: KindName, name: string, spec: unknown, more?: { readonly annotations?: Readonly<Record<string, string>>; readonly status?: unknown }): string;
  /** Changes an object as its owner does. */
  edit(kind: KindName, name: string, change: (object: Body) => Pick<Partial<Body>, "metadata" | "spec">): void;
  remove(kind: KindName, name: string): void;
  /** A person's message to a session; the same key again is the same message. Resolves to whether the gateway has taken it. */
  say(session: string, key: string): Promise<boolean>;
  /** The log of a session by its UID; empty when there is none. */
  log(uid: string): Promise<readonly LogEvent[]>;
  /** Records that nobody has acknowledged. */
  records(): Promise<number>;
  /** The shared budgets of this world's Environments, as the gateway has them. */
  budgets(): Promise<readonly BudgetView[]>;
  /** Starts an operator with this fate. */
  start(fate: Fate, how?: Start): Promise<Running>;
  /** Objects and records as they stand, without what differs from run to run. */
  describe(): Promise<unknown>;
  close(): Promise<void>;
}

/** What differs from an operator as the chart starts it. */
export interface Start {
  readonly leaseSeconds?: number;
  /** What stands between the operator and its relay to the API server, by the address of either. */
  readonly through?: (url: string) => Promise<string>;
  readonly patience?: { readonly lane: LaneOptions };
}

export interface Running {
  readonly operator: Operator;
  readonly fate: Fate;
  /** Ends it at once, as a machine that is switched off does. Its lease is taken for expired. */
  end(): void;
}

/** `gateway` may serve several worlds one after the other: each has its own Sessions, known by UID. The caller closes it. */
export async function createWorld(gateway: LocalGateway): Promise<World> {
  const api = await startFakeApiServer();
  api.store.create("/api/v1/namespaces", "", { metadata: { name: NAMESPACE } });
  api.store.create("/api/v1/configmaps", "paddock-system", { metadata: { name: "paddock-gateway-ca" }, data: { "ca.crt": gateway.ca } });
  const players = startPlayers(api, gateway);
  const token = gateway.reviews.operatorToken();
  const person = gateway.reviews.personToken("ann", [NAMESPACE], ["get", "create"]);
  const running = new Set<Running>();
  const ends: Promise<unknown>[] = [];

  const start = async (fate: Fate, { leaseSeconds = 15, through = async (url) => url, patience }: Start = {}): Promise<Running> => {
    const relays = [await relayToApi(api.url, fate), await relayToGateway(gateway, fate)] as const;
    const config = {
      ...readConfig({
        PADDOCK_NAMESPACE: "paddock-system",
        PADDOCK_GATEWAY_URL: "https://paddock-gateway.paddock-system.svc:8443",
        PADDOCK_RUNNER_IMAGE: "runner:1",
        PADDOCK_SANDBOX_IMAGE: "sandbox:1",
        PADDOCK_LEASE_SECONDS: String(leaseSeconds),
      }),
      gatewayDialUrl: relays[1].url,
    };
    const connection = { url: await through(relays[0].url), tls: async () => ({}), authorization: async () => undefined };
    const operator = startOperator({ config, connection, token: async () => token, metrics: createMetrics(), log: createLogger("silent"), readPolicy: async (wanted) => wanted, ...(patience === undefined ? {} : { patience }) });
    const one: Running = {
      operator, fate,
      end: () => {
        if (!running.delete(one)) return;
        fate.kill();
        dropLease(api);
        // What it waits for it will not get: its end is awaited when the world ends.
        ends.push(Promise.all([operator.stop(), ...relays.map((relay) => relay.close())]));
      },
    };
    running.add(one);
    return one;
  };

  return {
    api, gateway, start,
    play: players.play,
    deeds: players.deeds,
    make: (kind, name, spec, { annotations, status } = {}) => {
      const collection = `${OURS}/${KINDS[kind].plural}`;
      const { metadata } = api.store.create(collection, NAMESPACE, { apiVersion: API_VERSION, kind, metadata: { name, ...(annotations === undefined ? {} : { annotations }) }, spec });
      if (status !== undefined) {
        const key = { collection, namespace: NAMESPACE, name };
        api.store.update(key, { ...api.store.get(key), status }, true);
      }
      return metadata.uid;
    },
    edit: (kind, name, change) => {
      const key = { collection: `${OURS}/${KINDS[kind].plural}`, namespace: NAMESPACE, name };
      const body = api.store.get(key);
      const { metadata = body.metadata, spec = body.spec } = change(body);
      api.store.update(key, { ...body, metadata, spec }, false);
    },
    remove: (kind, name) => void api.store.delete({ collection: `${OURS}/${KINDS[kind].plural}`, namespace: NAMESPACE, name }, undefined),
    say: async (session, key) => {
      const body = { type: "input.received", data: { content: "And now?" } };
      const sent = { method: "POST", path: `/v1/namespaces/${NAMESPACE}/sessions/${session}/events`, token: person, headers: { "idempotency-key": key }, body };
      const reply = await send(gateway, sent).catch(() => undefined);
      return reply?.status === 200;
    },
    log: (uid) => readLog(gateway, person, { uid, name: nameByUid(api, uid) }),
    records: () => countRecords(gateway, token),
    budgets: async () => {
      const uids = new Set(api.store.list(`${OURS}/environments`).map(({ body }) => body.metadata.uid));
      return (await listBudgets(gateway, token)).filter(({ environmentUid }) => uids.has(environmentUid));
    },
    describe: async () => {
      const logs = await Promise.all(api.store.list(`${OURS}/sessions`).map(({ body: { metadata } }) => readLog(gateway, person, metadata)));
      const text = JSON.stringify({ objects: describeObjects(api), logs: logs.map(describeLog).sort(), records: await countRecords(gateway, token) });
      return JSON.parse(anonymous(text)) as unknown;
    },
    close: async () => {
      await players.stop();
      for (const one of running) one.end();
      await Promise.all(ends);
      await api.close();
    },
  };
}

/** As if its time were over: waiting for it is the lease's own test. */
function dropLease(api: FakeApiServer): void {
  const collection = "/apis/coordination.k8s.io/v1/leases";
  for (const { body } of api.store.list(collection)) api.store.delete({ collection, namespace: body.metadata.namespace ?? "", name: body.metadata.name }, undefined);
}

interface Stored {
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
  readonly spec?: unknown;
  readonly status?: Readonly<Record<string, unknown>> & { readonly conditions?: readonly { readonly type: string; readonly status: string; readonly reason: string }[] };
}

const COLLECTIONS = [...Object.values(KINDS).map(({ plural }) => `${OURS}/${plural}`), "/api/v1/pods", "/api/v1/serviceaccounts", "/apis/networking.k8s.io/v1/networkpolicies"];

/** What two runs must have in common: which objects there are, and what status says but for times, UIDs and the log's sequence. */
function describeObjects(api: FakeApiServer): unknown {
  const rows = COLLECTIONS.flatMap((collection) =>
    api.store.list(collection).map(({ body }) => {
      const { metadata, spec, status } = body as unknown as Stored;
      return { name: `${collection.split("/").at(-1) ?? ""}/${anonymous(metadata.name)}`, ...(collection.startsWith(OURS) ? { spec: describeSpec(spec), status: describeStatus(status) } : {}) };
    }),
  );
  return rows.sort((a, b) => a.name.localeCompare(b.name));
}

/** Of an Approval all but times and what follows from a Session's UID. */
function describeSpec(spec: unknown): unknown {
  const { sessionRef, requestedAt: _, expiresAt: __, traceID: ___, ...rest } = spec as { sessionRef?: unknown; requestedAt?: unknown; expiresAt?: unknown; traceID?: unknown };
  return sessionRef === undefined ? spec : rest;
}

// A scheduled session's name holds its Schedule's UID, and the minute or a trigger or the generation.
function anonymous(text: string): string {
  return text.replace(/-[0-9a-f]{8}-([0-9]{12}|t[0-9a-f]{10}|g[0-9]+)/g, (_name, last: string) => `-HASH-${/^[0-9]/.test(last) ? "MINUTE" : last}`);
}

const VOLATILE = new Set(["startTime", "completionTime", "trace", "lastEventSeq", "recentSteps", "environmentRevision", "agentRevision", "nextScheduleTime", "lastScheduleTime", "lastSuccessfulTime", "lastCompletionTime"]);

function describeStatus(status: Stored["status"]): unknown {
  if (status === undefined) return undefined;
  const { conditions = [], runner, sandbox, ...rest } = status as Stored["status"] & { runner?: { attempts?: number }; sandbox?: unknown };
  return {
    ...Object.fromEntries(Object.entries(rest).filter(([name]) => !VOLATILE.has(name))),
    conditions: conditions.map(({ type, status: word, reason }) => `${type}=${word} ${reason}`).sort(),
    attempts: runner?.attempts,
    hasSandbox: sandbox !== undefined,
  };
}

function nameByUid(api: FakeApiServer, uid: string): string {
  return api.store.journal().find(({ object: { body } }) => body.metadata.uid === uid)?.object.body.metadata.name ?? "";
}

async function readLog(gateway: LocalGateway, token: string, { name, uid }: { readonly name: string; readonly uid: string }): Promise<readonly LogEvent[]> {
  const { status, body } = await send(gateway, { path: `/v1/namespaces/${NAMESPACE}/sessions/${name}/events?limit=1000&uid=${uid}`, token });
  return status === 200 ? (body as { readonly events: readonly LogEvent[] }).events : [];
}

/** What must have happened once, or as often as people and ticks have asked for it. */
function describeLog(events: readonly LogEvent[]): string {
  const count = (type: LogEvent["type"]): number => events.filter((event) => event.type === type).length;
  const approvals = count("approval.requested") === 0 ? "" : `asked ${count("approval.requested")}, resolved ${count("approval.resolved")}, started ${count("tool.started")}, `;
  return `${approvals}suspended ${count("session.suspended")}, resumed ${count("session.resumed")}, bound ${count("session.bound")}, inputs ${count("input.received")}, answers ${count("model.responded")}, cancelled ${count("session.cancelled")}, finished ${count("run.finished")}`;
}

/** Records that nobody has acknowledged. */
async function countRecords(gateway: LocalGateway, token: string): Promise<number> {
  const stream = await follow(gateway, { path: "/v1/records", token });
  let count = 0;
  for await (const { event } of stream) {
    if (event === "synced") break;
    if (event === "record") count += 1;
  }
  stream.close();
  return count;
}

async function listBudgets(gateway: LocalGateway, token: string): Promise<readonly BudgetView[]> {
  const stream = await follow(gateway, { path: "/v1/records", token });
  const found: BudgetView[] = [];
  for await (const { event, data } of stream) {
    if (event === "synced") break;
    if (event === "budget") found.push(data as BudgetView);
  }
  stream.close();
  return found;
}

/** Resolves when `condition` holds; looks every few milliseconds. The runner of tests bounds it. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 3));
}
