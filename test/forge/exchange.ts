import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { noteSent } from "./seen.ts";
import type { SeenRequest } from "./seen.ts";

/** One request on its way through the forge, over HTTP/1.1 or HTTP/2 alike. */
export interface Exchange {
  readonly request: Http2ServerRequest;
  readonly response: Http2ServerResponse;
  readonly url: URL;
  readonly entry: SeenRequest;
}

export interface Answer {
  readonly status?: number;
  readonly type?: string;
  readonly headers?: Readonly<{ [name: string]: string }>;
}

export function reply({ response, entry }: Exchange, body: string | Buffer, { status = 200, type = "text/plain; charset=utf-8", headers }: Answer = {}): void {
  entry.status = status;
  response.writeHead(status, { "content-type": type, "content-length": Buffer.byteLength(body), ...headers });
  response.end(body);
  noteSent(entry, Buffer.byteLength(body));
}

export function replyJson(exchange: Exchange, value: object, answer: Answer = {}): void {
  reply(exchange, `${JSON.stringify(value)}\n`, { type: "application/json", ...answer });
}
