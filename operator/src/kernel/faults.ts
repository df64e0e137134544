import type { Fault } from "./kind.ts";

// What becomes of a key after a fault:
//
//   retry: true    the queue's back-off, from 50 ms doubling to a minute: lost races, outages, full quotas, errors of our own.
//   retry: false   looked at again after the time below unless something wakes the key before. It is no longer than what the plan itself asks for.
//
// What people cure in an object that is watched wakes the key by itself, so looking again is a net with wide meshes. Access rights and ConfigMaps are
// not watched: whoever has just put one right should not have to wait, and looking costs reads only. Never a back-off: the tenth look finds the same
// as the first, and a minute would have been lost when it does not.
const AGAIN_MS: Partial<Readonly<Record<Fault["kind"], number>>> = {
  "missing-reference": 5_000,
  "access-denied": 5_000,
  // The lease is won back or not: then every key is woken. This is for the moment between a late renewal and the next.
  "not-leader": 1_000,
};

/** Knows the errors of one outside system; undefined for all others. */
export type Classifier = (error: unknown) => Fault | undefined;

/** How long until a fault that only people can cure is looked at again without being woken. */
export const SLOW_RETRY_MS = 300_000;

/** Milliseconds until a key is looked at again after a fault that the queue does not back off from; up to a quarter longer, so that keys of one cause spread. `random` in [0, 1). Pure. */
export function againAfterMs({ kind }: Pick<Fault, "kind">, random: number): number {
  return (AGAIN_MS[kind] ?? SLOW_RETRY_MS) * (1 + random / 4);
}

/** Joins classifiers, first match wins; what none of them knows is an error of our own program. */
export function classifyWith(...classifiers: readonly Classifier[]): (error: unknown) => Fault {
  return (error) => {
    for (const classifier of classifiers) {
      const fault = classifier(error);
      if (fault !== undefined) return fault;
    }
    return { kind: "programming", message: messageOf(error), retry: true, cause: error };
  };
}

/** The text of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
