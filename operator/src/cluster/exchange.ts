import { type ClientHttp2Session, type ClientHttp2Stream, type IncomingHttpHeaders, constants } from "node:http2";
import { ConnectionError } from "./errors.ts";
import type { Lane } from "./session.ts";

/** One request as it goes over the wire. */
export interface WireRequest {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Path and query. */
  readonly path: string;
  readonly contentType?: string;
  /** Sent as JSON. */
  readonly body?: unknown;
  readonly timeoutMs?: number;
  /** Called right before the request is put on the wire, each time; when it throws, nothing is sent. */
  readonly permit?: () => void;
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** The answer to a watch: its stream flows for as long as the server likes. */
export interface OpenStream {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly stream: ClientHttp2Stream;
}

export const REQUEST_TIMEOUT_MS = 30_000;
const MAX_TRIES = 3;

/** Sends a request and reads the whole answer. Throws ConnectionError when there is none; what the server has not even looked at is sent again. */
export async function exchange(lane: Lane, request: WireRequest, headers: Readonly<Record<string, string>>): Promise<Answer> {
  for (let tries = 1; ; tries += 1) {
    const session = await lane.session();
    request.permit?.();
    const stream = begin(session, request, headers);
    try {
      return await answerOf(stream, request.timeoutMs ?? REQUEST_TIMEOUT_MS);
    } catch (error) {
      // Refused means: not even looked at, e.g. because the server was about to close the connection.
      const refused = stream.rstCode === constants.NGHTTP2_REFUSED_STREAM;
      if (refused && tries < MAX_TRIES) continue;
      throw new ConnectionError(`${request.method} ${pathOnly(request.path)}: no answer: ${error instanceof Error ? error.message : String(error)}`, !refused, error);
    }
  }
}

/** Sends a GET and resolves with the answer's headers and stream. Throws ConnectionError, never ambiguous. */
export async function openStream(lane: Lane, path: string, headers: Readonly<Record<string, string>>): Promise<OpenStream> {
  const stream = begin(await lane.session(), { method: "GET", path }, headers);
  return new Promise((resolve, reject) => {
    const fail = (error?: Error): void => {
      clearTimeout(timer);
      reject(new ConnectionError(`watch ${pathOnly(path)}: ${error?.message ?? "closed before an answer"}`, false, error));
    };
    const timer = setTimeout(() => stream.destroy(new Error(`no answer within ${REQUEST_TIMEOUT_MS / 1000} s`)), REQUEST_TIMEOUT_MS);
    // Stays for the stream's whole life: without a listener a late error would end the process.
    stream.on("error", fail);
    stream.once("close", fail);
    stream.once("response", (received) => {
      clearTimeout(timer);
      resolve({ status: Number(received[constants.HTTP2_HEADER_STATUS]), headers: received, stream });
    });
  });
}

/** Reads a stream to its end. Throws when it is cut. */
export function textOf(stream: ClientHttp2Stream, timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const timer = setTimeout(() => stream.destroy(new Error(`none within ${timeoutMs / 1000} s`)), timeoutMs);
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    let ended = false;
    stream.once("end", () => {
      ended = true;
    });
    stream.on("error", reject);
    stream.once("close", () => {
      clearTimeout(timer);
      // A reset in the middle of a body can look like its end.
      if (ended && stream.rstCode === constants.NGHTTP2_NO_ERROR) resolve(Buffer.concat(chunks).toString("utf8"));
      else reject(new Error(`the stream was closed early (code ${stream.rstCode ?? 0})`));
    });
  });
}

/** For messages: queries are long and say nothing to people. */
export function pathOnly(path: string): string {
  return path.split("?", 1)[0] ?? path;
}

function begin(session: ClientHttp2Session, { method, path, contentType = "application/json", body }: WireRequest, headers: Readonly<Record<string, string>>): ClientHttp2Stream {
  const text = body === undefined ? undefined : JSON.stringify(body);
  const pseudo = { [constants.HTTP2_HEADER_METHOD]: method, [constants.HTTP2_HEADER_PATH]: path };
  if (session.destroyed || session.closed) throw new ConnectionError(`${method} ${pathOnly(path)}: the connection was just closed`, false);
  const stream = session.request({ ...headers, ...pseudo, ...(text === undefined ? {} : { "content-type": contentType }) }, { endStream: text === undefined });
  if (text !== undefined) stream.end(text);
  return stream;
}

async function answerOf(stream: ClientHttp2Stream, timeoutMs: number): Promise<Answer> {
  let headers: IncomingHttpHeaders | undefined;
  stream.once("response", (received) => {
    headers = received;
  });
  const text = await textOf(stream, timeoutMs);
  if (headers === undefined) throw new Error("closed without headers");
  return { status: Number(headers[constants.HTTP2_HEADER_STATUS]), headers, text };
}
