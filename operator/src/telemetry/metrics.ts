import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from "prom-client";
import type { EventFate } from "../cluster/events.ts";
import type { ConnectionUse, Subject } from "../cluster/http.ts";
import type { ListMode, RestartReason } from "../cluster/reflector.ts";
import type { PassReport } from "../kernel/controller.ts";
import type { Stage } from "./stages.ts";

/** The operator's metrics. Labels come from closed unions: verbs, plurals, kinds, results; never names, users or messages. */
export interface Metrics {
  readonly registry: Registry;
  onRequest(subject: Subject, code: number): void;
  onPass(pass: PassReport): void;
  onWatchRestart(resource: string, reason: RestartReason): void;
  onList(resource: string, mode: ListMode): void;
  onConnect(use: ConnectionUse): void;
  /** `watches` is asked at each scrape: how long each has been without a connection by now, and in all, in milliseconds. */
  observeBlindness(watches: () => Iterable<readonly [resource: string, nowMs: number, totalMs: number]>): void;
  onLeading(isLeading: boolean): void;
  onEvent(fate: EventFate): void;
  /** Seconds from the first sight of a new Session to this stage of it. */
  onStage(stage: Stage, seconds: number): void;
  /** `depths` is asked at each scrape. */
  observeQueues(depths: () => Iterable<readonly [kind: string, depth: number]>): void;
}

// Every millisecond where a warm start is quick, coarser beyond.
const STAGE_BUCKETS = [
  ...Array.from({ length: 50 }, (_value, index) => (index + 1) / 1000),
  0.06, 0.07, 0.08, 0.09, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60, 300, 1800,
];

export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const requests = new Counter({
    name: "paddock_apiserver_requests_total",
    help: "Requests to the API server by verb, resource and answer; code 0 means no answer.",
    labelNames: ["verb", "resource", "code"],
    registers,
  });
  const passes = new Counter({ name: "paddock_reconcile_total", help: "Reconcile passes by kind and result: ok or the kind of fault.", labelNames: ["kind", "result"], registers });
  const writes = new Counter({ name: "paddock_reconcile_writes_total", help: "Accepted writes of reconcile passes, to the API server and to the gateway.", labelNames: ["kind"], registers });
  const durations = new Histogram({
    name: "paddock_reconcile_duration_seconds",
    help: "Duration of reconcile passes.",
    labelNames: ["kind"],
    buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5],
    registers,
  });
  const restarts = new Counter({
    name: "paddock_watch_restarts_total",
    help: "Watches begun anew by resource and reason; timeout is the server's ordinary end.",
    labelNames: ["resource", "reason"],
    registers,
  });
  const leader = new Gauge({ name: "paddock_leader", help: "1 while this operator holds the lease and reconciles, 0 while it stands by.", registers });
  leader.set(0);
  const events = new Counter({ name: "paddock_events_total", help: "Events about objects by what became of them; counted means that only the count of an earlier one went up.", labelNames: ["fate"], registers });
  const stages = new Histogram({
    name: "paddock_session_stage_seconds",
    help: "Time from the first sight of a new Session until it was bound, its runner pod was accepted, its runner connected, its log finished and its last status was accepted.",
    labelNames: ["stage"],
    buckets: STAGE_BUCKETS,
    registers,
  });
  const lists = new Counter({
    name: "paddock_watch_lists_total",
    help: "Complete reads of a resource by mode: stream (the API server's WatchList) or pages.",
    labelNames: ["resource", "mode"],
    registers,
  });
  const connections = new Counter({ name: "paddock_apiserver_connections_total", help: "Connections made to the API server by use.", labelNames: ["use"], registers });
  return {
    registry,
    onLeading: (isLeading) => leader.set(isLeading ? 1 : 0),
    onEvent: (fate) => events.inc({ fate }),
    onStage: (stage, seconds) => stages.observe({ stage }, seconds),
    onRequest: ({ verb, resource }, code) => requests.inc({ verb, resource, code }),
    onPass: ({ kind, fault, writes: count, durationMs }) => {
      passes.inc({ kind, result: fault?.kind ?? "ok" });
      writes.inc({ kind }, count);
      durations.observe({ kind }, durationMs / 1000);
    },
    onWatchRestart: (resource, reason) => restarts.inc({ resource, reason }),
    onList: (resource, mode) => lists.inc({ resource, mode }),
    onConnect: (use) => connections.inc({ use }),
    observeBlindness: (watches) => observeBlindness(registers, watches),
    observeQueues: (depths) => {
      const gauge: Gauge = new Gauge({
        name: "paddock_queue_depth",
        help: "Keys that wait for a worker.",
        labelNames: ["kind"],
        registers,
        collect: () => {
          for (const [kind, depth] of depths()) gauge.set({ kind }, depth);
        },
      });
    },
  };
}

function observeBlindness(registers: Registry[], watches: () => Iterable<readonly [resource: string, nowMs: number, totalMs: number]>): void {
  const gauge: Gauge = new Gauge({
    name: "paddock_watch_blind_seconds",
    help: "How long the watch of a resource has been without a connection by now; 0 while it has one.",
    labelNames: ["resource"],
    registers,
    collect: () => {
      for (const [resource, nowMs] of watches()) gauge.set({ resource }, nowMs / 1000);
    },
  });
  const counter: Counter = new Counter({
    name: "paddock_watch_blind_seconds_total",
    help: "Seconds without a connection since the start.",
    labelNames: ["resource"],
    registers,
    collect: () => {
      counter.reset();
      for (const [resource, , totalMs] of watches()) counter.inc({ resource }, totalMs / 1000);
    },
  });
}
