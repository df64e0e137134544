import { createServer } from "node:http";
import type { Server } from "node:http";
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from "prom-client";
import type { Reviewed } from "../auth/review.ts";
import type { EventType } from "@paddock/api/log/events";
import { countSteps } from "./counts.ts";
import { LABELS } from "./labels.ts";
import type { Activity, Labels } from "./labels.ts";
import { stepsOf } from "./steps.ts";
import type { Commit } from "./steps.ts";

export type Audience = "operator" | "runner" | "person";

/** What the gateway counts. Labels come from closed unions only, and tell nothing about who ran what. */
export interface Metrics {
  appended(type: EventType, result: "stored" | "refused"): void;
  /** How long one append took from being asked for to being committed or refused. */
  appendTook(role: Audience, seconds: number): void;
  /** Counts what a commit brought to its end. Never throws. */
  stored(commit: Commit): void;
  /** How many calls of the store shared one commit. */
  committed(calls: number): void;
  /** A session that is not acknowledged came to this activity, or left it. */
  sessionEntered(activity: Activity): void;
  sessionLeft(activity: Activity): void;
  streamOpened(audience: Audience): void;
  streamClosed(audience: Audience): void;
  reviewed(result: Reviewed["kind"]): void;
  rateLimited(audience: Audience): void;
  /** Records whose log was deleted, its retention being over. */
  expired(records: number): void;
  /** A stored log was found damaged. */
  corrupted(): void;
  spans(result: Labels["spanResult"], count: number): void;
  /** Prometheus' text form. */
  text(): Promise<string>;
}

/** From a hit of the page cache to a disk that is in trouble. */
const APPEND_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
/** From somebody who was waiting for it to the longest that one can wait. */
const WAIT_BUCKETS = [5, 15, 60, 300, 900, 3600, 14_400, 86_400, 604_800];
const GROUP_BUCKETS = [1, 2, 4, 8, 16, 32, 64, 128, 256];

export function createMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const { appends, appendSeconds, commits, sessions, streams, reviews, limited, expired, corrupt, spans, uncounted, ...counters } = createInstruments([registry]);
  return {
    appended: (type, result) => appends.inc({ type, result }),
    appendTook: (role, seconds) => appendSeconds.observe({ role }, seconds),
    stored: (commit) => {
      try {
        countSteps(counters, commit, stepsOf(commit));
      } catch {
        uncounted.inc();
      }
    },
    committed: (calls) => commits.observe(calls),
    sessionEntered: (activity) => sessions.inc({ activity }),
    sessionLeft: (activity) => sessions.dec({ activity }),
    streamOpened: (audience) => streams.inc({ audience }),
    streamClosed: (audience) => streams.dec({ audience }),
    reviewed: (result) => reviews.inc({ result }),
    rateLimited: (audience) => limited.inc({ audience }),
    expired: (records) => expired.inc(records),
    corrupted: () => corrupt.inc(),
    spans: (result, count) => spans.inc({ result }, count),
    text: () => registry.metrics(),
  };
}

