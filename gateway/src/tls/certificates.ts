import { setTimeout as sleep } from "node:timers/promises";
import type { ApiServer } from "../auth/api-server.ts";
import type { Store } from "../store/store.ts";
import type { Logger } from "../telemetry/logger.ts";
import { createAuthorities } from "./authorities.ts";
import { issueServing } from "./authority.ts";
import type { Serving } from "./authority.ts";
import { publishBundle } from "./publish.ts";

const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 60_000;
/** Writing what is there already changes nothing, so looking again is the same request. */
const AGAIN_MS = 300_000;

export interface CertificatePorts {
  readonly store: Pick<Store, "secret">;
  readonly api: Pick<ApiServer, "send">;
  /** Where the bundle is published. */
  readonly namespace: string;
  /** DNS names and addresses of serving certificates. */
  readonly names: readonly string[];
  readonly logger: Logger;
  now(): Date;
}

/** What the gateway proves itself by, renewed in time. */
export interface Certificates {
  readonly serving: Serving;
  /** PEM of every authority that clients are to trust. */
  readonly bundle: string;
}

export interface CertificateKeeper {
  current(): Certificates;
  /** Renews what is due and publishes the bundle; the fault when that failed. Rejects when the store cannot serve. */
  look(): Promise<string | undefined>;
  /** Looks again and again until `signal` aborts. Never rejects. */
  keep(signal: AbortSignal): Promise<void>;
}

/** Rejects when the store cannot serve. `onServing` is told of each serving certificate after the first. */
export async function openCertificates(ports: CertificatePorts, onServing: (serving: Serving) => void): Promise<CertificateKeeper> {
  const { names, now, logger } = ports;
  const authorities = createAuthorities(ports.store);
  let { signer, bundle } = await authorities.stand(now());
  let serving = await issueServing(signer, names, now());

  const renew = async (): Promise<void> => {
    const standing = await authorities.stand(now());
    bundle = standing.bundle;
    const isSame = standing.signer.certificate === signer.certificate;
    if (isSame && now().getTime() < serving.renewAt) return;
    signer = standing.signer;
    serving = await issueServing(signer, names, now());
    onServing(serving);
    logger.info({ renewAt: new Date(serving.renewAt).toISOString(), authority: isSame ? "same" : "new" }, "renewed the serving certificate");
  };
  const look = async (): Promise<string | undefined> => {
    await renew();
    const fault = await publishBundle(ports, bundle);
    if (fault !== undefined) return fault;
    await authorities.notePublished(bundle, now());
    // Only who has published knows since when a successor has been there.
    await renew();
    return undefined;
  };
  return {
    current: () => ({ serving, bundle }),
    look,
    keep: async (signal) => {
      let retryMs = FIRST_RETRY_MS;
      while (!signal.aborted) {
        const fault = await look().catch((error: unknown) => (error instanceof Error ? error.message : String(error)));
        if (fault === undefined) {
          retryMs = FIRST_RETRY_MS;
          await pause(AGAIN_MS, signal);
          continue;
        }
        logger.warn({ fault, retryMs }, "cannot renew or publish the gateway's certificates");
        await pause(retryMs * (0.75 + Math.random() / 2), signal);
        retryMs = Math.min(retryMs * 2, LONGEST_RETRY_MS);
      }
    },
  };
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal, ref: false }).catch(() => undefined);
}
