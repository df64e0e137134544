import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { BlockList } from "node:net";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { BindReply, EGRESS_UPGRADE } from "@paddock/api/wire/sandbox";
import type { Binding, Caller } from "./binding.ts";
import type { Calls } from "./calls.ts";
import type { EgressChannel } from "./channel.ts";
import { codeOf, stackOf } from "./failure.ts";
import { parseFiles } from "./files.ts";
import type { SessionFiles } from "./files.ts";
import type { Isolation } from "./isolation.ts";
import type { Log } from "./log.ts";
import { answerProblem, buildProblem, RequestRefused } from "./problem.ts";
import type { Refusal } from "./problem.ts";
import { callerOf, parseBind, parseCall, readBody } from "./request.ts";
import type { TrustStore } from "./trust.ts";

const UPGRADE: typeof EGRESS_UPGRADE = "paddock-egress";
const MOST_CONNECTIONS = 256;
const LOOPBACK = new BlockList();
LOOPBACK.addSubnet("127.0.0.0", 8, "ipv4");
LOOPBACK.addAddress("::1", "ipv6");
/** For headers and body; a call may take longer to answer. */
const REQUEST_MS = 60_000;

export interface ServerPorts {
  readonly workspace: string;
  readonly binding: Binding;
  readonly calls: Calls;
  readonly files: SessionFiles;
  readonly channel: EgressChannel;
  readonly isolation: Isolation;
  readonly trust: TrustStore;
  readonly log: Log;
  /** Connections from this machine itself: in a pod these are commands, which could fill all places and keep the runner out. Served by default, for tests. */
  readonly local?: "served" | "refused";
}

