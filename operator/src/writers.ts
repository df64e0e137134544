import { requireAccess } from "./cluster/access.ts";
import type { ApiClient } from "./cluster/http.ts";
import { readNamespaceUid, readObject } from "./cluster/reads.ts";
import { type VersionedCache, createClusterWriter, isClusterAction } from "./cluster/writer.ts";
import type { Writer } from "./kernel/controller.ts";
import type { Receipt } from "./kernel/expectations.ts";
import type { Action } from "./kernel/kind.ts";
import type { GatewayClient } from "./records/client.ts";
import type { RecordStream } from "./records/stream.ts";
import type { TextMap } from "./records/texts.ts";
import { createLogWriter } from "./records/writer.ts";
import type { StageTrace } from "./telemetry/stages.ts";

export interface WriterParts {
  readonly client: ApiClient;
  /** By plural. */
  readonly caches: ReadonlyMap<string, VersionedCache>;
  readonly gateway: GatewayClient;
  readonly stream: Pick<RecordStream, "byUid" | "budgetOf">;
  readonly trace: Pick<StageTrace, "onAction" | "onStatus">;
}

/** The one writer of the kernel: each action goes to the API server or to the gateway. */
export function createWriter({ client, caches, gateway, stream, trace }: WriterParts): Writer {
  const toCluster = createClusterWriter(client, caches);
  const toLog = createLogWriter({
    gateway,
    byUid: stream.byUid,
    budgetOf: stream.budgetOf,
    readNamespaceUid: (namespace) => readNamespaceUid(client, namespace),
    readSessionUid: async (key) => (await readObject(client, "Session", key))?.metadata.uid,
    readTextMap: async (key) => (await readObject(client, "ConfigMap", key)) as TextMap | undefined,
  });
  const act = async (action: Action): Promise<Receipt | undefined> => {
    if (isClusterAction(action)) return toCluster.act(action);
    if (action.verb === "append" && action.access !== undefined) await requireAccess(client, action.access);
    return toLog(action);
  };
  return {
    act: async (action) => {
      const receipt = await act(action);
      trace.onAction(action);
      return receipt;
    },
    status: async (self, status) => {
      const receipt = await toCluster.status(self, status);
      trace.onStatus(self.metadata.uid, (status.conditions ?? []).some(({ type, status: value }) => type === "Finished" && value === "True"));
      return receipt;
    },
  };
}
