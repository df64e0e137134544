import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Progress } from "../../progress.ts";
import { kubeconfigFile, publishKubeconfig, publishTools, unpublish } from "../checkout.ts";
import { run } from "../command.ts";
import type { ImageBuilder, TaggedImage } from "../images.ts";
import { withLock } from "../lock.ts";
import type { Provider } from "../provider.ts";
import { ensureBaseImage } from "./base-image.ts";
import { buildBinaries } from "./binaries.ts";
import type { Binaries } from "./binaries.ts";
import { buildImage, buildah, hasImage } from "./buildah.ts";
import { refuseForeign } from "./foreign.ts";
import { adminKubeconfig, containerdSocket, lockFile, programDir, stateDir } from "./layout.ts";
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
  loadImages: async (images, progress) => {
    const present = await imagesInCluster();
    for (const image of images) await loadImage(image, present, progress);
  },
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

/** Changes whenever this folder or a program does, and so replaces a cluster that an older checkout has started. */
function clusterVersion(binaries: Binaries): string {
  const names = readdirSync(import.meta.dirname, { recursive: true, encoding: "utf8" });
  const files = names.filter((name) => /\.(ts|yaml|toml|conflist)$/.test(name) && !name.endsWith(".test.ts")).sort();
  const hash = createHash("sha256").update(JSON.stringify(binaries));
  for (const name of files) hash.update(`\0${name}\0`).update(readFileSync(join(import.meta.dirname, name)));
  return hash.digest("hex");
}

/** References in the cluster, each with the digest of what it names. */
async function imagesInCluster(): Promise<ReadonlyMap<string, string>> {
  const lines = (await ctr("images", "list")).split("\n").slice(1).map((line) => line.split(/\s+/));
  return new Map(lines.map(([ref = "", , digest = ""]) => [ref, digest]));
}

async function loadImage({ ref, extraTags }: TaggedImage, present: ReadonlyMap<string, string>, progress: Progress): Promise<void> {
  if (!present.has(ref)) await progress.during(`load ${ref}`, () => importImage(ref));
  const digest = present.get(ref);
  const stale = extraTags.filter((tag) => digest === undefined || present.get(tag) !== digest);
  if (stale.length > 0) await ctr("images", "tag", "--force", ref, ...stale);
}

async function importImage(ref: string): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), "paddock-load-"));
  try {
    const archive = join(scratch, "image.tar");
    await buildah(["push", "--quiet", ref, `docker-archive:${archive}:${ref}`]);
    await ctr("images", "import", archive);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function ctr(...args: readonly string[]): Promise<string> {
  return run([join(programDir, "ctr"), "--address", containerdSocket, "--namespace", "k8s.io", ...args]);
}
