import type { Credential } from "@paddock/api/network";
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from "node:http";
import type { Readable, Writable } from "node:stream";
import { pipeline, Transform } from "node:stream";
import { buildDenial, decideRequest, isDenial, quote, whereOf } from "./decision.ts";
import { decodeStreams } from "./decode.ts";
import { answerHeaders, mapHeaders, requestHeaders } from "./headers.ts";
import { hasCredential, injectedHeader, matchCredentials } from "./inject.ts";
import { createMaskTable, maskStream } from "./mask.ts";
import type { MaskTable } from "./mask.ts";
import type { EgressAccount, EgressConnection, EgressDenial, InjectedHeader, RequestGrant } from "./policy.ts";
import type { EgressPolicy } from "./rules.ts";
import { parseAuthority } from "./rules-target.ts";
import type { CredentialValues } from "./secret.ts";
import type { Upstream, UpstreamAnswer } from "./upstream.ts";
import { unreachable } from "./upstream-tls.ts";

/** One request of a program, and the way to answer it, whatever protocol it speaks. */
export interface Inbound {
  readonly method: string;
  readonly path: string;
  /** What Host and :authority say, each that is there. */
  readonly authorities: readonly string[];
  readonly headers: IncomingHttpHeaders;
  /** Absent when there is none. */
  readonly body: Readable | undefined;
  /** Aborts when the program is gone before the answer is complete. */
  readonly signal: AbortSignal;
  /** The program may send the body that it asked about. */
  proceed(): void;
  /** An answer of our own; what is left of the request is not wanted. */
  refuse(denial: EgressDenial): void;
  /** The answer's head; where its body goes, or undefined when such an answer has none. Throws when the protocol cannot hold the headers. */
  answer(status: number, headers: OutgoingHttpHeaders, trailers: () => OutgoingHttpHeaders): Writable | undefined;
}

export interface ExchangePorts {
  readonly policy: EgressPolicy;
  readonly credentials: readonly Credential[];
  readonly values: CredentialValues;
  readonly account: EgressAccount;
}

/** A connection of a program with its far side. */
export interface Lane {
  readonly connection: EgressConnection;
  readonly upstream: Upstream;
  /** The program speaks plain HTTP, and so does the proxy with the host. */
  readonly isPlain: boolean;
}

/** What a request gets on its way. */
export interface Admission {
  readonly grant: RequestGrant;
  readonly injected: readonly InjectedHeader[];
  /** Present when the host has a credential: what its answers have masked. */
  readonly mask: MaskTable | undefined;
}

/** One request from its first decision to the last byte of its answer. Never throws. */
export async function exchange(inbound: Inbound, lane: Lane, ports: ExchangePorts): Promise<void> {
  const { connection, upstream } = lane;
  const tally = createTally(ports.account);
  const note = { ...connection.target, method: inbound.method.slice(0, 32) };
  const refuse = (denial: EgressDenial): void => {
    tally.start({ ...note, decision: "Deny", rule: denial.refusal });
    ports.account.refused?.(denial.message);
    tally.end();
    inbound.refuse(denial);
  };
  const admission = await admitRequest(inbound, lane, ports);
  if (isDenial(admission)) { refuse(admission); return; }
  const { grant, injected, mask } = admission;
  inbound.proceed();
  const answer = await upstream.send({
    method: inbound.method,
    path: inbound.path,
    headers: injectHeaders(requestHeaders(inbound.headers, mask !== undefined), injected),
    secretHeaders: injected.map(({ header }) => header.toLowerCase()),
    entries: grant.entries,
    body: inbound.body === undefined ? undefined : metered(inbound.body, tally.sent),
    signal: inbound.signal,
  });
  const [credential] = injected;
  const allow = { ...note, decision: "Allow" as const, rule: grant.rule, ...(credential === undefined ? {} : { credential: credential.name }) };
  // Who hangs up early was allowed all the same, and what it sent by then counts.
  if (isDenial(answer) && inbound.signal.aborted) tally.start(allow);
  if (isDenial(answer)) { refuse(answer); return; }
  const failure = answerProgram(inbound, connection, { answer, mask, received: tally.received, end: tally.end });
  if (failure !== undefined) { refuse(failure); return; }
  tally.start(allow);
}

/** The decision on a request, with everything that has to be read for it. */
export async function admitRequest(inbound: Pick<Inbound, "method" | "path" | "authorities">, { connection, isPlain }: Omit<Lane, "upstream">, { policy, credentials, values }: Omit<ExchangePorts, "account">): Promise<Admission | EgressDenial> {
  const { target } = connection;
  const { method, path } = inbound;
  const malformed = checkForm(inbound, connection);
  if (malformed !== undefined) return malformed;
  const grant = decideRequest(policy, connection, { method, path });
  if (isDenial(grant)) return grant;
  if (!hasCredential(credentials, target.host)) return { grant, injected: [], mask: undefined };
  // In plain HTTP everybody on the way could read it, and the program chooses what it speaks.
  const matched = isPlain ? [] : matchCredentials(credentials, target.host, { method, path });
  const injected: InjectedHeader[] = [];
  // Also those that this request does not get: another one may have left them with the host, before this process started.
  for (const credential of credentials.filter((one) => hasCredential([one], target.host))) {
    const read = await values.read(credential);
    if (!matched.includes(credential)) continue;
    if ("problem" in read) return buildDenial("CredentialMissing", `Paddock did not send the request to ${whereOf(target)}. ${read.problem}`);
    injected.push(injectedHeader(credential, read.value));
  }
  return { grant, injected, mask: maskTableOf(values.known()) };
}

