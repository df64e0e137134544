import { once } from "node:events";
import { request as httpRequest } from "node:http";
import type { IncomingMessage } from "node:http";
import { performServerHandshake } from "node:http2";
import type { IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { Duplex, pipeline } from "node:stream";
import { KEY } from "./sandbox.ts";

/** The runner's side of the egress channel, as a real HTTP/2 server on the upgraded socket. Also a program: `node peer.ts PORT EPOCH`. */
export interface Peer {
  readonly session: ServerHttp2Session;
  readonly socket: Socket;
}

/** Dials the sandbox and turns the roles round. Throws the status of a refusal. */
export async function openPeer(port: number, epoch = 1): Promise<Peer> {
  const dial = httpRequest({ port, host: "127.0.0.1", path: "/v1/egress", headers: { connection: "Upgrade", upgrade: "paddock-egress", authorization: `Bearer ${KEY}`, "paddock-epoch": String(epoch) } });
  dial.end();
  const [response, socket, head] = await new Promise<[IncomingMessage, Socket?, Buffer?]>((resolve, reject) => {
    dial.once("upgrade", (...upgraded) => { resolve(upgraded); });
    dial.once("response", (refused) => { refused.resume(); resolve([refused]); });
    dial.once("error", reject);
  });
  if (socket === undefined || head === undefined) throw new Error(String(response.statusCode));
  const session = performServerHandshake(replaying(socket, head));
  session.on("error", () => undefined);
  session.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    stream.on("error", () => undefined);
    serve(stream, headers);
  });
  return { session, socket };
}

/** What came with the answer to the upgrade is the client's first bytes. */
function replaying(socket: Socket, head: Buffer): Duplex {
  const duplex = new Duplex({
    read: () => void socket.resume(),
    write: (chunk: Buffer, _encoding, done) => void socket.write(chunk, done),
    final: (done) => void socket.end(done),
    destroy: (error, done) => { socket.destroy(); done(error); },
  });
  if (head.length > 0) duplex.push(head);
  socket.on("data", (chunk: Buffer) => { if (!duplex.push(chunk)) socket.pause(); });
  socket.on("end", () => { duplex.push(null); }).on("error", (error) => { duplex.destroy(error); }).on("close", () => { duplex.destroy(); });
  return duplex;
}

function serve(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
  const authority = headers[":authority"] ?? "";
  const [host, port] = authority.split(":");
  if (host === "silent.test") return;
  if (host === "refused.test") {
    stream.respond({ ":status": 403, "content-type": "text/plain", "x-reason": "policy" });
    stream.end(`${authority} is not among the allowed hosts\n`);
  } else if (headers[":method"] === "CONNECT") {
    const out = connect(Number(port), "127.0.0.1");
    out.once("connect", () => {
      stream.respond({ ":status": 200 });
      pipeline(stream, out, () => undefined);
      pipeline(out, stream, () => undefined);
    });
    out.once("error", () => { if (!stream.headersSent) { stream.respond({ ":status": 502 }); stream.end(); } });
  } else void servePlain(stream, headers, Number(port));
}

async function servePlain(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, port: number): Promise<void> {
  const own = Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith(":")));
  const out = httpRequest({ host: "127.0.0.1", port, method: headers[":method"] ?? "GET", path: headers[":path"] ?? "/", headers: { ...own, host: headers[":authority"] ?? "" } });
  pipeline(stream, out, () => undefined);
  const [answer] = (await once(out, "response")) as [IncomingMessage];
  const { connection: _, "keep-alive": __, "transfer-encoding": ___, ...kept } = answer.headers;
  stream.respond({ ":status": answer.statusCode ?? 502, ...kept });
  pipeline(answer, stream, () => undefined);
}

if (process.argv[1] === import.meta.filename) {
  await openPeer(Number(process.argv[2]), Number(process.argv[3]));
  process.stdout.write("open\n");
}
