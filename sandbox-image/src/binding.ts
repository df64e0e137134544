import { createHash, timingSafeEqual } from "node:crypto";
import type { Refusal } from "./problem.ts";

/** Who a request says it is from. */
export interface Caller {
  readonly key: string;
  readonly epoch: number;
}

/**
 * Who the sandbox serves. Not bound → (bind) → bound for the pod's life to one key and one session; the epoch only grows.
 * Keys are compared by digest in constant time, and only digests are kept.
 */
export interface Binding {
  /** Binds, or says why not. A refused caller changes nothing. */
  bind(caller: Caller, session: string): { readonly takeover: boolean } | Refusal;
  /** Undefined when the caller is the bound runner of the newest epoch. */
  refusalOf(caller: Caller): Refusal | undefined;
}

export function createBinding(): Binding {
  let bound: { readonly key: Buffer; readonly session: string; readonly epoch: number } | undefined;

  function refusalOf({ key, epoch }: Caller): Refusal | undefined {
    if (bound === undefined) return { type: "unauthenticated", detail: "nothing is bound yet: PUT /v1/bind comes first" };
    if (!timingSafeEqual(bound.key, digestOf(key))) return { type: "unauthenticated", detail: "the bind key is not the one that this sandbox is bound to" };
    if (epoch === bound.epoch) return undefined;
    const way = epoch < bound.epoch ? "a newer runner has taken over" : "bind with it first";
    return { type: "fenced", detail: `epoch ${epoch} is not the bound one, ${bound.epoch}: ${way}` };
  }

  function bind(caller: Caller, session: string): { readonly takeover: boolean } | Refusal {
    const key = digestOf(caller.key);
    if (bound === undefined) {
      bound = { key, session, epoch: caller.epoch };
      return { takeover: false };
    }
    if (!timingSafeEqual(bound.key, key)) return { type: "fenced", detail: "this sandbox is bound with another key: a sandbox serves one session in its life" };
    if (bound.session !== session) return { type: "fenced", detail: `this sandbox is bound to session ${bound.session}, not ${session}` };
    if (caller.epoch < bound.epoch) return refusalOf(caller) ?? { type: "fenced", detail: "a newer runner has taken over" };
    const takeover = caller.epoch > bound.epoch;
    bound = { ...bound, epoch: caller.epoch };
    return { takeover };
  }

  return { bind, refusalOf };
}

function digestOf(key: string): Buffer {
  return createHash("sha256").update(key).digest();
}