/** The tool server of `@paddock/api/wire/sandbox`; not listening yet. No request ends it. */
export function createToolServer({ workspace, binding, calls, files, channel, isolation, trust, log, local = "served" }: ServerPorts): Server {
  const epochs = new Map<Duplex, number>();
  let takeover: Promise<void> = Promise.resolve();

  /** Throws RequestRefused unless the newest runner asks. */
  function checkNewest(caller: Caller): void {
    const refusal = binding.refusalOf(caller);
    if (refusal !== undefined) throw new RequestRefused(refusal.type, refusal.detail);
  }

  /** Throws RequestRefused unless the newest runner asks, and it is known what the pod reaches: nothing of a session is let in before. */
  function admit(request: IncomingMessage): void {
    const caller = callerOf(request);
    checkNewest(caller);
    if (!isolation.isKnown()) throw new RequestRefused("unavailable", "the sandbox is still proving its isolation: wait for the answer to PUT /v1/bind");
    noteEpoch(request.socket, caller.epoch);
  }

  function noteEpoch(socket: Duplex, epoch: number): void {
    if (!epochs.has(socket)) socket.once("close", () => epochs.delete(socket));
    epochs.set(socket, epoch);
  }

  async function bind(request: IncomingMessage): Promise<BindReply> {
    const caller = callerOf(request);
    const { session, probe, trust: certificates } = parseBind(await readBody(request));
    const bound = binding.bind(caller, session);
    if ("type" in bound) throw new RequestRefused(bound.type, bound.detail);
    noteEpoch(request.socket, caller.epoch);
    if (bound.takeover) takeover = takeover.then(() => endEarlier(caller.epoch, request.socket));
    await takeover;
    const report = await isolation.prove(probe);
    // A still newer runner may have bound meanwhile, and its certificates are not to be replaced by these.
    checkNewest(caller);
    await trust.renew(certificates);
    checkNewest(caller);
    log("info", "bound", { session, epoch: caller.epoch, takeover: bound.takeover, probed: report.probed.length, open: report.open.length });
    return { workspace, protocol: 1, isolation: report };
  }

  async function endEarlier(epoch: number, own: Socket): Promise<void> {
    channel.close();
    for (const [socket, theirs] of epochs) {
      if (theirs < epoch && socket !== own) socket.destroy();
    }
    await calls.stopAll();
  }

  async function admittedBody(request: IncomingMessage): Promise<Readonly<Record<string, unknown>>> {
    admit(request);
    const body = await readBody(request);
    await takeover;
    admit(request); // the body took its time
    return body;
  }

  async function call(request: IncomingMessage, response: ServerResponse): Promise<object> {
    const asked = parseCall(await admittedBody(request));
    const gone = new AbortController();
    response.once("close", () => { gone.abort(); });
    if (response.destroyed) gone.abort();
    return calls.run(asked, gone.signal);
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<object> {
    const route = `${request.method ?? ""} ${(request.url ?? "").split("?", 1)[0] ?? ""}`;
    switch (route) {
      case "GET /healthz": return { status: "ok" };
      case "PUT /v1/bind": return bind(request);
      case "PUT /v1/files": return files.place(parseFiles(await admittedBody(request)));
      case "POST /v1/calls": return call(request, response);
      case "GET /v1/egress": throw new RequestRefused("malformed", `GET /v1/egress needs Connection: Upgrade and Upgrade: ${UPGRADE}`);
      default: throw new RequestRefused("not-found", "there is GET /healthz, PUT /v1/bind, PUT /v1/files, POST /v1/calls and GET /v1/egress");
    }
  }

  async function upgrade(request: IncomingMessage, socket: Socket, head: Buffer): Promise<void> {
    if (request.method !== "GET" || request.url !== "/v1/egress" || request.headers.upgrade?.toLowerCase() !== UPGRADE) {
      throw new RequestRefused("not-found", `only GET /v1/egress can be upgraded, to ${UPGRADE}`);
    }
    await takeover;
    admit(request);
    if (head.length > 0) throw new RequestRefused("malformed", "nothing may be sent before the answer to the upgrade");
    socket.setTimeout(0);
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${UPGRADE}\r\n\r\n`);
    channel.open(socket);
  }

  function refusalOf(error: unknown): Refusal {
    if (error instanceof RequestRefused) return error.refusal;
    if (codeOf(error) !== "ECONNRESET") {
      log("error", "a request failed", { stack: stackOf(error) });
    }
    return { type: "internal", detail: "the tool server failed; the sandbox's log says more" };
  }

  const server = createServer({ requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS, keepAlive: true, keepAliveInitialDelay: 10_000 }, (request, response) => {
    response.on("error", () => undefined);
    answer(request, response).then(
      (body) => {
        if (!response.destroyed) response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
      },
      (error: unknown) => {
        const refusal = refusalOf(error);
        // What is left of a body that is not read would be taken for the next request.
        if (!request.complete) response.setHeader("connection", "close");
        answerProblem(response, refusal);
      },
    );
  });
  server.maxConnections = MOST_CONNECTIONS;
  if (local === "refused") server.on("connection", (socket) => { if (isLocal(socket)) socket.destroy(); });
  server.on("upgrade", (request: IncomingMessage, socket: Socket, head: Buffer) => {
    socket.on("error", () => undefined);
    upgrade(request, socket, head).catch((error: unknown) => { socket.end(rawProblem(refusalOf(error))); });
  });
  server.on("clientError", (_: Error, socket: Duplex) => {
    if (socket.writable) socket.end(rawProblem({ type: "malformed", detail: "this is not an HTTP/1.1 request" }));
  });
  return server;
}

/** Whether a connection comes from this machine: from a loopback address, or from the one that it leads to. Pure. */
export function isLocal({ remoteAddress = "", localAddress }: Pick<Socket, "remoteAddress" | "localAddress">): boolean {
  return remoteAddress === localAddress || remoteAddress === "" || LOOPBACK.check(remoteAddress.replace(/^::ffff:/i, ""), remoteAddress.includes(".") ? "ipv4" : "ipv6");
}

function rawProblem(refusal: Refusal): string {
  const problem = buildProblem(refusal);
  const body = JSON.stringify(problem);
  return `HTTP/1.1 ${problem.status} Refused\r\nContent-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`;
}
