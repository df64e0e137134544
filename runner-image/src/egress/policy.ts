import type { EgressRefusal } from "@paddock/api/egress";
import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";

// What the parts of the proxy agree on. decision.ts decides, purely; dial.ts resolves and connects; proxy.ts takes streams of the sandbox and
// carries them; terminate.ts ends TLS where the proxy has to see requests; exchange.ts carries one HTTP request; account.ts tells the log.

/** Where a program wants to go. `host` in lower case, without brackets and final dot. */
export interface EgressTarget {
  readonly host: string;
  readonly port: number;
}

/** Why not. `message`: one or two sentences for the program's user, with the host, the Environment and what to change. */
export interface EgressDenial {
  readonly refusal: EgressRefusal;
  /** Status of the answer, where one can still be given. */
  readonly status: number;
  readonly message: string;
}

/** A connection is allowed: carried as it is, or ended here, because requests have to be seen. `rule` names the entry, e.g. `network.allowedHosts[2]`. */
export interface EgressGrant {
  readonly kind: "Tunnel" | "Terminate";
  readonly rule: string;
  /** Every entry that covers host and port, by its place in the Environment: addresses and rules for requests are theirs. */
  readonly entries: readonly number[];
}

/** One request inside a connection, as far as rules look at it. */
export interface EgressRequest {
  readonly method: string;
  /** With query, as sent. */
  readonly path: string;
}

/** The header that a credential becomes. `name`: of the credential, for events. */
export interface InjectedHeader {
  readonly name: string;
  readonly header: string;
  readonly value: string;
}

/** One decision as it is counted. */
export interface EgressNote extends EgressTarget {
  readonly decision: "Allow" | "Deny";
  /** The entry that allows, or the EgressRefusal. */
  readonly rule: string;
  /** Where the proxy saw a request. */
  readonly method?: string;
  readonly credential?: string;
}

/** Counts what was decided and carried; the log learns it once a minute and at the end. */
export interface EgressAccount {
  /** Counts one decision; the returned function adds bytes to it, any number of times. */
  note(note: EgressNote): (sent: number, received: number) => void;
  /** Hears what a program is told that is refused: most programs show the status of an answer to CONNECT and not its text. */
  refused?(message: string): void;
}

/** Whether anything may leave now: no while the session is cancelled, suspended and idle, over, or its runner fenced. */
export interface EgressGate {
  readonly isOpen: () => boolean;
  /** Aborts when everything under way has to end at once. A new one after each time it opened again. */
  readonly signal: () => AbortSignal;
}

/** One connection of a program whose requests the proxy sees; `signal` ends it at once. */
export interface EgressConnection {
  readonly target: EgressTarget;
  readonly grant: EgressGrant;
  readonly signal: AbortSignal;
}

/** A request that may go: the entry that allows it, for the count, and every entry that does, for the addresses that may be dialled. */
export interface RequestGrant {
  readonly rule: string;
  readonly entries: readonly number[];
}

/** dial.ts: resolves once, checks, connects to the checked address within its time limit. Never throws; what it refuses or cannot reach is a value. */
export type Dial = (target: EgressTarget, entries: readonly number[], signal: AbortSignal) => Promise<Socket | EgressDenial>;

/** terminate.ts: takes over a connection whose requests have to be seen. Never throws; counts each request itself; ends the stream. */
export interface EgressInspector {
  /** TLS that a program speaks inside CONNECT: ended here with a certificate of the session's own authority. */
  terminate(duplex: Duplex, connection: EgressConnection): void;
  /** Plain HTTP/1.1 inside CONNECT, from its first byte. */
  serveHttp(duplex: Duplex, connection: EgressConnection): void;
  /** One absolute-form request, which the forwarder made a stream with these headers. */
  serveStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, connection: EgressConnection): void;
}
