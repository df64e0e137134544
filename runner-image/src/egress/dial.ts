import { lookup } from "node:dns/promises";
import { connect, isIP } from "node:net";
import type { Socket } from "node:net";
import { decideAddress, buildDenial, whereOf } from "./decision.ts";
import type { Dial, EgressDenial, EgressTarget } from "./policy.ts";
import { isServiceName } from "./rules.ts";
import type { EgressPolicy } from "./rules.ts";

/** Every address of a name, in the order in which they are tried. Rejects when there is none. */
export type Resolve = (host: string) => Promise<readonly string[]>;

export interface DialPorts {
  readonly policy: EgressPolicy;
  /** Absent: the system's resolver. */
  readonly resolve?: Resolve;
  /** For the name, and for each address; 10 s. */
  readonly connectMs?: number;
  /** Absent: decideAddress. Tests pass their own, because loopback is never dialled. */
  readonly isAddressAllowed?: typeof decideAddress;
}

const CONNECT_MS = 10_000;
/** All addresses of a name together may take as long as so many of them. */
const TRIES = 3;
/** The resolver works on Node's four threads, and files are read there too. */
const LOOKUPS_AT_ONCE = 3;

/** A connection attempt that failed, as the second half of a sentence about the address. */
interface Miss {
  readonly what: string;
  readonly isLate: boolean;
}

/** Makes the one function that opens connections: it resolves a name once, and connects to no address but those that it has checked. */
export function createDial({ policy, resolve = resolveBySystem, connectMs = CONNECT_MS, isAddressAllowed = decideAddress }: DialPorts): Dial {
  const find = limited(resolve, LOOKUPS_AT_ONCE);
  return async (target, entries, signal) => {
    const { host } = target;
    if (signal.aborted) return stopped(target);
    const found = await settle((over) => find(host, over), connectMs, signal);
    if (signal.aborted) return stopped(target);
    if (found === "late") return { ...refuseName(target, `did not answer within ${connectMs / 1000} s`, policy), status: 504 };
    if (found === "failed") return refuseName(target, "does not know the name", policy);
    const allowed = found.filter((address) => isIP(address) !== 0 && isAddressAllowed(policy, entries, host, address));
    if (allowed.length === 0) return refuseAddresses(policy, { target, entries, found });
    return connectToFirst(allowed, { target, connectMs, signal });
  };
}

interface Attempt {
  readonly target: EgressTarget;
  readonly connectMs: number;
  readonly signal: AbortSignal;
}

async function connectToFirst(addresses: readonly string[], { target, connectMs, signal }: Attempt): Promise<Socket | EgressDenial> {
  const until = performance.now() + TRIES * connectMs;
  const misses: string[] = [];
  let isLate = false;
  for (const address of addresses) {
    const leftMs = Math.min(connectMs, until - performance.now());
    if (leftMs <= 0 || misses.length >= 16) break;
    const reached = await connectTo(address, { target, connectMs: leftMs, signal });
    if (!("what" in reached)) return reached;
    if (signal.aborted) return stopped(target);
    misses.push(`${address} ${reached.what}`);
    isLate = reached.isLate;
  }
  const denial = buildDenial("Unreachable", `Paddock could not reach ${whereOf(target)}: ${misses.slice(0, 4).join(", ")}.`);
  return isLate ? { ...denial, status: 504 } : denial;
}

/** One attempt at one address, which is never resolved again. */
function connectTo(address: string, { target, connectMs, signal }: Attempt): Promise<Socket | Miss> {
  return new Promise((done) => {
    const socket = connect({ host: address, port: target.port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 });
    const timer = setTimeout(() => { miss({ what: `did not answer within ${Math.ceil(connectMs / 1000)} s`, isLate: true }); }, connectMs);
    const settled = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
    };
    const miss = (why: Miss): void => {
      settled();
      socket.destroy();
      done(why);
    };
    const abort = (): void => { miss({ what: "was not waited for", isLate: false }); };
    signal.addEventListener("abort", abort, { once: true });
    // For good: who takes the socket over adds listeners later.
    socket.on("error", (error: NodeJS.ErrnoException) => { miss({ what: describe(error.code), isLate: error.code === "ETIMEDOUT" }); });
    socket.once("connect", () => {
      settled();
      done(socket);
    });
  });
}

