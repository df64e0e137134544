import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { once } from "node:events";
import { GREETING, findServed } from "./packages.ts";
import { reply, replyJson } from "./exchange.ts";
import type { Exchange } from "./exchange.ts";
import { serveRepository } from "./repository.ts";
import { noteReceived, noteSent } from "./seen.ts";

export interface ForgeTerms {
  /** The credential that private routes want, read anew at each request; undefined when there is none: they refuse everybody then. */
  readonly token: () => string | undefined;
  /** Holds the repository. */
  readonly folder: string;
}

type Route = (exchange: Exchange, terms: ForgeTerms) => Promise<void> | void;

const ROUTES: Readonly<{ [path: string]: Route }> = {
  "/": (exchange) => reply(exchange, `${GREETING}\n`),
  "/whoami": tellCredential,
  "/reflect": reflectCredential,
  "/redirect": redirect,
  "/blob": sendBlob,
  "/upload": takeUpload,
  "/drip": drip,
  "/pour": pour,
};

/** Answers one request of a served port. */
export async function serveExchange(exchange: Exchange, terms: ForgeTerms): Promise<void> {
  const { pathname } = exchange.url;
  const route = Object.hasOwn(ROUTES, pathname) ? ROUTES[pathname] : findPrivate(pathname);
  if (route === undefined) reply(exchange, "there is nothing here\n", { status: 404 });
  else await route(exchange, terms);
}

function findPrivate(pathname: string): Route | undefined {
  if (pathname.startsWith("/git/")) return servePrivately(basicOf, (exchange, { folder }) => serveRepository(folder, exchange));
  return /^\/(npm|simple)\//.test(pathname) ? servePrivately(bearerOf, servePackages) : undefined;
}

function bearerOf(token: string): string {
  return `Bearer ${token}`;
}

/** As git sends a user's token. */
function basicOf(token: string): string {
  return `Basic ${Buffer.from(`x-access-token:${token}`).toString("base64")}`;
}

function servePrivately(wants: (token: string) => string, serve: Route): Route {
  return (exchange, terms) => {
    const token = terms.token();
    if (token !== undefined && exchange.request.headers.authorization === wants(token)) return serve(exchange, terms);
    reply(exchange, "this is private\n", { status: 401, headers: { "www-authenticate": 'Basic realm="forge"' } });
    return undefined;
  };
}

function servePackages(exchange: Exchange): void {
  const served = findServed(exchange.url.pathname, exchange.url.origin);
  if (served === undefined) reply(exchange, "there is no such package\n", { status: 404 });
  else reply(exchange, served.body, { type: served.type });
}

/** Which credential arrived, as a digest: what a sandbox may see of it. */
function tellCredential(exchange: Exchange): void {
  const { method, path, httpVersion, authorization } = exchange.entry;
  replyJson(exchange, { method, path, httpVersion, authorization, headers: Object.keys(exchange.request.headers).sort() });
}

/** Sends the credential back in every form that a careless or hostile server might; with `encoding=gzip` compressed, whatever the request allows. */
function reflectCredential(exchange: Exchange): void {
  const header = exchange.request.headers.authorization ?? "(none)";
  const token = header.slice(header.indexOf(" ") + 1);
  const bytes = Buffer.from(token);
  const forms = {
    header, token, json: `"${token}"`, base64: bytes.toString("base64"), shifted: Buffer.from(`x${token}`).toString("base64"), again: Buffer.from(`xx${token}`).toString("base64"),
    base64url: bytes.toString("base64url"), hex: bytes.toString("hex"), upperHex: bytes.toString("hex").toUpperCase(), percent: [...bytes].map((byte) => `%${byte.toString(16).padStart(2, "0")}`).join(""),
  };
  const isGzip = exchange.url.searchParams.get("encoding") === "gzip";
  const body = Buffer.from(JSON.stringify(forms));
  const headers = { "x-reflected": header, "x-reflected-base64": forms.base64, ...(isGzip ? { "content-encoding": "gzip" } : {}) };
  reply(exchange, isGzip ? gzipSync(body) : body, { type: "application/json", headers });
}

function redirect(exchange: Exchange): void {
  const { searchParams } = exchange.url;
  reply(exchange, "elsewhere\n", { status: Number(searchParams.get("status") ?? 302), headers: { location: searchParams.get("to") ?? "/" } });
}

const BLOB = Buffer.from(Uint8Array.from({ length: 65_536 }, (_, index) => (index * 31 + (index >> 8)) % 256));
const MOST_BYTES = 4 * 1024 ** 3;

function countOf({ url }: Exchange, name: string, fallback: number): number {
  const value = Number(url.searchParams.get(name) ?? fallback);
  return Number.isSafeInteger(value) && value >= 0 ? value : fallback;
}

/** The bytes of `/blob?bytes=N`, piece by piece. Pure. */
function* blobPieces(bytes: number): Generator<Buffer> {
  for (let left = bytes; left > 0; left -= BLOB.length) yield left < BLOB.length ? BLOB.subarray(0, left) : BLOB;
}

/** SHA-256 of what `/blob?bytes=N` sends, in hexadecimal digits. Pure. */
export function digestOfBlob(bytes: number): string {
  const hash = createHash("sha256");
  for (const piece of blobPieces(bytes)) hash.update(piece);
  return hash.digest("hex");
}

async function sendBlob(exchange: Exchange): Promise<void> {
  const { response, entry } = exchange;
  const bytes = Math.min(countOf(exchange, "bytes", 1024), MOST_BYTES);
  entry.status = 200;
  response.writeHead(200, { "content-type": "application/octet-stream", "content-length": bytes });
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  for (const piece of blobPieces(bytes)) {
    if (!response.write(piece)) await once(response, "drain", { signal: gone.signal });
    noteSent(entry, piece.length);
  }
  response.end();
}

async function takeUpload(exchange: Exchange): Promise<void> {
  const hash = createHash("sha256");
  for await (const chunk of exchange.request as AsyncIterable<Buffer>) {
    noteReceived(exchange.entry, chunk.length);
    hash.update(chunk);
  }
  replyJson(exchange, { bytes: exchange.entry.bytesReceived, sha256: hash.digest("hex") });
}

/** Longest that a slow stream goes on. */
const SLOW_MS = 900_000;

/** One byte every `everyMs`, until the other side goes. */
function drip(exchange: Exchange): void {
  const { response, entry } = exchange;
  entry.status = 200;
  response.writeHead(200, { "content-type": "application/octet-stream" });
  const timer = setInterval(() => {
    if (clearWhenLate()) return;
    response.write(".");
    noteSent(entry, 1);
  }, Math.max(10, countOf(exchange, "everyMs", 1000)));
  const endsAt = performance.now() + SLOW_MS;
  const clearWhenLate = (): boolean => {
    if (performance.now() < endsAt) return false;
    clearInterval(timer);
    response.end();
    return true;
  };
  response.once("close", () => clearInterval(timer));
}

/** Takes bytes as slowly as they come, and answers when there are no more. */
async function pour(exchange: Exchange): Promise<void> {
  for await (const chunk of exchange.request as AsyncIterable<Buffer>) noteReceived(exchange.entry, chunk.length);
  replyJson(exchange, { bytes: exchange.entry.bytesReceived });
}
