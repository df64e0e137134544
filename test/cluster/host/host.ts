import { createHash } from "node:crypto";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Progress } from "../../progress.ts";
import { kubeconfigFile, publishKubeconfig, publishTools, unpublish } from "../checkout.ts";
import type { ImageBuilder } from "../images.ts";
import { withLock } from "../lock.ts";
import type { Provider } from "../provider.ts";
import { ensureBaseImage } from "./base-image.ts";
import { buildBinaries } from "./binaries.ts";
import type { Binaries } from "./binaries.ts";
import { buildImage, hasImage } from "./buildah.ts";
import { refuseForeign } from "./foreign.ts";
import { importImages } from "./image-import.ts";
import { adminKubeconfig, lockFile, stateDir } from "./layout.ts";
import { installPackages } from "./packages.ts";
import { removeCluster } from "./removal.ts";
import { observeCluster, startCluster } from "./start.ts";
import { recycleVolumes } from "./volumes.ts";

const builder: ImageBuilder = {
  registry: "ghcr.io/paddock",
  base: ensureBaseImage,
  has: ({ ref }) => hasImage(ref),
  build: ({ ref, dockerfile }, context) => buildImage(ref, join(context, dockerfile), context),
};

/** A cluster of plain processes on this machine: root on Debian, with Go and npm; needs no Docker and no image registry. */
export const hostProvider: Provider = {
  name: "host",
  kubeconfig: kubeconfigFile,
  builder,
  up: async (progress) => {
    await installPackages(progress);
    const binaries = await buildBinaries(progress);
    await withLock(lockFile, progress, () => ensureRunning(binaries, progress));
  },
  down: async (progress) => {
    await withLock(lockFile, progress, () => removeRunning("cluster removed", progress));
    unpublish();
  },
  loadImages: importImages,
};

async function ensureRunning(binaries: Binaries, progress: Progress): Promise<void> {
  publishTools({ kubectl: join(binaries.hyper, "kubectl"), helm: join(binaries.hyper, "helm") });
  const version = clusterVersion(binaries);
  const found = await observeCluster(version);
  if (typeof found === "object") {
    progress(`starting afresh: ${found.broken}`);
    await removeRunning("old cluster removed", progress);
  }
  if (found === "healthy") progress("the cluster is up already");
  else {
    refuseForeign();
    await startCluster(binaries, version, progress);
  }
  await recycleVolumes();
  publishKubeconfig(readFileSync(adminKubeconfig, "utf8"));
}

async function removeRunning(text: string, progress: Progress): Promise<void> {
  if (existsSync(stateDir)) await progress.during(text, removeCluster);
  else progress("nothing is up");
}

/** Files here that decide nothing about a cluster that runs already. */
const immaterial = /^(base-image|binaries|buildah|image-import|packages)\.ts$|\.test\.ts$/;

/** Changes whenever a program or what starts it does, and so replaces a cluster that another version of the project has started. */
function clusterVersion(binaries: Binaries): string {
  const names = readdirSync(import.meta.dirname, { recursive: true, encoding: "utf8" });
  const files = ["../sink.ts", ...names.filter((name) => /\.(ts|yaml|toml|conflist)$/.test(name) && !immaterial.test(name)).sort()];
  const hash = createHash("sha256").update(JSON.stringify(binaries));
  for (const name of files) hash.update(`\0${name}\0`).update(readFileSync(join(import.meta.dirname, name)));
  return hash.digest("hex");
}