function describe(code: string | undefined): string {
  if (code === "ECONNREFUSED") return "refused the connection";
  if (code === "ETIMEDOUT") return "did not answer";
  if (code === "EHOSTUNREACH" || code === "ENETUNREACH" || code === "EADDRNOTAVAIL") return "has no route from here";
  return `could not be connected to (${code ?? "unknown"})`;
}

/**
 * A name as the pod's resolver is asked for it. With a final dot no search domain is tried: `api.example.com` must not become a pod's name in a
 * namespace `com`. A Service's name needs the cluster's own domain. Pure.
 */
export function lookupNameOf(host: string): string {
  return isServiceName(host) ? host : `${host}.`;
}

async function resolveBySystem(host: string): Promise<readonly string[]> {
  const found = await lookup(lookupNameOf(host), { all: true, order: "verbatim" });
  return [...new Set(found.map(({ address }) => address))];
}

/** The same function, for so many at once. The others wait; who gives up waiting is never looked up. */
function limited(resolve: Resolve, most: number): (host: string, signal: AbortSignal) => Promise<readonly string[]> {
  const waiting = new Set<() => void>();
  let running = 0;
  const turn = (signal: AbortSignal): Promise<void> =>
    new Promise((go) => {
      const goOn = (): void => {
        waiting.delete(goOn);
        go();
      };
      waiting.add(goOn);
      signal.addEventListener("abort", () => waiting.delete(goOn), { once: true });
    });
  return async (host, signal) => {
    if (running >= most) await turn(signal);
    else running++;
    try {
      return await resolve(host);
    } finally {
      // Whose turn is next inherits the place.
      const [next] = waiting;
      if (next === undefined) running--;
      else next();
    }
  };
}

/** What is started brings, within a time, while nobody aborts; never rejects. It learns by its signal that nobody waits any more. */
function settle(start: (signal: AbortSignal) => Promise<readonly string[]>, ms: number, signal: AbortSignal): Promise<readonly string[] | "failed" | "late"> {
  return new Promise((done) => {
    const over = new AbortController();
    const end = (value: readonly string[] | "failed" | "late"): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", fail);
      over.abort();
      done(value);
    };
    const fail = (): void => { end("failed"); };
    const timer = setTimeout(() => { end("late"); }, ms);
    signal.addEventListener("abort", fail, { once: true });
    start(over.signal).then(end, fail);
  });
}

function stopped(target: EgressTarget): EgressDenial {
  return buildDenial("Stopped", `Paddock ended the connection to ${whereOf(target)}: the session was stopped.`);
}

function refuseName(target: EgressTarget, what: string, { environment }: EgressPolicy): EgressDenial {
  return buildDenial("Unresolved", `Paddock could not reach ${whereOf(target)}: Environment ${environment} allows it, and the cluster's DNS ${what}.`);
}

interface Refused {
  readonly target: EgressTarget;
  readonly entries: readonly number[];
  readonly found: readonly string[];
}

function refuseAddresses({ environment, entries: all }: EgressPolicy, { target, entries, found }: Refused): EgressDenial {
  const name = all[entries[0] ?? 0]?.name ?? "network.allowedHosts";
  const shown = found.slice(0, 4).join(", ");
  return buildDenial(
    "AddressNotAllowed",
    `Paddock refused ${whereOf(target)}: the name stands for ${shown}, which is no public address. To allow an address of a private network, add its range to spec.${name}.addresses of Environment ${environment} (its owner: the platform team); loopback, link-local and metadata addresses are dialled for nobody.`,
  );
}
