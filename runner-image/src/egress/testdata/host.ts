import type { RequestListener } from "node:http";
import { createSecureServer } from "node:http2";
import { createServer } from "node:https";
import type { TestContext } from "node:test";
import { makeEgressAuthority } from "../authority.ts";
import { listen, startInspected } from "./inspected.ts";
import type { InspectedLab, InspectedOptions } from "./inspected.ts";

/** The host's name; a certificate of an authority that the Environment names is its own. */
export const HOST = "api.example.com";

export interface Setting {
  readonly lab: InspectedLab;
  readonly port: number;
  readonly url: string;
}

/** A host with a certificate of its own authority, and the proxy before it. */
export async function startHost(t: TestContext, listener: RequestListener, options: Omit<InspectedOptions, "bundle"> & { readonly protocol?: "h2" | "http/1.1" } = {}): Promise<Setting> {
  const world = await makeEgressAuthority({ uid: "world", hosts: ["example.com"], now: new Date() });
  const leaf = await world.leafFor(HOST);
  const sni = { SNICallback: (_name: string, done: (error: null, context: typeof leaf) => void) => { done(null, leaf); } };
  const server = options.protocol === "h2" ? createSecureServer(sni, listener as never) : createServer(sni, listener);
  const port = await listen(t, server);
  if ("closeAllConnections" in server) t.after(() => { server.closeAllConnections(); });
  const network = options.network ?? { allowedHosts: [{ host: HOST, ports: [port], methods: ["GET", "HEAD", "POST", "PUT"] }] };
  const { protocol: _protocol, ...rest } = options;
  const lab = await startInspected(t, { ...rest, network, bundle: world.certificate });
  return { lab, port, url: `https://${HOST}:${port}` };
}

/** Answers with what came. */
export const echo: RequestListener = (request, response) => {
  const pieces: Buffer[] = [];
  request.on("data", (piece: Buffer) => pieces.push(piece));
  request.on("end", () => {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ method: request.method, path: request.url, host: request.headers[":authority"] ?? request.headers.host, headers: request.headers, body: Buffer.concat(pieces).toString() }));
  });
};
