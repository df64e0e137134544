import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer as createHttp, request as requestHttp } from "node:http";
import type { IncomingMessage } from "node:http";
import { connect as connectHttp2, performServerHandshake } from "node:http2";
import type { ClientHttp2Session, OutgoingHttpHeaders } from "node:http2";
import { createServer as createNet } from "node:net";
import type { AddressInfo, Server } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Duplex } from "node:stream";
import { duplexPair, pipeline } from "node:stream";
import type { TestContext } from "node:test";
import { connect as connectTls } from "node:tls";
import type { TLSSocket } from "node:tls";
import type { Credential, Network } from "@paddock/api/network";
import { pino } from "pino";
import { terminatedHosts } from "../../outward.ts";
import { createRedactor } from "../../redaction.ts";
import type { Redactor } from "../../redaction.ts";
import { makeEgressAuthority } from "../authority.ts";
import type { EgressAuthority } from "../authority.ts";
import { createDial } from "../dial.ts";
import type { EgressNote, EgressTarget } from "../policy.ts";
import { serveEgress } from "../proxy.ts";
import { readPolicy } from "../rules.ts";
import { createCredentialValues } from "../secret.ts";
import { createInspector } from "../terminate.ts";
import type { InspectorLimits } from "../terminate.ts";
import { createUpstreamTrust } from "../upstream-tls.ts";

/** One decision with the bytes that were counted for it. */
export interface Counted extends EgressNote {
  sent: number;
  received: number;
}

/** The whole proxy of a session behind a forwarder on loopback, before which programs stand. */
export interface InspectedLab {
  /** Port of the forwarder: HTTP_PROXY. */
  readonly proxyPort: number;
  /** The session's authority, PEM, and a file with it. */
  readonly authority: EgressAuthority;
  readonly authorityFile: string;
  readonly folder: string;
  readonly notes: readonly Counted[];
  readonly missing: readonly { readonly subject: string; readonly message: string }[];
  readonly redactor: Redactor;
  /** Addresses that were dialled for names. */
  readonly dialled: readonly string[];
  /** Writes the value of a credential; undefined removes it. */
  write(name: string, value: string | undefined): Promise<void>;
  /** Closes the gate. */
  stop(): void;
  /** A CONNECT through the forwarder. */
  tunnel(host: string, port: number): Promise<Duplex>;
  /** TLS through it, as a program of the sandbox has it. */
  secure(host: string, port: number, options?: { readonly alpn?: string[]; readonly servername?: string }): Promise<TLSSocket>;
  /** The program's end of a connection that is terminated, with nothing in between that looks at it. */
  terminated(target: EgressTarget): Duplex;
  /** One request over HTTP/1.1 through TLS. */
  ask(url: string, options?: AskOptions): Promise<Reply>;
}

export interface AskOptions {
  readonly method?: string;
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: string | Buffer;
  readonly socket?: Duplex;
}

export interface Reply {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

export interface InspectedOptions {
  readonly network?: Network;
  readonly credentials?: readonly Credential[];
  /** PEM of the authorities that the Environment names. */
  readonly bundle?: string;
  readonly limits?: InspectorLimits;
}

export async function listen(t: TestContext, server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => { server.close(); });
  return (server.address() as AddressInfo).port;
}

