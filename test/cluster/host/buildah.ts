import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { readTestConfig } from "../../config.ts";
import { run } from "../command.ts";

/** Runs buildah on Paddock's own store in the cache; returns its output. */
export function buildah(args: readonly string[], cwd?: string): Promise<string> {
  const store = join(readTestConfig().cacheDir, "images");
  const argv = ["buildah", "--root", join(store, "root"), "--runroot", join(store, "run"), "--storage-driver", "overlay", ...args];
  return run(argv, { timeoutMs: 1_800_000, ...(cwd !== undefined && { cwd }) });
}

/** Whether the store has an image of this name. */
export function hasImage(name: string): Promise<boolean> {
  return buildah(["inspect", "--type", "image", "--format", "{{.FromImageID}}", name]).then(() => true, () => false);
}

/**
 * Builds a Dockerfile of a context under a name, without root's powers over the machine's namespaces (chroot).
 * What this machine's npm needs to reach its registry is there while it builds, and in no layer.
 */
export async function buildImage(name: string, dockerfile: string, context: string): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), "paddock-npmrc-"));
  try {
    const npmrc = join(scratch, "npmrc");
    writeFileSync(npmrc, await npmSettings(), { mode: 0o644 }); // npm reads it as any user
    await buildah([
      "build", "--quiet", "--layers", "--isolation", "chroot", "--pull-never", "--volume", `${npmrc}:/usr/local/etc/npmrc:ro`,
      "--tag", name, "--file", dockerfile, context,
    ]);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function npmSettings(): Promise<string> {
  const own = join(homedir(), ".npmrc");
  const registry = (await run(["npm", "config", "get", "registry"])).trim();
  return `${existsSync(own) ? readFileSync(own, "utf8") : ""}\nregistry=${registry}\n`;
}
