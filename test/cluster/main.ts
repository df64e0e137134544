// `npm run cluster:up` and `cluster:down`.
import { openProgress } from "../progress.ts";
import type { Progress } from "../progress.ts";
import { clusterDir, kubeconfigFile, toolsDir } from "./checkout.ts";
import { proveEnforcement } from "./enforcement.ts";
import { ensureImages, paddockImages, probeImage } from "./images.ts";
import { installPaddock, mergeValues } from "./install.ts";
import type { Values } from "./install.ts";
import type { Provider, ProviderName } from "./provider.ts";
import { selectProvider } from "./selection.ts";
import { sinkCanaries } from "./sink.ts";

const usage = `usage: npm run cluster:up [-- --bare]   a cluster with Paddock in it; with --bare, without Paddock
       npm run cluster:down            removes it`;

/** A cluster with Paddock in it. */
export interface Standing {
  provider: ProviderName;
  kubeconfig: string;
  /** References of Paddock's images by name. */
  images: ReadonlyMap<string, string>;
}

/** Brings up a cluster, proves that its network isolates, and installs Paddock as this checkout has it. Quick when all of it stands already. */
export async function up(progress: Progress, overrides: Values = {}): Promise<Standing> {
  const provider = await upBare(progress);
  const images = await ensureImages(provider, paddockImages, progress);
  await installPaddock(provider, images, mergeValues(canaryValues(provider.name), overrides), progress);
  return { provider: provider.name, kubeconfig: provider.kubeconfig, images };
}

/** Only the host cluster has the sink. */
function canaryValues(provider: ProviderName): Values {
  return provider === "host" ? { isolation: { canaries: sinkCanaries } } : {};
}

/** Brings up a cluster, proven to isolate, without Paddock. */
export async function upBare(progress: Progress): Promise<Provider> {
  const provider = await selectProvider();
  progress(`cluster: ${provider.name}`);
  await provider.up(progress);
  const images = await ensureImages(provider, [probeImage], progress);
  await proveEnforcement(provider.kubeconfig, images.get(probeImage.name) ?? "", progress);
  return provider;
}

/** Removes the cluster, or from one that is not ours, nothing. */
export async function down(progress: Progress): Promise<void> {
  const provider = await selectProvider();
  await provider.down(progress);
}

async function main(args: readonly string[]): Promise<void> {
  const progress = openProgress();
  const [command, ...options] = args;
  if (command === "down" && options.length === 0) return down(progress);
  if (command !== "up" || options.some((option) => option !== "--bare")) throw new Error(usage);
  if (options.includes("--bare")) await upBare(progress);
  else await up(progress);
  progress(`up. In this folder (${clusterDir}): export KUBECONFIG=${kubeconfigFile} PATH=${toolsDir}:$PATH`);
}

/** Pure: a message with those of its causes. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message}\nbecause: ${describeError(error.cause)}`;
}

if (import.meta.main) {
  main(process.argv.slice(2)).catch((error: unknown) => {
    console.error(describeError(error));
    process.exitCode = 1;
  });
}
