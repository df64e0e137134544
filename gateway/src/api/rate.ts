import type { Caller } from "../auth/roles.ts";
import { ProblemError } from "./problem.ts";

/** How often a caller may ask: `burst` times at once, and `perSecond` times on and on. */
export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

export interface RateLimits {
  /** One person, by user name, whatever they ask. */
  readonly person: Rate;
  /** One runner pod, but for its deltas. */
  readonly runner: Rate;
  /** One runner pod's deltas. */
  readonly delta: Rate;
}

/** A person's page with 64 streams opens them all at once after a restart; a runner has one batch in flight, each durable before the next. */
export const RATES: RateLimits = { person: { perSecond: 20, burst: 200 }, runner: { perSecond: 1000, burst: 2000 }, delta: { perSecond: 50, burst: 200 } };

/** Callers remembered at most; the one that has not asked for longest is forgotten first. */
const KEPT_CALLERS = 10_000;

export interface RateLimiter {
  /** Takes one of the caller's turns; milliseconds until there is one when all are taken, else 0. */
  take(key: string): number;
  /** Callers remembered now. */
  size(): number;
}

/** A token bucket for each caller. `clock` tells milliseconds of any steady clock. */
export function createRateLimiter({ perSecond, burst }: Rate, clock: () => number, kept = KEPT_CALLERS): RateLimiter {
  const buckets = new Map<string, { readonly tokens: number; readonly at: number }>();
  const perMs = perSecond / 1000;
  const tokensNow = (key: string, now: number): number => {
    const bucket = buckets.get(key);
    return bucket === undefined ? burst : Math.min(burst, bucket.tokens + (now - bucket.at) * perMs);
  };
  return {
    take: (key) => {
      const now = clock();
      const tokens = tokensNow(key, now);
      const isFree = tokens >= 1;
      // Put at the end: the first is the one that has not asked for longest.
      buckets.delete(key);
      buckets.set(key, { tokens: isFree ? tokens - 1 : tokens, at: now });
      const [oldest] = buckets.keys();
      if (buckets.size > kept && oldest !== undefined) buckets.delete(oldest);
      return isFree ? 0 : (1 - tokens) / perMs;
    },
    size: () => buckets.size,
  };
}

/** Throws ProblemError when the caller asks too often. The operator may ask as often as it likes: it alone decides how often it does. */
export type Gate = (caller: Caller, path: string) => void;

export interface GatePorts {
  /** Milliseconds of any steady clock. */
  clock(): number;
  /** Told of each refusal. */
  count(audience: "person" | "runner"): void;
}

export function createGate(limits: RateLimits, { clock, count }: GatePorts): Gate {
  const people = createRateLimiter(limits.person, clock);
  const runners = createRateLimiter(limits.runner, clock);
  const deltas = createRateLimiter(limits.delta, clock);
  const refuse = (audience: "person" | "runner", { waitMs, ...refusal }: Refusal): void => {
    if (waitMs <= 0) return;
    count(audience);
    throw refusalOf(waitMs, refusal);
  };
  return (caller, path) => {
    if (caller.role === "person") {
      const { username } = caller.identity;
      const advice = "follow a session's event stream instead of asking for pages again and again";
      refuse("person", { waitMs: people.take(username), who: username.slice(0, 256), rate: limits.person, advice });
    } else if (caller.role === "runner") {
      const who = `pod ${caller.podUid}`;
      if (path.endsWith("/deltas")) refuse("runner", { waitMs: deltas.take(caller.podUid), who, rate: limits.delta, advice: "send more text in each delta, or drop it" });
      else refuse("runner", { waitMs: runners.take(caller.podUid), who, rate: limits.runner, advice: "append several events in one batch" });
    }
  };
}

interface Refusal {
  readonly waitMs: number;
  readonly who: string;
  readonly rate: Rate;
  readonly advice: string;
}

function refusalOf(waitMs: number, { who, rate, advice }: Omit<Refusal, "waitMs">): ProblemError {
  const seconds = Math.max(1, Math.ceil(waitMs / 1000));
  const detail = `${who} asks more than ${rate.perSecond} times a second, ${rate.burst} at once: ask again in ${seconds} s; ${advice}`;
  return new ProblemError("too-many", detail, { refusal: "wait", retryAfterMs: waitMs });
}
