import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from "prom-client";
import type { Subject } from "../cluster/http.ts";
import type { RestartReason } from "../cluster/reflector.ts";
import type { PassReport } from "../kernel/controller.ts";

/** The operator's metrics. Labels come from closed unions: verbs, plurals, kinds, results; never names, users or messages. */
export interface Metrics {
  readonly registry: Registry;
  onRequest(subject: Subject, code: number): void;
  onPass(pass: PassReport): void;
  onWatchRestart(resource: string, reason: RestartReason): void;
  /** `depths` is asked at each scrape. */
  observeQueues(depths: () => Iterable<readonly [kind: string, depth: number]>): void;
}

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
  return {
    registry,
    onRequest: ({ verb, resource }, code) => requests.inc({ verb, resource, code }),
    onPass: ({ kind, fault, writes: count, durationMs }) => {
      passes.inc({ kind, result: fault?.kind ?? "ok" });
      writes.inc({ kind }, count);
      durations.observe({ kind }, durationMs / 1000);
    },
    onWatchRestart: (resource, reason) => restarts.inc({ resource, reason }),
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
