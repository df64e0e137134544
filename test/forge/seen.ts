import { createHash } from "node:crypto";
import { Transform } from "node:stream";
import type { Http2ServerRequest } from "node:http2";

// What the forge has seen. It never keeps a credential: only its digest, so that a scan for the credential finds nothing here.

/** How a credential arrived: its scheme, and the SHA-256 of the header's whole value, in hexadecimal digits. */
export interface SeenCredential {
  readonly scheme: string;
  readonly digest: string;
}

/** One request. Times in milliseconds since 1970 on the forge's clock; null: not yet, or never. */
export interface SeenRequest {
  readonly number: number;
  readonly at: number;
  readonly method: string;
  /** Host or :authority as sent. */
  readonly host: string;
  /** With query. */
  readonly path: string;
  readonly httpVersion: string;
  readonly from: string;
  readonly userAgent: string;
  readonly authorization: SeenCredential | null;
  status: number;
  bytesReceived: number;
  lastReceivedAt: number | null;
  bytesSent: number;
  /** When the newest byte was handed to the connection. */
  lastSentAt: number | null;
  /** The response is complete, or the other side has gone. */
  endedAt: number | null;
}

/** Everything so far; requests oldest first, the newest 2,000 of them. */
export interface Seen {
  readonly now: number;
  /** Accepted TCP connections of the served ports, whether TLS came about or not. */
  readonly connections: readonly { readonly at: number; readonly from: string }[];
  readonly requests: readonly SeenRequest[];
}

export interface Record {
  noteConnection(from: string | undefined): void;
  noteRequest(request: Pick<Http2ServerRequest, "method" | "url" | "headers" | "httpVersion" | "socket">): SeenRequest;
  read(): Seen;
}

const MOST = 2000;

/** Milliseconds since 1970 on a clock that never steps back. */
export function clock(): number {
  return performance.timeOrigin + performance.now();
}

/** SHA-256 in hexadecimal digits. */
export function digestOf(text: string | Buffer): string {
  return createHash("sha256").update(text).digest("hex");
}

export function createRecord(): Record {
  const requests: SeenRequest[] = [];
  const connections: { at: number; from: string }[] = [];
  let number = 0;
  const keep = <T>(list: T[], item: T): void => {
    list.push(item);
    if (list.length > MOST) list.shift();
  };
  return {
    noteConnection: (from = "") => {
      keep(connections, { at: clock(), from });
    },
    noteRequest: ({ method, url, headers, httpVersion, socket }) => {
      number += 1;
      const authority = headers[":authority"];
      const entry: SeenRequest = {
        number, method, httpVersion, path: url, at: clock(), host: typeof authority === "string" ? authority : (headers.host ?? ""),
        from: socket.remoteAddress ?? "", userAgent: headers["user-agent"] ?? "", authorization: credentialOf(headers.authorization),
        status: 0, bytesReceived: 0, lastReceivedAt: null, bytesSent: 0, lastSentAt: null, endedAt: null,
      };
      keep(requests, entry);
      return entry;
    },
    read: () => ({ now: clock(), connections, requests }),
  };
}

function credentialOf(header: string | undefined): SeenCredential | null {
  return header === undefined ? null : { scheme: header.split(" ", 1)[0] ?? "", digest: digestOf(header) };
}

export function noteReceived(entry: SeenRequest, bytes: number): void {
  entry.bytesReceived += bytes;
  entry.lastReceivedAt = clock();
}

export function noteSent(entry: SeenRequest, bytes: number): void {
  entry.bytesSent += bytes;
  entry.lastSentAt = clock();
}

/** Passes everything on and tells how much that was. */
export function createMeter(note: (bytes: number) => void): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      note(chunk.length);
      done(null, chunk);
    },
  });
}
