import type { ApiClient } from "./cluster/http.ts";
import { readNamespaceUid, readObject } from "./cluster/reads.ts";
import { type VersionedCache, createClusterWriter, isClusterAction } from "./cluster/writer.ts";
import type { Writer } from "./kernel/controller.ts";
import type { GatewayClient } from "./records/client.ts";
import type { RecordStream } from "./records/stream.ts";
import type { TextMap } from "./records/texts.ts";
import { createLogWriter } from "./records/writer.ts";

export interface WriterParts {
  readonly client: ApiClient;
  /** By plural. */
  readonly caches: ReadonlyMap<string, VersionedCache>;
  readonly gateway: GatewayClient;
  readonly stream: Pick<RecordStream, "byUid">;
}

/** The one writer of the kernel: each action goes to the API server or to the gateway. */
export function createWriter({ client, caches, gateway, stream }: WriterParts): Writer {
  const toCluster = createClusterWriter(client, caches);
  const toLog = createLogWriter({
    gateway,
    byUid: stream.byUid,
    readNamespaceUid: (namespace) => readNamespaceUid(client, namespace),
    readSessionUid: async (key) => (await readObject(client, "Session", key))?.metadata.uid,
    readTextMap: async (key) => (await readObject(client, "ConfigMap", key)) as TextMap | undefined,
  });
  return { act: (action) => (isClusterAction(action) ? toCluster.act(action) : toLog(action)), status: toCluster.status };
}
