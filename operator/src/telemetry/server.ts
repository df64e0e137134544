import { type Server, createServer } from "node:http";
import type { Registry } from "prom-client";

export interface HealthOptions {
  readonly port: number;
  readonly registry: Registry;
  /** What is not as it should be, as sentences; ready when there is nothing. */
  unready(): readonly string[];
}

/**
 * `/healthz`: the event loop turns; one that is blocked does not answer at all. A lost watch is no reason to fail it: a new process could reach no
 * more than this one, which tries for ever, and would have lost its caches. `/readyz`: caches are complete and fresh. `/metrics`. Resolves once it listens.
 */
export async function startHealthServer({ port, registry, unready }: HealthOptions): Promise<Server> {
  const server = createServer((request, response) => {
    const answer = (status: number, text: string, type = "text/plain; charset=utf-8"): void => {
      response.writeHead(status, { "content-type": type });
      response.end(text);
    };
    switch (request.url) {
      case "/healthz":
        return answer(200, "ok\n");
      case "/readyz": {
        const reasons = unready();
        return reasons.length === 0 ? answer(200, "ok\n") : answer(503, `${reasons.join("\n")}\n`);
      }
      case "/metrics":
        void registry.metrics().then((text) => answer(200, text, registry.contentType), (error: unknown) => answer(500, String(error)));
        return;
      default:
        return answer(404, "ask for /healthz, /readyz or /metrics\n");
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, resolve);
  });
  return server;
}
