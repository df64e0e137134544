import { LABELS, MANAGED_BY } from "@paddock/api/names";
import type { LeaseClaim, LeaseRecord, LeaseStore } from "../kernel/leader.ts";
import { ApiError, isStatus } from "./errors.ts";
import type { ApiClient } from "./http.ts";

/** `coordination.k8s.io/v1` Lease, as far as an election uses it. */
export interface Lease {
  readonly metadata: { readonly resourceVersion: string };
  readonly spec?: {
    readonly holderIdentity?: string;
    readonly leaseDurationSeconds?: number;
    readonly acquireTime?: string;
    readonly renewTime?: string;
    readonly leaseTransitions?: number;
  };
}

export const LEASE_NAME = "paddock-operator";

const BASE = "/apis/coordination.k8s.io/v1";
// Of who wrote no duration, or a wrong one.
const DEFAULT_SECONDS = 15;
const WATCH_SECONDS = 300;

/** The lease of the operator in `namespace`. `client` should serve nothing else: a renewal must not wait behind other requests. */
export function createLeaseStore(client: ApiClient, namespace: string): LeaseStore {
  const collection = `${BASE}/namespaces/${encodeURIComponent(namespace)}/leases`;
  const path = `${collection}/${LEASE_NAME}`;
  return {
    read: async () => {
      try {
        return recordOf((await client.request({ verb: "get", resource: "leases", method: "GET", path, priority: "dispatch" })) as Lease);
      } catch (error) {
        if (isStatus(error, 404)) return undefined;
        throw error;
      }
    },
    write: async (claim, over) => {
      const body = buildLease(claim, { over, namespace, now: new Date() });
      const how = over === undefined ? ({ verb: "create", method: "POST", path: collection } as const) : ({ verb: "update", method: "PUT", path } as const);
      try {
        return recordOf((await client.request({ ...how, resource: "leases", body, priority: "dispatch" })) as Lease);
      } catch (error) {
        // Made, changed or deleted by somebody else since it was read.
        if (error instanceof ApiError && (error.reason === "AlreadyExists" || error.status === 409 || (error.status === 404 && over !== undefined))) return undefined;
        throw error;
      }
    },
    watch: async (onChange, signal) => {
      const query = new URLSearchParams({ watch: "1", fieldSelector: `metadata.name=${LEASE_NAME}`, timeoutSeconds: String(WATCH_SECONDS) });
      try {
        const stream = await client.watch("leases", `${collection}?${query.toString()}`);
        const end = (): void => void stream.destroy();
        signal.addEventListener("abort", end);
        if (signal.aborted) end();
        stream.on("data", onChange);
        await new Promise<void>((resolve) => stream.once("close", resolve));
        signal.removeEventListener("abort", end);
      } catch {
        // It only makes a takeover quicker: whoever waits reads the lease every second or so.
      }
    },
  };
}

interface LeaseContext {
  readonly over: LeaseRecord | undefined;
  readonly namespace: string;
  readonly now: Date;
}

/** The Lease as it is written; a released one has no holder. Times are for people who look at it, no decision reads them. Pure. */
export function buildLease({ holder, durationMs }: LeaseClaim, { over, namespace, now }: LeaseContext): unknown {
  const time = now.toISOString().replace("Z", "000Z");
  return {
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: { name: LEASE_NAME, namespace, labels: { [LABELS.managedBy]: MANAGED_BY }, ...(over === undefined ? {} : { resourceVersion: over.version }) },
    spec: {
      ...(holder === "" ? {} : { holderIdentity: holder }),
      leaseDurationSeconds: Math.max(1, Math.ceil(durationMs / 1000)),
      renewTime: time,
      ...tenureOf(holder, over, time),
    },
  };
}

/** Since when the holder has it, and how often it has changed hands. */
function tenureOf(holder: string, over: LeaseRecord | undefined, time: string): { readonly acquireTime: string; readonly leaseTransitions: number } {
  if (over === undefined) return { acquireTime: time, leaseTransitions: 0 };
  if (over.holder === holder) return { acquireTime: over.acquireTime ?? time, leaseTransitions: over.transitions };
  return { acquireTime: time, leaseTransitions: over.transitions + (holder === "" ? 0 : 1) };
}

function recordOf({ metadata, spec = {} }: Lease): LeaseRecord {
  const { holderIdentity = "", leaseDurationSeconds = DEFAULT_SECONDS, acquireTime, leaseTransitions = 0 } = spec;
  return { holder: holderIdentity, durationMs: leaseDurationSeconds * 1000, version: metadata.resourceVersion, transitions: leaseTransitions, acquireTime };
}
