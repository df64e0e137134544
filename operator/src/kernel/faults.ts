import type { Fault } from "./kind.ts";

/** Knows the errors of one outside system; undefined for all others. */
export type Classifier = (error: unknown) => Fault | undefined;

/** How long until a fault that only people can cure is looked at again without being woken. */
export const SLOW_RETRY_MS = 300_000;

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
