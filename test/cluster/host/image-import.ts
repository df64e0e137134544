import { mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Progress } from "../../progress.ts";
import { run } from "../command.ts";
import type { TaggedImage } from "../images.ts";
import { buildah } from "./buildah.ts";
import { containerdSocket, programDir } from "./layout.ts";

/** Gives the cluster's containerd the images that it lacks, and of those only the layers that it lacks. */
export async function importImages(images: readonly TaggedImage[], progress: Progress): Promise<void> {
  const present = await imagesInCluster();
  for (const { ref, extraTags } of images) {
    if (!present.has(ref)) await progress.during(`load ${ref}`, () => importImage(ref));
    const digest = present.get(ref);
    const stale = extraTags.filter((tag) => digest === undefined || present.get(tag) !== digest);
    if (stale.length > 0) await ctr("images", "tag", "--force", ref, ...stale);
  }
}

/** References in the cluster, each with the digest of what it names. */
async function imagesInCluster(): Promise<ReadonlyMap<string, string>> {
  const lines = (await ctr("images", "list")).split("\n").slice(1).map((line) => line.split(/\s+/));
  return new Map(lines.map(([ref = "", , digest = ""]) => [ref, digest]));
}

async function importImage(ref: string): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), "paddock-load-"));
  try {
    const exported = join(scratch, "exported");
    await buildah(["push", "--quiet", "--disable-compression", ref, `dir:${exported}`]);
    const layout = join(scratch, "layout");
    const present = new Set((await ctr("content", "list", "--quiet")).split("\n"));
    arrangeLayout(ref, exported, layout, present);
    const archive = join(scratch, "image.tar");
    await run(["tar", "-C", layout, "-cf", archive, "."]);
    await ctr("images", "import", archive);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Arranges what buildah has exported as an OCI image layout, without the blobs whose digests are `present` already. */
export function arrangeLayout(ref: string, exported: string, layout: string, present: ReadonlySet<string>): void {
  const blobs = join(layout, "blobs/sha256");
  mkdirSync(blobs, { recursive: true });
  const manifest = readFileSync(join(exported, "manifest.json"));
  const digest = createHash("sha256").update(manifest).digest("hex");
  renameSync(join(exported, "manifest.json"), join(blobs, digest));
  const isBlob = (name: string): boolean => /^[0-9a-f]{64}$/.test(name);
  for (const name of readdirSync(exported).filter((entry) => isBlob(entry) && !present.has(`sha256:${entry}`))) {
    renameSync(join(exported, name), join(blobs, name));
  }
  const { mediaType = "application/vnd.oci.image.manifest.v1+json" } = JSON.parse(manifest.toString()) as { mediaType?: string };
  const entry = { mediaType, digest: `sha256:${digest}`, size: statSync(join(blobs, digest)).size, annotations: { "io.containerd.image.name": ref } };
  writeFileSync(join(layout, "index.json"), JSON.stringify({ schemaVersion: 2, manifests: [entry] }));
  writeFileSync(join(layout, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
}

function ctr(...args: readonly string[]): Promise<string> {
  return run([join(programDir, "ctr"), "--address", containerdSocket, "--namespace", "k8s.io", ...args]);
}
