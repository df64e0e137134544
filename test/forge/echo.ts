import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { noteReceived, noteSent } from "./seen.ts";
import type { SeenRequest } from "./seen.ts";

// A WebSocket that says what it hears (RFC 6455), without fragments and extensions. The message "reflect" is answered with the Authorization
// header that came with the handshake, as a server would that should not be trusted with it.

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const MOST_BYTES = 65_536;
const TEXT = 1;
const CLOSE = 8;

export function serveEcho(request: IncomingMessage, socket: Duplex, head: Buffer, entry: SeenRequest): void {
  socket.on("error", () => undefined);
  const key = request.headers["sec-websocket-key"];
  if (key === undefined || request.url !== "/echo") return void socket.end("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
  entry.status = 101;
  const accept = createHash("sha1").update(`${key}${GUID}`).digest("base64");
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
  let waiting = head;
  const take = (chunk: Buffer): void => {
    noteReceived(entry, chunk.length);
    waiting = Buffer.concat([waiting, chunk]);
    for (let frame = parseFrame(waiting); frame !== undefined; frame = parseFrame(waiting)) {
      waiting = waiting.subarray(frame.size);
      answer(frame);
    }
    if (waiting.length > MOST_BYTES) socket.destroy();
  };
  const answer = ({ opcode, payload }: Frame): void => {
    const said = opcode === TEXT && payload.toString() === "reflect" ? Buffer.from(request.headers.authorization ?? "(none)") : payload;
    const frame = buildFrame(opcode, said);
    noteSent(entry, frame.length);
    if (opcode === CLOSE) socket.end(frame);
    else socket.write(frame);
  };
  socket.on("data", take);
}

interface Frame {
  readonly opcode: number;
  readonly payload: Buffer;
  /** Of the whole frame. */
  readonly size: number;
}

/** The first frame of a client, unmasked; undefined until it is whole. Pure. */
function parseFrame(bytes: Buffer): Frame | undefined {
  if (bytes.length < 6) return undefined;
  const short = bytes.readUInt8(1) & 0x7f;
  const start = short === 126 ? 8 : 6;
  if (short === 127 || bytes.length < start) return undefined;
  const length = short === 126 ? bytes.readUInt16BE(2) : short;
  if (bytes.length < start + length) return undefined;
  const mask = bytes.subarray(start - 4, start);
  const payload = Buffer.from(bytes.subarray(start, start + length).map((byte, index) => byte ^ (mask[index % 4] ?? 0)));
  return { opcode: bytes.readUInt8(0) & 0x0f, payload, size: start + length };
}

function buildFrame(opcode: number, payload: Buffer): Buffer {
  const head = payload.length < 126 ? Buffer.from([0x80 | opcode, payload.length]) : Buffer.from([0x80 | opcode, 126, payload.length >> 8, payload.length & 0xff]);
  return Buffer.concat([head, payload]);
}