/** Form and host of a request. Pure. */
function checkForm({ method, path, authorities }: Pick<Inbound, "method" | "path" | "authorities">, { target }: Pick<EgressConnection, "target">): EgressDenial | undefined {
  if (!/^[A-Z][A-Z-]{0,31}$/.test(method) || method === "CONNECT") return buildDenial("Malformed", `Paddock refused a request to ${whereOf(target)}: ${quote(method)} is no method that goes through it.`);
  if (!/^\/[!-~]*$/.test(path)) return buildDenial("Malformed", `Paddock refused a request to ${whereOf(target)}: its target must be a path that starts with /, and is ${quote(path)}.`);
  const other = authorities.find((authority) => {
    const named = parseAuthority(authority, target.port);
    return named?.host !== target.host || named.port !== target.port;
  });
  if (authorities.length > 0 && other === undefined) return undefined;
  return buildDenial("NameMismatch", `Paddock refused a request over the connection to ${whereOf(target)}: it is for ${other === undefined ? "no host" : quote(other)}. Open a connection to the host that the request is for.`);
}

/** A program's own header of the same name goes. Pure. */
export function injectHeaders(headers: OutgoingHttpHeaders, injected: readonly InjectedHeader[]): OutgoingHttpHeaders {
  const names = new Set(injected.map(({ header }) => header.toLowerCase()));
  const kept = Object.entries(headers).filter(([name]) => !names.has(name.toLowerCase()));
  return Object.fromEntries([...kept, ...injected.map(({ header, value }) => [header.toLowerCase(), value] as const)]);
}

const tables = new WeakMap<ReadonlySet<string>, { readonly size: number; readonly table: MaskTable }>();

/** Made anew only when a value has been added. */
function maskTableOf(values: ReadonlySet<string>): MaskTable {
  const made = tables.get(values);
  if (made?.size === values.size) return made.table;
  const table = createMaskTable(values);
  tables.set(values, { size: values.size, table });
  return table;
}

interface Carried {
  readonly answer: UpstreamAnswer;
  readonly mask: MaskTable | undefined;
  readonly received: (bytes: number) => void;
  readonly end: () => void;
}

/** Sends the answer on; why it cannot be, while nothing of it was sent. */
function answerProgram(inbound: Inbound, { target }: EgressConnection, { answer, mask, received, end }: Carried): EgressDenial | undefined {
  const hasBody = inbound.method !== "HEAD" && answer.status !== 204 && answer.status !== 304;
  const decoders = mask === undefined || !hasBody ? [] : decodeStreams(answer.headers["content-encoding"]);
  const giveUp = (why: string): EgressDenial => {
    answer.body.destroy();
    return unreachable(target, why);
  };
  if (decoders === undefined) return giveUp("its answer is encoded in a way that the proxy cannot read, and answers of hosts with a credential are read");
  const headers = maskHeaders(decoders.length === 0 ? answer.headers : decodedHeaders(answer.headers), mask);
  let sink: Writable | undefined;
  try {
    sink = inbound.answer(answer.status, headers, () => maskHeaders(answer.trailers(), mask));
  } catch {
    return giveUp("its answer has headers that cannot be sent on");
  }
  if (sink === undefined) {
    answer.body.resume();
    end();
    return undefined;
  }
  const steps = mask === undefined ? [] : [...decoders, maskStream(mask)];
  pipeline([answer.body, ...steps, meter(received), sink], end);
  return undefined;
}

function decodedHeaders({ "content-encoding": _encoding, "content-length": _length, ...rest }: IncomingHttpHeaders): IncomingHttpHeaders {
  return rest;
}

function maskHeaders(headers: IncomingHttpHeaders, mask: MaskTable | undefined): OutgoingHttpHeaders {
  const kept = answerHeaders(headers);
  return mask === undefined ? kept : mapHeaders(kept, mask.text);
}

/** What the host does not take any more must not end the program's connection; a program that is gone is told by its signal. */
function metered(body: Readable, count: (bytes: number) => void): Readable {
  body.on("error", () => undefined);
  return body.pipe(meter(count));
}

/** Lets bytes through and counts them. */
export function meter(count: (bytes: number) => void): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      count(chunk.length);
      done(null, chunk);
    },
  });
}

/** Long answers are told while they last. */
const TELL_BYTES = 1_048_576;

interface Tally {
  readonly start: (note: Parameters<EgressAccount["note"]>[0]) => void;
  readonly sent: (bytes: number) => void;
  readonly received: (bytes: number) => void;
  readonly end: () => void;
}

/** Counts bytes from the start, and tells them once the decision is known. */
export function createTally(account: EgressAccount): Tally {
  let add: ((sent: number, received: number) => void) | undefined;
  let sent = 0;
  let received = 0;
  let isOver = false;
  const tell = (): void => {
    if (add === undefined || sent + received === 0) return;
    add(sent, received);
    sent = 0;
    received = 0;
  };
  const count = (): void => {
    if (isOver || sent + received >= TELL_BYTES) tell();
  };
  return {
    start(note) {
      if (add !== undefined) return;
      add = account.note(note);
      count();
    },
    sent(bytes) {
      sent += bytes;
      count();
    },
    received(bytes) {
      received += bytes;
      count();
    },
    end() {
      isOver = true;
      tell();
    },
  };
}
