import { constants } from "node:http2";
import type { IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import type { Logger } from "pino";
import { decideConnection, isDenial } from "./decision.ts";
import type { Dial, EgressAccount, EgressGate, EgressInspector } from "./policy.ts";
import type { EgressPolicy } from "./rules.ts";
import { parseTarget } from "./rules-target.ts";

/** What is left out has its usual value. */
export interface EgressLimits {
  /** Streams of a session at once; 256, as many as the sandbox's forwarder carries. */
  readonly streams?: number;
  /** Until the first bytes after CONNECT say what is spoken; 10 s. */
  readonly helloMs?: number;
  /** A tunnel in which no byte moves is ended; 15 min. */
  readonly idleMs?: number;
}

/** One for all channels of a session: the runner makes them once, and each channel to a sandbox is served with them. */
export interface EgressPorts {
  /** `readPolicy(environment, privateRanges)`. */
  readonly policy: EgressPolicy;
  /** `createDial({ policy })`. */
  readonly dial: Dial;
  readonly inspector: EgressInspector;
  readonly account: EgressAccount;
  readonly gate: EgressGate;
  readonly logger: Logger;
  readonly limits?: EgressLimits;
}

/** Answers what programs in the sandbox send to their proxy, on the session that the sandbox opened over the turned connection. Never throws. */
export function serveEgress(session: ServerHttp2Session, ports: EgressPorts): void {
  // A peer that is killed breaks its streams; without a listener each of them would end this process.
  session.on("stream", (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    stream.on("error", () => undefined);
    if (stream.destroyed) return;
    const target = parseTarget(headers);
    const decided = isDenial(target) ? target : decideConnection(ports.policy, target);
    if (!isDenial(decided)) return;
    stream.respond({ ":status": decided.status, "content-type": "text/plain; charset=utf-8" });
    stream.end(`${decided.message}\n`);
    // Nothing of the request's body is wanted.
    stream.once("finish", () => stream.close(constants.NGHTTP2_NO_ERROR));
  });
}
