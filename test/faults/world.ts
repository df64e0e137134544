import { readConfig } from "../../operator/src/config.ts";
import { startOperator } from "../../operator/src/operator.ts";
import type { Operator } from "../../operator/src/operator.ts";
import { createLogger } from "../../operator/src/telemetry/log.ts";
import { createMetrics } from "../../operator/src/telemetry/metrics.ts";
import { API_VERSION, GROUP, KINDS, VERSION } from "@paddock/api/group";
import type { KindName } from "@paddock/api/group";
import { startFakeApiServer } from "../fakes/apiserver.ts";
import type { FakeApiServer } from "../fakes/apiserver.ts";
import { follow } from "../fakes/client.ts";
import type { LocalGateway } from "../fakes/gateway.ts";
import type { Fate } from "./fate.ts";
import { startPlayers } from "./players.ts";
import type { Deed } from "./players.ts";
import { relayToApi, relayToGateway } from "./relay.ts";

// A cluster in one process: an API server that keeps the real one's rules, the real gateway, the real operator between them, and players for
// kubelet, garbage collector and runner.

export const NAMESPACE = "team";
export const OURS = `/apis/${GROUP}/${VERSION}`;

export interface World {
  readonly api: FakeApiServer;
  readonly gateway: LocalGateway;
  /** What runners do from now on, by attempt; the last line counts for all later ones. */
  play(script: readonly (readonly Deed[])[]): void;
  /** What runners have done so far. */
  deeds(): number;
  make(kind: KindName, name: string, spec: unknown, more?: { readonly annotations?: Readonly<Record<string, string>>; readonly status?: unknown }): string;
  /** Starts an operator with this fate. */
  start(fate: Fate): Promise<Running>;
  /** Objects and records as they stand, without what differs from run to run. */
  describe(): Promise<unknown>;
  close(): Promise<void>;
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
  const running = new Set<Running>();
  const ends: Promise<unknown>[] = [];

  const start = async (fate: Fate): Promise<Running> => {
    const relays = [await relayToApi(api.url, fate), await relayToGateway(gateway, fate)] as const;
    const config = {
      ...readConfig({
        PADDOCK_NAMESPACE: "paddock-system",
        PADDOCK_GATEWAY_URL: "https://paddock-gateway.paddock-system.svc:8443",
        PADDOCK_RUNNER_IMAGE: "runner:1",
        PADDOCK_SANDBOX_IMAGE: "sandbox:1",
      }),
      gatewayDialUrl: relays[1].url,
    };
    const connection = { url: relays[0].url, tls: async () => ({}), authorization: async () => undefined };
    const operator = startOperator({ config, connection, token: async () => token, metrics: createMetrics(), log: createLogger("silent"), readPolicy: async (wanted) => wanted });
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
    describe: async () => ({ objects: describeObjects(api), records: await countRecords(gateway, token) }),
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
      return { name: `${collection.split("/").at(-1) ?? ""}/${nameOf(metadata.name)}`, ...(collection.startsWith(OURS) ? { spec, status: describeStatus(status) } : {}) };
    }),
  );
  return rows.sort((a, b) => a.name.localeCompare(b.name));
}

// A scheduled session's name holds its Schedule's UID and the minute.
function nameOf(name: string): string {
  return name.replace(/-[0-9a-f]{6,}-[0-9]{12}/, "-HASH-MINUTE").replace(/-[0-9a-f]{6,}-t[0-9a-f]+/, "-HASH-TRIGGER");
}

const VOLATILE = new Set(["startTime", "completionTime", "trace", "lastEventSeq", "recentSteps", "environmentRevision", "agentRevision", "nextScheduleTime", "lastScheduleTime", "lastSuccessfulTime"]);

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

/** Resolves when `condition` holds; looks every few milliseconds. The runner of tests bounds it. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 3));
}
