import { Agent } from "node:http";
import type { ServerHttp2Session } from "node:http2";
import { parseSandboxResult } from "@paddock/api/wire/sandbox";
import type { BindReply, BindRequest, IsolationReport, ProbeTarget, SandboxCall, SandboxFiles, SandboxResult } from "@paddock/api/wire/sandbox";
import { parseProblem, problemTypeOf } from "@paddock/api/wire/problem";
import { delayMsOf } from "@paddock/api/backoff";
import { messageOf } from "../fault.ts";
import { pause } from "../signal.ts";
import { parseBindReply } from "./bind.ts";
import { sendToSandbox, upgradeToEgress } from "./http.ts";
import type { SandboxAddress, SandboxAnswer } from "./http.ts";
import { serveReversed } from "./reversed.ts";
import type { PingTimes } from "./reversed.ts";

/** How long a pod that has an address may take until its tool server answers. */
const CONNECT_MS = 30_000;
/** The first bind is answered after the probe (3 s), a later one when the earlier runner's processes have ended. */
const BIND_MS = 10_000;
const UPGRADE_MS = 5000;
const FILES_MS = 15_000;
/** Characters of what a sandbox says about a refusal. */
const MOST_SAID = 500;
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
  /** What the sandbox reached before its first bind; undefined when its tool server does not tell. */
  readonly isolation: IsolationReport | undefined;
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
  /** The session's own, for a sandbox that is new. */
  readonly files: SandboxFiles["files"];
  /** Whether the workspace may hold what an earlier sandbox of the session has left in it. */
  readonly keepExisting: boolean;
}

/** What is left out has its usual value. */
export interface LinkTimes {
  /** For the whole of connecting; 30 s. */
  readonly connectMs?: number;
  /** Beyond a call's own limit; 15 s. */
  readonly callGraceMs?: number;
  readonly pings?: PingTimes;
}

export interface LinkPorts extends LinkTimes {
  readonly random: () => number;
  /** What a new sandbox must not reach. */
  readonly probe: () => Promise<readonly ProbeTarget[]>;
  /** PEM of the authorities that its programs are to trust, as they are now. */
  readonly trust: () => Promise<string>;
  /** Serves what programs send to their proxy. */
  readonly serve: (session: ServerHttp2Session) => void;
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
      const { isolation } = await bind(address, { session: target.session, probe: await ports.probe(), trust: await ports.trust() }, signal);
      await placeFiles(address, target, signal);
      const { socket, head } = await upgradeToEgress(address, UPGRADE_MS, signal);
      const channel = serveReversed(socket, head, ports.pings);
      ports.serve(channel);
      return linkOver(address, channel, { isolation, callGraceMs: ports.callGraceMs ?? CALL_GRACE_MS });
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

async function bind(address: SandboxAddress, request: BindRequest, signal: AbortSignal): Promise<BindReply> {
  const { status, body } = await sendToSandbox(address, { method: "PUT", path: "/v1/bind", body: request, timeoutMs: BIND_MS, signal });
  // A refusal is a decision; anything else may be a server that is not ready.
  if (status === 401 || status === 403) throw new LinkLost(detailOf(body, status));
  if (status !== 200) throw new Error(detailOf(body, status));
  const reply = parseBindReply(body);
  if (reply === undefined) throw new LinkLost("what it answered is no reply of a tool server of this release");
  return reply;
}

/** Before any call can run; a sandbox that has them already keeps what calls have made of them. */
async function placeFiles(address: SandboxAddress, { files, keepExisting }: LinkTarget, signal: AbortSignal): Promise<void> {
  if (files.length === 0) return;
  const given: SandboxFiles = { files, ...(keepExisting ? { keepExisting } : {}) };
  const { status, body } = await sendToSandbox(address, { method: "PUT", path: "/v1/files", body: given, timeoutMs: FILES_MS, signal });
  if (status !== 200) throw new LinkLost(`it does not take the session's files (spec.files): ${detailOf(body, status)}`);
}

interface Bound {
  readonly isolation: IsolationReport | undefined;
  readonly callGraceMs: number;
}

function linkOver(address: SandboxAddress, session: ServerHttp2Session, { isolation, callGraceMs }: Bound): Link {
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
  // It may have ended before anybody listened.
  if (session.destroyed) close("the connection to the sandbox broke");
  return {
    closed,
    close,
    isolation,
    async call(call, signal) {
      const timeoutMs = call.timeoutSeconds * 1000 + callGraceMs;
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
  const said = parseProblem(body)?.detail;
  return said === undefined ? `it answered ${status}` : readable(said.slice(0, MOST_SAID));
}

/** Text of a sandbox for people's terminals: what would move their cursor or turn their text round is shown as an escape. */
function readable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (one) => (one === "\n" ? " " : `\\u{${one.codePointAt(0)?.toString(16) ?? ""}}`));
}
