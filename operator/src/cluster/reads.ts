import type { Key } from "../kernel/kind.ts";
import { isStatus } from "./errors.ts";
import type { ApiClient } from "./http.ts";
import { type RawObject, endpointOf, objectPath } from "./resources.ts";

// Live reads, for what no cache may answer. All throw what `ApiClient.request` throws.

/** A live read. undefined when there is none of that name. */
export async function readObject(client: ApiClient, kind: string, { namespace, name }: Key): Promise<RawObject | undefined> {
  const endpoint = endpointOf(kind);
  try {
    return (await client.request({ verb: "get", resource: endpoint.plural, method: "GET", path: objectPath(endpoint, namespace, name) })) as RawObject;
  } catch (error) {
    if (isStatus(error, 404)) return undefined;
    throw error;
  }
}

/** The UID of a namespace as it is now. Throws ApiError 404 when it is gone. */
export async function readNamespaceUid(client: ApiClient, namespace: string): Promise<string> {
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}`;
  const object = (await client.request({ verb: "get", resource: "namespaces", method: "GET", path })) as RawObject;
  return object.metadata.uid;
}

/** A ConfigMap as it stood at one moment. */
export interface ConfigMapRead {
  readonly uid: string;
  readonly resourceVersion: string;
  readonly data: Readonly<Record<string, string>>;
  /** Keys whose value is no text. */
  readonly binaryKeys: readonly string[];
}

/** undefined when there is none of that name. */
export async function readConfigMap(client: ApiClient, key: Key): Promise<ConfigMapRead | undefined> {
  const map = (await readObject(client, "ConfigMap", key)) as (RawObject & Partial<Record<"data" | "binaryData", Readonly<Record<string, string>>>>) | undefined;
  if (map === undefined) return undefined;
  const { uid, resourceVersion } = map.metadata;
  return { uid, resourceVersion, data: map.data ?? {}, binaryKeys: Object.keys(map.binaryData ?? {}) };
}

/** One value of a ConfigMap; undefined when map or key is missing. */
export async function readConfigValue(client: ApiClient, key: Key, member: string): Promise<string | undefined> {
  return (await readConfigMap(client, key))?.data[member];
}

