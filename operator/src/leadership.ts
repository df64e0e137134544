import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import type { Connection } from "./cluster/connect.ts";
import { createApiClient } from "./cluster/http.ts";
import { createLeaseStore } from "./cluster/lease.ts";
import { LANE_OPTIONS, type LaneOptions } from "./cluster/session.ts";
import type { Config } from "./config.ts";
import { type Leader, createLeader, timingOf } from "./kernel/leader.ts";
import type { Logger } from "./telemetry/log.ts";
import type { Metrics } from "./telemetry/metrics.ts";

export interface LeadershipOptions {
  readonly config: Pick<Config, "namespace" | "podName" | "leaseSeconds">;
  readonly connection: Connection;
  readonly metrics: Pick<Metrics, "onRequest" | "onLeading">;
  readonly log: Logger;
  readonly lane?: LaneOptions;
  onChange(isLeading: boolean): void;
}

/** Election by the Lease of the release, over a connection of its own: a renewal neither waits behind other requests nor needs to be leader. */
export function createLeadership({ config, connection, metrics, log, lane = LANE_OPTIONS, onChange }: LeadershipOptions): Leader {
  const client = createApiClient(connection, { onRequest: metrics.onRequest, inFlight: 4, lane });
  const { podName } = config;
  // The random part tells processes of one pod apart. What came before us in our own pod has ended: the kubelet starts a container after its end.
  const leader = createLeader({
    identity: `${instanceOf(config)}_${randomUUID()}`,
    isPredecessor: (holder) => podName !== "" && holder.startsWith(`${podName}_`),
    store: createLeaseStore(client, config.namespace),
    timing: timingOf(config.leaseSeconds * 1000),
    onChange: (isLeading) => {
      metrics.onLeading(isLeading);
      log.info(isLeading ? "leading" : "not leading: no pass begins");
      onChange(isLeading);
    },
    onTrouble: (error) => log.warn({ reason: String(error) }, "lease trouble"),
  });
  return {
    ...leader,
    stop: async () => {
      await leader.stop();
      client.close();
    },
  };
}

/** Who this operator is for people: its pod, or its machine outside of a cluster. */
export function instanceOf({ podName }: Pick<Config, "podName">): string {
  return podName === "" ? hostname() : podName;
}