function createInstruments(registers: Registry[]) {
  const plain = (name: string, help: string): Counter => new Counter({ name: `paddock_gateway_${name}`, help, registers });
  const counter = <L extends string>(name: string, help: string, labels: Readonly<Record<L, readonly string[]>>): Counter<L> => {
    const made = new Counter({ name: `paddock_gateway_${name}`, help, labelNames: Object.keys(labels) as L[], registers });
    showZeros(labels, (values) => made.inc(values as Partial<Record<L, string>>, 0));
    return made;
  };
  const gauge = <L extends string>(name: string, help: string, labels: Readonly<Record<L, readonly string[]>>): Gauge<L> => {
    const made = new Gauge({ name: `paddock_gateway_${name}`, help, labelNames: Object.keys(labels) as L[], registers });
    showZeros(labels, (values) => made.set(values as Partial<Record<L, string>>, 0));
    return made;
  };
  return {
    appends: new Counter({ name: "paddock_gateway_appends_total", help: "Events asked to append, by type and result.", labelNames: ["type", "result"], registers }),
    appendSeconds: new Histogram({ name: "paddock_gateway_append_duration_seconds", help: "Time to admit and commit one append, by who asked.", labelNames: ["role"], buckets: APPEND_BUCKETS, registers }),
    commits: new Histogram({ name: "paddock_gateway_commit_calls", help: "Calls of the store that shared one commit, of a store that groups them.", buckets: GROUP_BUCKETS, registers }),
    sessions: gauge("sessions", "Sessions of the store that the operator has not acknowledged as finished, by activity; every gateway of a store shows all.", { activity: LABELS.activity }),
    runs: counter("runs_finished_total", "Runs that finished, by outcome.", { outcome: LABELS.outcome }),
    requests: counter("model_requests_total", "Model requests that ended, by result: answered, the class of failure, or lost with their runner.", { result: LABELS.modelResult }),
    tokens: counter("tokens_total", "Tokens that models counted, by type: input without what was cached, cached input, output.", { type: LABELS.tokenType }),
    cost: plain("cost_usd_total", "Cost of model answers in USD, where the price and the usage are known."),
    uncertainCost: plain("uncertain_cost_usd_total", "What lost model answers, and answers without usage, may have cost in USD: their reservations."),
    tools: counter("tool_calls_total", "Tool calls that ended, by status; unfinished ones were open when their run ended.", { status: LABELS.toolStatus }),
    approvals: counter("approvals_total", "Approvals that ended, by decision; withdrawn ones lost their call.", { decision: LABELS.approvalDecision }),
    approvalWait: new Histogram({ name: "paddock_gateway_approval_wait_seconds", help: "Time from the request for an approval to its end.", buckets: WAIT_BUCKETS, registers }),
    blobBytes: plain("blob_bytes_total", "Bytes of payloads that were taken out of events, as referenced."),
    egress: counter("egress_decisions_total", "Connections and requests of sandboxes that their runners decided on, by reason: allowed, or why not.", { reason: LABELS.egressReason }),
    egressBytes: counter("egress_bytes_total", "Bytes that runners carried for sandboxes, by direction as sandboxes see it.", { direction: LABELS.direction }),
    isolation: counter("isolation_reports_total", "Probes of new sandboxes, by result: closed, or open when something answered that must not.", { result: LABELS.isolation }),
    streams: gauge("open_streams", "Open event streams, by who reads them.", { audience: LABELS.audience }),
    reviews: counter("token_reviews_total", "TokenReviews asked of the API server, by result.", { result: LABELS.reviewed }),
    limited: counter("rate_limited_requests_total", "Requests refused because their caller asks too often, by who asked.", { audience: LABELS.audience }),
    expired: plain("expired_records_total", "Records whose log was deleted because its retention was over."),
    corrupt: plain("corrupt_logs_total", "Stored logs that were found damaged."),
    uncounted: plain("uncounted_commits_total", "Commits that could not be counted in the other metrics: a fault of the gateway."),
    spans: counter("spans_total", "Spans of sessions, by result: exported, failed to be exported, or dropped because the queue was full.", { result: LABELS.spanResult }),
  };
}

/** What has never happened is 0, and not absent: a rate of it needs a first value. At most one label. */
function showZeros(labels: Readonly<Record<string, readonly string[]>>, show: (values: Readonly<Record<string, string>>) => void): void {
  for (const [name, values] of Object.entries(labels)) for (const value of values) show({ [name]: value });
}

/** Serves `GET /metrics` on a port of its own, plain HTTP. Rejects when the port cannot be had. */
export async function serveMetrics(metrics: Metrics, port: number): Promise<Server> {
  const server = createServer((request, response) => {
    if (request.method !== "GET" || request.url !== "/metrics") {
      response.writeHead(404).end();
      return;
    }
    metrics.text().then(
      (text) => response.writeHead(200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" }).end(text),
      () => response.writeHead(500).end(),
    );
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen(port, resolve);
  await promise;
  return server;
}
