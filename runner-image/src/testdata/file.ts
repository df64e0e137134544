import { watch } from "node:fs/promises";
import { existsSync } from "node:fs";
import { basename, dirname } from "node:path";

/** Resolves when there is such a file; its folder must be there already. */
export async function fileAt(path: string): Promise<void> {
  const stop = new AbortController();
  const changes = watch(dirname(path), { signal: stop.signal });
  const seen = (async () => {
    for await (const { filename } of changes) if (filename === basename(path) && existsSync(path)) return;
  })();
  if (!existsSync(path)) await seen;
  stop.abort();
  await seen.catch(() => undefined);
}
