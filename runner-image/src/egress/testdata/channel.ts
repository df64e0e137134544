import { once } from "node:events";
import { request } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import type { ClientHttp2Session } from "node:http2";
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { TestContext } from "node:test";
import { createServer as createTlsServer } from "node:tls";
import type { TlsOptions, TLSSocket } from "node:tls";
import type { Network } from "@paddock/api/network";
import { pino } from "pino";
import { createEgressChannel } from "../../../../sandbox-image/src/channel.ts";
import { createForwarder } from "../../../../sandbox-image/src/forward.ts";
import { serveReversed } from "../../sandbox/reversed.ts";
import { makeEgressAuthority } from "../authority.ts";
import { createDial } from "../dial.ts";
import type { Resolve } from "../dial.ts";
import { createGate } from "../gate.ts";
import type { MovableGate } from "../gate.ts";
import type { EgressInspector, EgressNote } from "../policy.ts";
import { serveEgress } from "../proxy.ts";
import type { EgressLimits } from "../proxy.ts";
import { readPolicy } from "../rules.ts";

/** A decision with the bytes that were counted for it. */
export interface Counted extends EgressNote {
  sent: number;
  received: number;
}

export interface ChannelOptions {
  readonly hosts?: NonNullable<Network["allowedHosts"]>;
  readonly limits?: EgressLimits;
  /** Absent: every name stands for 127.0.0.1. */
  readonly resolve?: Resolve;
  readonly inspector?: Partial<EgressInspector>;
}

/** The sandbox's end of a channel and the runner's, with the proxy behind it; both in this process, over loopback. */
export interface Channel {
  readonly notes: readonly Counted[];
  readonly gate: MovableGate;
  /** Warnings and errors of the proxy's own. */
  readonly lines: readonly string[];
  /** A socket on which a sandbox is to speak HTTP/2 as the client. */
  openSocket(): Promise<Socket>;
}

/** The runner's end for any number of sandboxes; ended with the test. */
export function startChannel(t: TestContext, options: ChannelOptions = {}): Channel {
  const notes: Counted[] = [];
  const lines: string[] = [];
  const gate = createGate();
  gate.set(true);
  const policy = readPolicy({ name: "prod", spec: { network: { allowedHosts: options.hosts ?? [] } } }, []);
  const resolve = options.resolve ?? (() => Promise.resolve(["127.0.0.1"]));
  const dial = createDial({ policy, resolve, isAddressAllowed: (_policy, _entries, _host, address) => address.startsWith("127.") });
  const account = {
    note(note: EgressNote) {
      const counted: Counted = { ...note, sent: 0, received: 0 };
      notes.push(counted);
      return (sent: number, received: number): void => {
        counted.sent += sent;
        counted.received += received;
      };
    },
  };
  const unexpected = (duplex: Duplex): void => { duplex.destroy(); };
  const inspector = { terminate: unexpected, serveHttp: unexpected, serveStream: unexpected, ...options.inspector };
  const logger = pino({ level: "warn" }, { write: (line: string) => void lines.push(line) });
  return {
    notes,
    gate,
    lines,
    async openSocket() {
      const server = createServer();
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      const dialled = connect((server.address() as AddressInfo).port, "127.0.0.1");
      const [accepted] = (await once(server, "connection")) as [Socket];
      server.close();
      // As node:http has them.
      for (const socket of [dialled, accepted]) socket.setNoDelay(true).on("error", () => undefined);
      serveEgress(serveReversed(dialled, Buffer.alloc(0)), { policy, dial, inspector, account, gate, logger, ...(options.limits === undefined ? {} : { limits: options.limits }) });
      t.after(() => {
        dialled.destroy();
        accepted.destroy();
      });
      return accepted;
    },
  };
}

/** A sandbox's own forwarder on a channel: the port where programs find their proxy. */
export async function startForwarder(t: TestContext, channel: Channel): Promise<number> {
  const way = createEgressChannel(() => undefined);
  way.open(await channel.openSocket());
  const forwarder = createForwarder(way).listen(0, "127.0.0.1");
  await once(forwarder, "listening");
  t.after(() => {
    way.close();
    forwarder.closeAllConnections();
    forwarder.close();
  });
  return (forwarder.address() as AddressInfo).port;
}

/** A sandbox that speaks HTTP/2 as it likes. */
export async function startHostile(t: TestContext, channel: Channel): Promise<ClientHttp2Session> {
  const socket = await channel.openSocket();
  const session = connectHttp2("http://runner", { createConnection: () => socket });
  session.on("error", () => undefined);
  t.after(() => { session.destroy(); });
  return session;
}

export interface Answer {
  readonly status: number;
  readonly text: string;
  /** There with 200. */
  readonly socket: Duplex;
}

/** CONNECT through the forwarder. */
export function tunnelTo(proxyPort: number, authority: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    request({ host: "127.0.0.1", port: proxyPort, method: "CONNECT", path: authority, agent: false })
      .once("connect", ({ statusCode = 0 }, socket, head) => {
        socket.on("error", () => undefined);
        if (head.length > 0) socket.unshift(head);
        if (statusCode === 200) { resolve({ status: statusCode, text: "", socket }); return; }
        let text = "";
        socket.setEncoding("utf8").on("data", (more: string) => (text += more)).once("end", () => { resolve({ status: statusCode, text, socket }); });
      })
      .once("error", reject)
      .end();
  });
}

export interface Upstream {
  readonly port: number;
  readonly sockets: Set<Socket>;
}

/** A server that echoes, or does what it is told with each connection; ended with the test. */
export async function startUpstream(t: TestContext, serve: (socket: Socket) => void = (socket) => void socket.pipe(socket)): Promise<Upstream> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket.on("error", () => undefined));
    socket.once("close", () => sockets.delete(socket));
    serve(socket);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, sockets };
}

/** The same with TLS, for any of these hosts. `certificate`: what clients are to trust, PEM. */
export async function startTlsUpstream(t: TestContext, host: string, serve: (socket: TLSSocket) => void): Promise<{ readonly port: number; readonly certificate: string }> {
  const authority = await makeEgressAuthority({ uid: "u1", hosts: [host], now: new Date() });
  const context = await authority.leafFor(host);
  const options: TlsOptions = { allowHalfOpen: true, SNICallback: (_name, done) => { done(null, context); } };
  const server = createTlsServer(options, (socket) => {
    socket.on("error", () => undefined);
    serve(socket);
  }).on("tlsClientError", () => undefined).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  return { port: (server.address() as AddressInfo).port, certificate: authority.certificate };
}
