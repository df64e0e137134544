import type { Progress } from "../progress.ts";
import type { ImageBuilder, TaggedImage } from "./images.ts";

export const providerNames = ["existing", "kind", "host"] as const;
export type ProviderName = (typeof providerNames)[number];

/** A real cluster that tests and the demo run on. */
export interface Provider {
  readonly name: ProviderName;
  /** A kubeconfig with all rights, for kubectl and helm: a path, valid after `up`. */
  readonly kubeconfig: string;
  /** Builds this cluster's images. */
  readonly builder: ImageBuilder;
  /** Makes the cluster run, or finds that it does. Rejects with a sentence that says what to do. */
  up(progress: Progress): Promise<void>;
  /** Removes what `up` made, and nothing else. Harmless when nothing is up. */
  down(progress: Progress): Promise<void>;
  /** Puts images into the cluster that it does not have yet. */
  loadImages(images: readonly TaggedImage[], progress: Progress): Promise<void>;
}
