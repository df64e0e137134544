import { isDeepStrictEqual } from "node:util";
import type { AdmissionObject } from "@paddock/api/admission/policy";
import { createStore } from "../cluster/store.ts";
import type { Feed } from "../kernel/manager.ts";
import type { Watcher } from "../observed.ts";
import { ADMISSION_KEY, type AdmissionView, admission } from "../sources.ts";
import { type Finding, reviewAdmission } from "./review.ts";

export interface AdmissionOptions {
  /** Every policy and binding of the release. */
  readonly wanted: readonly AdmissionObject[];
  /** What the API server holds under the name of one of them. May throw: then nothing is known, and what was known stays. */
  read(wanted: AdmissionObject): Promise<Finding>;
  /** Called with each failed look and how many there have been in a row. */
  onTrouble?(error: unknown, failures: number): void;
  /** Time between looks, in milliseconds. */
  readonly everyMs?: { readonly trusted: number; readonly otherwise: number };
}

/** The state of admission as one more observed source. */
export interface AdmissionSource {
  readonly feed: Feed<AdmissionView>;
  readonly watcher: Watcher;
}

// Our rights are get by name, which no watch goes with. A change is noticed within a minute; what is being installed, within two seconds.
const EVERY_MS = { trusted: 30_000, otherwise: 2_000 };

/** Looks at the policies from `start` to `stop`: often while something is wrong, else every 30 to 60 seconds. */
export function createAdmissionSource({ wanted, read, onTrouble = () => undefined, everyMs = EVERY_MS }: AdmissionOptions): AdmissionSource {
  const store = createStore<AdmissionView>({ keyOf: () => ADMISSION_KEY, indexes: {} });
  let timer: NodeJS.Timeout | undefined;
  let looking: Promise<void> = Promise.resolve();
  let isStopped = false;
  let failures = 0;
  let blindSince: number | undefined;

  const look = async (): Promise<number> => {
    try {
      const view = reviewAdmission(wanted, await Promise.all(wanted.map(read)));
      if (isStopped) return 0;
      failures = 0;
      blindSince = undefined;
      if (!isDeepStrictEqual(store.get(ADMISSION_KEY), view)) store.set(view);
      if (!store.isSynced()) store.markSynced();
      return view.trusted ? everyMs.trusted * (1 + Math.random()) : everyMs.otherwise;
    } catch (error) {
      failures += 1;
      blindSince ??= performance.now();
      onTrouble(error, failures);
      return everyMs.otherwise;
    }
  };
  const run = (): void => {
    looking = look().then((waitMs) => {
      if (!isStopped) timer = setTimeout(run, waitMs);
    });
  };

  return {
    feed: store,
    watcher: {
      source: admission,
      isRequired: true,
      start: run,
      stop: async () => {
        isStopped = true;
        clearTimeout(timer);
        await looking;
      },
      isSynced: store.isSynced,
      blindMs: () => (blindSince === undefined ? 0 : performance.now() - blindSince),
    },
  };
}
