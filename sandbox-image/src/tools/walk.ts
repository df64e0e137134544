import { readdirSync } from "node:fs";
import { join } from "node:path";

/** Folders that hold what nobody wrote here; a search that starts inside one reads it. */
export const SKIPPED_FOLDERS: readonly string[] = [".git", "node_modules"];

/**
 * The regular files below a folder, as paths relative to it, in the order of the file system. Symbolic links are not followed, so that it ends.
 * Synchronous: it runs in the search thread. A folder that cannot be read is left out; the first one throws.
 */
export function* walkFiles(root: string): Generator<string> {
  const folders = [""];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const entry of entriesOf(root, folder)) {
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (entry.isFile()) yield path;
      else if (entry.isDirectory() && !SKIPPED_FOLDERS.includes(entry.name)) folders.push(path);
    }
  }
}

function entriesOf(root: string, folder: string) {
  try {
    return readdirSync(join(root, folder), { withFileTypes: true });
  } catch (error) {
    if (folder === "") throw error;
    return []; // it went away, or is not ours to read
  }
}
