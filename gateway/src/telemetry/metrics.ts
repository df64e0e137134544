import { createServer } from "node:http";
import type { Server } from "node:http";
import { Counter, Gauge, Registry, collectDefaultMetrics } from "prom-client";
import type { Reviewed } from "../auth/review.ts";
import type { EventType } from "@paddock/api/log/events";

export type Audience = "operator" | "runner" | "person";

/** What the gateway counts. Labels come from closed unions only. */
export interface Metrics {
  appended(type: EventType, result: "stored" | "refused"): void;
  streamOpened(audience: Audience): void;
  streamClosed(audience: Audience): void;
  reviewed(result: Reviewed["kind"]): void;
  /** Prometheus' text form. */
  text(): Promise<string>;
}

export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const appends = new Counter({ name: "paddock_gateway_appends_total", help: "Events asked to append, by type and result.", labelNames: ["type", "result"], registers });
  const streams = new Gauge({ name: "paddock_gateway_open_streams", help: "Open event streams, by who reads them.", labelNames: ["audience"], registers });
  const reviews = new Counter({ name: "paddock_gateway_token_reviews_total", help: "TokenReviews asked of the API server, by result.", labelNames: ["result"], registers });
  return {
    appended: (type, result) => appends.inc({ type, result }),
    streamOpened: (audience) => streams.inc({ audience }),
    streamClosed: (audience) => streams.dec({ audience }),
    reviewed: (result) => reviews.inc({ result }),
    text: () => registry.metrics(),
  };
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
