import { join } from "node:path";
import type { Progress } from "../progress.ts";
import { kubeconfigFile, kubectl, publishForeignKubeconfig, unpublish } from "./checkout.ts";
import type { ImageBuilder, TaggedImage } from "./images.ts";
import type { Provider } from "./provider.ts";
import { provideTools } from "./tools.ts";

/** A cluster that is there already: used as it is. Nothing is installed into it but Paddock, and its images must be pushed by its owner. */
export function openExisting(kubeconfig: string, registry: string | undefined): Provider {
  return {
    name: "existing",
    kubeconfig: kubeconfigFile,
    builder: pushedByOwner(registry),
    up: async (progress) => {
      await provideTools(progress);
      await kubectl(kubeconfig, ["get", "--raw", "/readyz", "--request-timeout=10s"]).catch((error: unknown) => {
        throw new Error(`the cluster of KUBECONFIG=${kubeconfig} does not answer; mend it, or unset KUBECONFIG to have a cluster made here`, { cause: error });
      });
      publishForeignKubeconfig(await kubectl(kubeconfig, ["config", "view", "--raw", "--flatten"]));
      progress(`using the cluster of ${kubeconfig}`);
    },
    down: async (progress) => {
      unpublish();
      progress("the cluster is not ours: it stays, and Paddock in it; `helm uninstall -n paddock-system paddock` removes that");
    },
    loadImages: async (images, progress) => tellPulled(images, progress),
  };
}

function pushedByOwner(registry: string | undefined): ImageBuilder {
  return {
    registry: registry ?? "REGISTRY/FOLDER",
    base: async () => "node:24-slim",
    has: async (image) => {
      if (registry === undefined) throw new Error(explainPush(image));
      return true;
    },
    build: async (image) => {
      throw new Error(explainPush(image));
    },
  };
}

function explainPush(image: TaggedImage): string {
  return "images cannot be put into a cluster that was not made here: it must pull them. Set PADDOCK_IMAGE_REGISTRY to a registry " +
    `and folder that it can pull from (as in registry.example/paddock), and push each image there, this one by:\n  ${pushCommand(image)}`;
}

/** Pure. */
function pushCommand({ ref, context, dockerfile }: TaggedImage): string {
  return `docker build -t ${ref} -f ${join(context, dockerfile)} ${context} && docker push ${ref}`;
}

function tellPulled(images: readonly TaggedImage[], progress: Progress): void {
  for (const image of images) progress(`the cluster pulls ${image.ref}; unless it is there: ${pushCommand(image)}`);
}
