import type { ApiClient } from "./http.ts";
import type { RawObject } from "./resources.ts";

/** A collection as it is listed and watched. */
export interface Collection {
  /** Plural, for metrics. */
  readonly resource: string;
  /** Path of the collection, of one namespace or of all. */
  readonly path: string;
  readonly labelSelector?: string;
}

interface ListPage {
  readonly metadata: { readonly resourceVersion: string; readonly continue?: string };
  readonly items: readonly RawObject[];
}

const LIST_TIMEOUT_MS = 60_000;

/** Calls `take` for each object, page by page; resolves with the resource version of the whole. */
export async function listPages(client: ApiClient, { resource, path, labelSelector }: Collection, { pageSize, take }: { readonly pageSize: number; take(object: RawObject): void }): Promise<number> {
  let next: string | undefined;
  do {
    const query = queryOf({ limit: String(pageSize), labelSelector, continue: next });
    const page = (await client.request({ verb: "list", resource, method: "GET", path: `${path}?${query}`, timeoutMs: LIST_TIMEOUT_MS })) as ListPage;
    for (const item of page.items) take(item);
    next = page.metadata.continue === "" ? undefined : page.metadata.continue;
    if (next === undefined) return Number(page.metadata.resourceVersion);
  } while (true);
}

/** A watch from `version` on; `version` undefined asks for everything there is first (KEP-3157, the API server's "WatchList"). */
export function watchPath({ path, labelSelector }: Collection, version: number | undefined, timeoutSeconds: number): string {
  const from = version === undefined ? { sendInitialEvents: "true", resourceVersionMatch: "NotOlderThan" } : { resourceVersion: String(version) };
  return `${path}?${queryOf({ watch: "1", allowWatchBookmarks: "true", ...from, timeoutSeconds: String(timeoutSeconds), labelSelector })}`;
}

function queryOf(members: Readonly<Record<string, string | undefined>>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(members)) if (value !== undefined) query.set(name, value);
  return query.toString();
}
