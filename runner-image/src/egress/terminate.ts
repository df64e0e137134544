import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { performServerHandshake } from "node:http2";
import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import type { Duplex } from "node:stream";
import { createServer as createTlsServer } from "node:tls";
import type { TLSSocket } from "node:tls";
import type { EgressAuthority } from "./authority.ts";
import { exchange } from "./exchange.ts";
import type { ExchangePorts, Inbound, Lane } from "./exchange.ts";
import { inboundOfHttp1 } from "./exchange-http1.ts";
import { inboundOfHttp2 } from "./exchange-http2.ts";
import type { Dial, EgressConnection, EgressInspector } from "./policy.ts";
import { carryUpgrade } from "./upgrade.ts";
import { createUpstream, MOST_HEADER_BYTES } from "./upstream.ts";
import type { UpstreamTrust } from "./upstream-tls.ts";

/** What is left out has its usual value. */
export interface InspectorLimits {
  /** For TLS, with the program and with the host each; 10 s. */
  readonly handshakeMs?: number;
  /** How long nothing may move in a request, an answer or between two requests; 5 min. */
  readonly idleMs?: number;
}

export interface InspectorPorts extends ExchangePorts {
  readonly dial: Dial;
  readonly trust: UpstreamTrust;
  /** The session's authority, asked for when the first connection is terminated. */
  readonly authority: () => Promise<EgressAuthority>;
  readonly limits?: InspectorLimits;
}

const HANDSHAKE_MS = 10_000;
const IDLE_MS = 300_000;
/** Requests at once in one HTTP/2 connection of a program. */
const MOST_STREAMS = 100;
/** Requests that one HTTP/1.1 connection of a program has sent before their answers are complete: programs wait, and each takes memory here. */
const MOST_AHEAD = 64;

/** A connection that speaks HTTP/1.1, with the number of its requests that are not answered yet. */
interface Http1Lane {
  readonly lane: Lane;
  ahead: number;
}

/** Ends programs' connections here and carries their requests. One for a session. */
export function createInspector(ports: InspectorPorts): EgressInspector {
  const { account, policy, limits } = ports;
  const handshakeMs = limits?.handshakeMs ?? HANDSHAKE_MS;
  const idleMs = limits?.idleMs ?? IDLE_MS;
  const lanes = new WeakMap<Duplex, Http1Lane>();

  /** The far side of a connection, which ends with it; the connection ends with its signal. */
  const openLane = (duplex: Duplex, connection: EgressConnection, isPlain: boolean): Lane => {
    const upstream = createUpstream(connection, { dial: ports.dial, trust: ports.trust, environment: policy.environment, handshakeMs, idleMs, isPlain });
    const stop = (): void => { duplex.destroy(); };
    connection.signal.addEventListener("abort", stop, { once: true });
    duplex.on("error", () => undefined);
    duplex.once("close", () => {
      connection.signal.removeEventListener("abort", stop);
      upstream.close();
    });
    if (connection.signal.aborted) stop();
    return { connection, upstream, isPlain };
  };
  const carry = (inbound: Inbound, lane: Lane): void => {
    exchange(inbound, lane, ports).catch(() => { inbound.refuse({ refusal: "Unreachable", status: 502, message: "The proxy could not carry the request." }); });
  };

  // Never listens: connections are handed to it.
  const http1 = createServer({ maxHeaderSize: MOST_HEADER_BYTES, keepAliveTimeout: idleMs, requestTimeout: 0 });
  // Silence of a request under way is noticed on the far side first, and said.
  const silentMs = 2 * idleMs;
  http1.timeout = silentMs;
  const onRequest = (asksFirst: boolean) => (request: IncomingMessage, response: ServerResponse): void => {
    const served = lanes.get(request.socket);
    if (served === undefined || served.ahead >= MOST_AHEAD) { request.socket.destroy(); return; }
    served.ahead += 1;
    response.once("close", () => { served.ahead -= 1; });
    carry(inboundOfHttp1(request, response, asksFirst), served.lane);
  };
  http1.on("request", onRequest(false));
  http1.on("checkContinue", onRequest(true));
  http1.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const served = lanes.get(socket);
    if (served === undefined) { socket.destroy(); return; }
    carryUpgrade({ request, socket, head }, served.lane, { ...ports, idleMs }).catch(() => { socket.destroy(); });
  });
  const serveHttp1 = (duplex: Duplex, lane: Lane): void => {
    lanes.set(duplex, { lane, ahead: 0 });
    http1.emit("connection", duplex);
  };
  const serveHttp2 = (socket: TLSSocket, lane: Lane): void => {
    const session = performServerHandshake(socket, { maxHeaderListPairs: 256, settings: { maxConcurrentStreams: MOST_STREAMS, maxHeaderListSize: MOST_HEADER_BYTES } });
    session.on("error", () => { socket.destroy(); });
    session.setTimeout(silentMs, () => { session.destroy(); });
    session.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => { carry(inboundOfHttp2(stream, headers), lane); });
  };

  /** TLS with the program; undefined when it did not come about. */
  const shakeHands = async (duplex: Duplex, { target }: EgressConnection): Promise<TLSSocket | undefined> => {
    const context = await (await ports.authority()).leafFor(target.host);
    return new Promise((done) => {
      // Never listens either; one for each connection, because only its own knows which name is right.
      const server = createTlsServer({
        ALPNProtocols: ["h2", "http/1.1"],
        handshakeTimeout: handshakeMs,
        SNICallback: (name, answer) => {
          if (name.toLowerCase() === target.host) { answer(null, context); return; }
          account.note({ ...target, decision: "Deny", rule: "NameMismatch" });
          answer(new Error("TLS names another host than CONNECT"));
        },
      });
      const giveUp = (): void => {
        duplex.destroy();
        done(undefined);
      };
      duplex.once("close", giveUp);
      server.on("tlsClientError", giveUp);
      server.on("secureConnection", (socket) => {
        socket.on("error", () => undefined);
        done(socket);
      });
      server.emit("connection", duplex);
    });
  };

  return {
    terminate(duplex, connection) {
      const lane = openLane(duplex, connection, false);
      shakeHands(duplex, connection).then(
        (socket) => {
          if (socket === undefined) return;
          if (socket.alpnProtocol === "h2") serveHttp2(socket, lane);
          else serveHttp1(socket, lane);
        },
        () => { duplex.destroy(); },
      );
    },
    serveHttp(duplex, connection) {
      serveHttp1(duplex, openLane(duplex, connection, true));
    },
    serveStream(stream, headers, connection) {
      carry(inboundOfHttp2(stream, headers), openLane(stream, connection, true));
    },
  };
}
