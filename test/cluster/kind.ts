import { join } from "node:path";
import { kubeconfigFile, kubectl, publishKubeconfig, root, unpublish } from "./checkout.ts";
import { run, succeeds } from "./command.ts";
import type { ImageBuilder } from "./images.ts";
import type { Provider } from "./provider.ts";
import { provideTools } from "./tools.ts";

const cluster = "paddock";

const docker: ImageBuilder = {
  registry: "ghcr.io/paddock",
  base: async () => {
    const image = "node:24-slim";
    if (!(await succeeds(["docker", "image", "inspect", image]))) await run(["docker", "pull", "--quiet", image]);
    return (await run(["docker", "image", "inspect", "--format", "{{.Id}}", image])).trim();
  },
  has: ({ ref }) => succeeds(["docker", "image", "inspect", ref]),
  build: async ({ ref, dockerfile }, context) => {
    await run(["docker", "build", "--quiet", "--tag", ref, "--file", join(context, dockerfile), context], { timeoutMs: 1_800_000 });
  },
};

/** A cluster in Docker. Its default network enforces network policies from kind 0.24 on; older ones fail the proof. */
export const kindProvider: Provider = {
  name: "kind",
  kubeconfig: kubeconfigFile,
  builder: docker,
  up: async (progress) => {
    await provideTools(progress);
    if (await isHealthy()) {
      progress(`the kind cluster ${cluster} is up already`);
      return;
    }
    await run(["kind", "delete", "cluster", "--name", cluster]);
    await progress.during(`kind cluster ${cluster}`, async () => {
      publishKubeconfig(""); // kind adds to what is there
      await run(["kind", "create", "cluster", "--name", cluster, "--config", join(root, "kind-config.yaml"), "--kubeconfig", kubeconfigFile, "--wait", "180s"]);
    });
  },
  down: async (progress) => {
    await run(["kind", "delete", "cluster", "--name", cluster]);
    unpublish();
    progress(`kind cluster ${cluster} removed`);
  },
  loadImages: async (images, progress) => {
    for (const { ref, extraTags } of images) {
      for (const tag of extraTags) await run(["docker", "tag", ref, tag]);
      await progress.during(`load ${ref}`, () => run(["kind", "load", "docker-image", "--name", cluster, ref, ...extraTags])); // skips what is there
    }
  },
};

async function isHealthy(): Promise<boolean> {
  const clusters = (await run(["kind", "get", "clusters"])).split("\n");
  if (!clusters.includes(cluster)) return false;
  publishKubeconfig(await run(["kind", "get", "kubeconfig", "--name", cluster]));
  return kubectl(kubeconfigFile, ["wait", "--for=condition=Ready", "node", "--all", "--timeout=10s"]).then(() => true, () => false);
}
