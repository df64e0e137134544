import { setTimeout as sleep } from "node:timers/promises";
import { GATEWAY_CA } from "@paddock/api/names";
import type { ApiServer } from "../auth/api-server.ts";
import type { Logger } from "../telemetry/logger.ts";

const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 60_000;
/** Writing what is there already changes nothing, so looking again is the same request. */
const AGAIN_MS = 300_000;

export interface Publishing {
  readonly api: Pick<ApiServer, "send">;
  readonly namespace: string;
  /** PEM of the CA's certificate. */
  readonly certificate: string;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** Keeps the CA's certificate in its ConfigMap, which the chart makes, until `signal` aborts. Never rejects. */
export async function publishCertificate(publishing: Publishing): Promise<void> {
  const { signal, logger, namespace } = publishing;
  let retryMs = FIRST_RETRY_MS;
  while (!signal.aborted) {
    const fault = await write(publishing);
    if (fault === undefined) {
      retryMs = FIRST_RETRY_MS;
      await pause(AGAIN_MS, signal);
      continue;
    }
    logger.warn({ fault, retryMs }, `cannot publish the CA certificate in ConfigMap ${namespace}/${GATEWAY_CA.configMap}: the chart makes it and lets the gateway patch it`);
    await pause(retryMs * (0.75 + Math.random() / 2), signal);
    retryMs = Math.min(retryMs * 2, LONGEST_RETRY_MS);
  }
}

async function write({ api, namespace, certificate }: Publishing): Promise<string | undefined> {
  const path = `/api/v1/namespaces/${namespace}/configmaps/${GATEWAY_CA.configMap}`;
  try {
    const { status } = await api.send("PATCH", path, "application/merge-patch+json", { data: { [GATEWAY_CA.key]: certificate } });
    return status === 200 ? undefined : `the API server answered with status ${status}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal, ref: false }).catch(() => undefined);
}
