import { GATEWAY_CA } from "@paddock/api/names";
import type { ApiServer } from "../auth/api-server.ts";

export interface Publishing {
  readonly api: Pick<ApiServer, "send">;
  readonly namespace: string;
}

/** Puts the authorities' certificates into their ConfigMap, which the chart makes. Resolves with why it could not; never rejects. */
export async function publishBundle({ api, namespace }: Publishing, bundle: string): Promise<string | undefined> {
  const path = `/api/v1/namespaces/${namespace}/configmaps/${GATEWAY_CA.configMap}`;
  const advice = `ConfigMap ${namespace}/${GATEWAY_CA.configMap} cannot be patched: the chart makes it and lets the gateway patch it`;
  try {
    const { status } = await api.send("PATCH", path, "application/merge-patch+json", { data: { [GATEWAY_CA.key]: bundle } });
    return status === 200 ? undefined : `${advice}; the API server answered with status ${status}`;
  } catch (error) {
    return `${advice}; ${error instanceof Error ? error.message : String(error)}`;
  }
}
