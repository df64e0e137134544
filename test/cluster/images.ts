import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import release from "../../package.json" with { type: "json" };
import type { Progress } from "../progress.ts";
import { contentKey, contextFiles, stageContext } from "./build-context.ts";
import { root } from "./checkout.ts";
import type { Provider } from "./provider.ts";

/** An image to have: built from an ordinary Dockerfile. */
export interface ImageSource {
  name: string;
  /** The build context, an absolute path. */
  context: string;
  /** Relative to the context. */
  dockerfile: string;
  /** Whole references that the image is to be found under as well. */
  extraTags?: readonly string[];
}

/** An image under its content's reference. */
export interface TaggedImage { name: string; ref: string; extraTags: readonly string[]; context: string; dockerfile: string }

/** Builds images where the provider's cluster can be given them from. */
export interface ImageBuilder {
  /** The registry and folder of all references, without a slash at the end. */
  readonly registry: string;
  /** Says what `FROM node:24-slim` stands for, making it first if need be; it is part of every content key. */
  base(progress: Progress): Promise<string>;
  has(image: TaggedImage): Promise<boolean>;
  /** `staged` is a copy of the context with exactly the files that the Dockerfile copies. */
  build(image: TaggedImage, staged: string): Promise<void>;
}

/** Paddock's own images; the context of all is the root folder. Manifests name them by the release, like everywhere else. */
export const paddockImages: readonly ImageSource[] = [
  buildSource("paddock", "operator/Dockerfile"),
  buildSource("runner", "runner-image/Dockerfile"),
  buildSource("sandbox", "sandbox-image/Dockerfile"),
  buildSource("scripted-model", "test/scripted-model/Dockerfile"),
];

function buildSource(name: string, dockerfile: string): ImageSource {
  return { name, context: root, dockerfile, extraTags: [`ghcr.io/paddock/${name}:${release.version}`] };
}

/** Nothing but node, for pods of the tests themselves. */
export const probeImage: ImageSource = { name: "probe", context: join(import.meta.dirname, "probe"), dockerfile: "Dockerfile" };

/**
 * Builds the images whose content is new, and gives the cluster those that it lacks.
 * Returns each image's reference by its name: `REGISTRY/NAME:CONTENT`, so equal references are equal contents.
 */
export async function ensureImages(provider: Provider, sources: readonly ImageSource[], progress: Progress): Promise<ReadonlyMap<string, string>> {
  const base = await provider.builder.base(progress);
  const images: TaggedImage[] = [];
  for (const source of sources) images.push(await ensureBuilt(provider.builder, source, base, progress));
  await provider.loadImages(images, progress);
  return new Map(images.map(({ name, ref }) => [name, ref]));
}

async function ensureBuilt(builder: ImageBuilder, source: ImageSource, base: string, progress: Progress): Promise<TaggedImage> {
  const { name, context, dockerfile, extraTags = [] } = source;
  const files = contextFiles(context, dockerfile);
  const image = { name, ref: `${builder.registry}/${name}:${contentKey(context, files, base)}`, extraTags, context, dockerfile };
  if (await builder.has(image)) return image;
  const staged = mkdtempSync(join(tmpdir(), `paddock-${name}-`));
  try {
    stageContext(context, files, staged);
    await progress.during(`build ${image.ref}`, () => builder.build(image, staged));
  } finally {
    rmSync(staged, { recursive: true, force: true });
  }
  return image;
}