/** Every name stands for loopback here, which the real decision never dials. */
export async function startInspected(t: TestContext, { network = {}, credentials = [], bundle, limits }: InspectedOptions): Promise<InspectedLab> {
  const folder = await mkdtemp(join(tmpdir(), "paddock-egress-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const bundleFile = join(folder, "bundle.crt");
  if (bundle !== undefined) await writeFile(bundleFile, bundle);
  const credentialFile = (name: string): string => join(folder, "credentials", name, "value");
  const policy = readPolicy({ name: "dev", spec: { network, credentials } }, []);
  const authority = await makeEgressAuthority({ uid: "lab", hosts: terminatedHosts({ network, credentials: [...credentials] }), now: new Date() });
  const authorityFile = join(folder, "authority.crt");
  await writeFile(authorityFile, authority.certificate);
  const notes: Counted[] = [];
  const missing: { subject: string; message: string }[] = [];
  const dialled: string[] = [];
  const redactor = createRedactor();
  const gate = new AbortController();
  const account = {
    note(note: EgressNote) {
      const counted = { ...note, sent: 0, received: 0 };
      notes.push(counted);
      return (sent: number, received: number): void => {
        counted.sent += sent;
        counted.received += received;
      };
    },
  };
  const resolve = async (host: string): Promise<string[]> => {
    dialled.push(host);
    return ["127.0.0.1"];
  };
  const dial = createDial({ policy, resolve, isAddressAllowed: () => true });
  const values = createCredentialValues({ credentialFile, redactor, onMissing: (report) => missing.push(report) });
  const inspector = createInspector({ policy, credentials, values, account, dial, trust: createUpstreamTrust(bundleFile), authority: async () => authority, ...(limits === undefined ? {} : { limits }) });
  const session = await channel(t, (socket) => {
    const served = performServerHandshake(socket);
    served.on("error", () => undefined);
    serveEgress(served, { policy, dial, inspector, account, gate: { isOpen: () => !gate.signal.aborted, signal: () => gate.signal }, logger: pino({ level: "silent" }) });
  });
  const proxyPort = await startForwarder(t, session);

  const tunnel = async (host: string, port: number): Promise<Duplex> => {
    const request = requestHttp({ host: "127.0.0.1", port: proxyPort, method: "CONNECT", path: `${host}:${port}` }).end();
    const [response, socket] = (await once(request, "connect")) as [IncomingMessage, Duplex];
    t.after(() => { socket.destroy(); });
    if (response.statusCode !== 200) throw new Error(`CONNECT was answered ${String(response.statusCode)}`);
    return socket;
  };
  const secure: InspectedLab["secure"] = async (host, port, options = {}) => {
    const socket = connectTls({ socket: await tunnel(host, port), servername: options.servername ?? host, host, ca: authority.certificate, ALPNProtocols: options.alpn ?? ["http/1.1"] });
    t.after(() => { socket.destroy(); });
    await once(socket, "secureConnect");
    socket.on("error", () => undefined);
    return socket;
  };
  return {
    proxyPort, authority, authorityFile, folder, notes, missing, redactor, dialled, tunnel, secure,
    async write(name, value) {
      const file = credentialFile(`egress-${name}`);
      await mkdir(dirname(file), { recursive: true });
      await (value === undefined ? rm(file, { force: true }) : writeFile(file, value));
    },
    stop: () => { gate.abort(); },
    terminated(target) {
      const [near, far] = duplexPair();
      t.after(() => { near.destroy(); });
      inspector.terminate(far, { target, grant: { kind: "Terminate", rule: "network.allowedHosts[0]", entries: [0] }, signal: gate.signal });
      return near;
    },
    async ask(url, { socket, ...options } = {}) {
      const { hostname, port } = new URL(url);
      const own = socket ?? (await secure(hostname, Number(port)));
      const reply = await askOver(own, url, options);
      if (socket === undefined) own.destroy();
      return reply;
    },
  };
}

/** One request of HTTP/1.1 over a connection. */
export async function askOver(socket: Duplex, url: string, { method = "GET", headers = {}, body }: Omit<AskOptions, "socket"> = {}): Promise<Reply> {
  const { host, pathname, search } = new URL(url);
  const request = requestHttp({ createConnection: () => socket, method, path: pathname + search, headers: { host, ...headers }, setHost: false });
  request.end(body);
  const [response] = (await once(request, "response")) as [IncomingMessage];
  const pieces: Buffer[] = [];
  for await (const piece of response) pieces.push(piece as Buffer);
  return { status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(pieces).toString() };
}

/** A connection as between runner and sandbox, with its HTTP/2 turned. */
async function channel(t: TestContext, serve: (socket: Duplex) => void): Promise<ClientHttp2Session> {
  const sockets = new Set<Duplex>();
  const server = createNet((socket) => {
    sockets.add(socket);
    serve(socket);
  });
  const port = await listen(t, server);
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  session.on("error", () => undefined);
  t.after(() => {
    session.destroy();
    for (const socket of sockets) socket.destroy();
  });
  await once(session, "connect");
  return session;
}

/** The sandbox's forwarder in few lines: it decides nothing. */
async function startForwarder(t: TestContext, session: ClientHttp2Session): Promise<number> {
  const server = createHttp((request, response) => {
    const url = new URL(request.url ?? "");
    const { host: _host, connection: _connection, "proxy-connection": _proxy, "keep-alive": _keep, "transfer-encoding": _encoding, ...headers } = request.headers;
    const stream = session.request({ ":method": request.method ?? "GET", ":scheme": "http", ":authority": url.host, ":path": url.pathname + url.search, ...headers });
    stream.on("error", () => { response.destroy(); });
    pipeline(request, stream, () => undefined);
    stream.once("response", ({ ":status": status, ...received }) => {
      response.writeHead(status ?? 502, received);
      pipeline(stream, response, () => undefined);
    });
  });
  const sockets = new Set<Duplex>();
  server.on("connect", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    const stream = session.request({ ":method": "CONNECT", ":authority": request.url ?? "" }, { endStream: false });
    stream.on("error", () => { socket.destroy(); });
    socket.once("close", () => { stream.close(8); });
    stream.once("response", ({ ":status": status }) => {
      socket.write(`HTTP/1.1 ${String(status)} x\r\n${status === 200 ? "" : "connection: close\r\n"}\r\n`);
      pipeline(stream, socket, () => undefined);
    });
    stream.write(head);
    socket.pipe(stream);
  });
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.closeAllConnections();
  });
  return listen(t, server);
}
