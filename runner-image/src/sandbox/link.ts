import { Agent } from "node:http";
import type { ServerHttp2Session } from "node:http2";
import type { Logger } from "pino";
import { parseSandboxResult } from "@paddock/api/wire/sandbox";
import type { SandboxCall, SandboxFiles, SandboxResult } from "@paddock/api/wire/sandbox";
import { parseProblem, problemTypeOf } from "@paddock/api/wire/problem";
import { delayMsOf } from "@paddock/api/backoff";
import { serveEgress } from "../egress/proxy.ts";
import { messageOf } from "../fault.ts";
import { pause } from "../signal.ts";
import { sendToSandbox, upgradeToEgress } from "./http.ts";
import type { SandboxAddress, SandboxAnswer } from "./http.ts";
import { serveReversed } from "./reversed.ts";
import type { PingTimes } from "./reversed.ts";

/** How long a pod that has an address may take until its tool server answers. */
const CONNECT_MS = 30_000;
const BIND_MS = 5000;
const FILES_MS = 15_000;
const BACKOFF = { firstMs: 25, mostMs: 1000 } as const;

/** Beyond the call's own limit: time to stop its processes and to send what they printed. */
const CALL_GRACE_MS = 15_000;

/** The sandbox cannot be used any more from here: whether what it was running has ended is not known. */
export class LinkLost extends Error {
  override readonly name = "LinkLost";
}

/** The tool server refused a call as such; nothing was run. */
export class CallRefused extends Error {
  override readonly name = "CallRefused";
}

/** A bound sandbox with its egress channel open. */
export interface Link {
  /** Runs a call to its end. Rejects with LinkLost, CallRefused, or the signal's reason; aborting kills the call's processes. */
  call(call: SandboxCall, signal: AbortSignal): Promise<SandboxResult>;
  /** Resolves with the reason when the sandbox is lost from here or `close` was called. */
  readonly closed: Promise<string>;
  close(reason: string): void;
}

export interface LinkTarget {
  readonly host: string;
  readonly port: number;
  readonly bindKey: string;
  readonly epoch: number;
  readonly session: string;
  readonly environment: string;
  /** The session's own, for a sandbox that is new. */
  readonly files: SandboxFiles["files"];
}

/** What is left out has its usual value. */
export interface LinkTimes {
  /** For the whole of connecting; 30 s. */
  readonly connectMs?: number;
  readonly pings?: PingTimes;
}

export interface LinkPorts extends LinkTimes {
  readonly logger: Logger;
  readonly random: () => number;
}

/**
 * Binds a sandbox, puts the session's files into it when it is new, and opens the egress channel; again and again while its tool server starts.
 * Rejects with LinkLost when that takes longer than 30 s, the sandbox belongs to somebody else or does not take the files, with the signal's
 * reason when it aborts.
 */
export async function openLink(target: LinkTarget, ports: LinkPorts, signal: AbortSignal): Promise<Link> {
  const agent = new Agent({ keepAlive: true });
  const address: SandboxAddress = { ...target, agent };
  const until = performance.now() + (ports.connectMs ?? CONNECT_MS);
  for (let retry = 0; ; retry += 1) {
    signal.throwIfAborted();
    try {
      await bind(address, target.session, signal);
      await placeFiles(address, target.files, signal);
      return await openChannel(address, { target, ports, signal });
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof LinkLost || performance.now() > until) {
        agent.destroy();
        throw new LinkLost(`the sandbox at ${target.host} could not be bound: ${messageOf(error)}`);
      }
    }
    await pause(delayMsOf(BACKOFF, retry, ports.random), signal);
  }
}

async function bind(address: SandboxAddress, session: string, signal: AbortSignal): Promise<void> {
  const { status, body } = await sendToSandbox(address, { method: "PUT", path: "/v1/bind", body: { session }, timeoutMs: BIND_MS, signal });
  if (status === 200) return;
  // A refusal is a decision; anything else may be a server that is not ready.
  if (status === 401 || status === 403) throw new LinkLost(detailOf(body, status));
  throw new Error(detailOf(body, status));
}

/** Before any call can run; a sandbox that has them already keeps what calls have made of them. */
async function placeFiles(address: SandboxAddress, files: SandboxFiles["files"], signal: AbortSignal): Promise<void> {
  if (files.length === 0) return;
  const { status, body } = await sendToSandbox(address, { method: "PUT", path: "/v1/files", body: { files } satisfies SandboxFiles, timeoutMs: FILES_MS, signal });
  if (status !== 200) throw new LinkLost(`it does not take the session's files (spec.files): ${detailOf(body, status)}`);
}

interface Opening {
  readonly target: LinkTarget;
  readonly ports: LinkPorts;
  readonly signal: AbortSignal;
}

async function openChannel(address: SandboxAddress, { target, ports, signal }: Opening): Promise<Link> {
  const { socket, head } = await upgradeToEgress(address, BIND_MS, signal);
  const session = serveReversed(socket, head, ports.pings);
  serveEgress(session, target.environment, ports.logger);
  return linkOver(address, session);
}

function linkOver(address: SandboxAddress, session: ServerHttp2Session): Link {
  const { promise: closed, resolve } = Promise.withResolvers<string>();
  const broken = new AbortController();
  const close = (reason: string): void => {
    resolve(reason);
    broken.abort(new LinkLost(reason));
    session.destroy();
    address.agent.destroy();
  };
  // The channel lives as long as the sandbox: its end is the end of the link.
  session.once("close", () => close("the connection to the sandbox broke"));
  return {
    closed,
    close,
    async call(call, signal) {
      const timeoutMs = call.timeoutSeconds * 1000 + CALL_GRACE_MS;
      try {
        const answer = await sendToSandbox(address, { method: "POST", path: "/v1/calls", body: call, timeoutMs, signal: AbortSignal.any([signal, broken.signal]) });
        return resultOf(answer);
      } catch (error) {
        if (error instanceof CallRefused) throw error;
        signal.throwIfAborted();
        // One call without an answer: nothing tells the others apart from it.
        close(messageOf(error));
        throw new LinkLost(messageOf(error));
      }
    },
  };
}

function resultOf({ status, body }: SandboxAnswer): SandboxResult {
  if (status === 200) {
    const result = parseSandboxResult(body);
    if (result !== undefined) return result;
    throw new LinkLost("the sandbox sent something that is no result");
  }
  const problem = parseProblem(body);
  const type = problem === undefined ? undefined : problemTypeOf(problem);
  if (type === "malformed" || type === "too-large" || type === "not-found") throw new CallRefused(detailOf(body, status));
  throw new LinkLost(`the sandbox refused the call: ${detailOf(body, status)}`);
}

function detailOf(body: unknown, status: number): string {
  return parseProblem(body)?.detail.slice(0, 500) ?? `it answered ${status}`;
}
