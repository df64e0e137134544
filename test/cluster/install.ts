import { join } from "node:path";
import { readTestConfig } from "../config.ts";
import type { Progress } from "../progress.ts";
import { kubectl, root, toolsDir } from "./checkout.ts";
import { run } from "./command.ts";
import { withLock } from "./lock.ts";

export const releaseNamespace = "paddock-system";

/** Values of the chart, as nested as the chart has them. */
export type Values = { readonly [name: string]: Values | string | number | boolean | null | readonly unknown[] };

/**
 * Installs the chart, or brings what is installed up to date, and waits until all of it is ready.
 * `images` are references by name, as from ensureImages; `overrides` win over the values made from them.
 */
export async function installPaddock(
  cluster: { kubeconfig: string }, images: ReadonlyMap<string, string>, overrides: Values, progress: Progress,
): Promise<void> {
  const values = JSON.stringify(mergeValues(imageValues(images), overrides));
  const lock = join(readTestConfig().cacheDir, "install.lock");
  await withLock(lock, progress, () => progress.during("Paddock's chart, all of it ready", () => upgrade(cluster.kubeconfig, values)));
}

async function upgrade(kubeconfig: string, values: string): Promise<void> {
  await forgetUnfinished(kubeconfig);
  const argv = ["upgrade", "--install", "paddock", join(root, "charts/paddock"), "--namespace", releaseNamespace, "--create-namespace"];
  await run([join(toolsDir, "helm"), ...argv, "--wait", "--timeout", "4m", "--values", "-"], {
    env: { KUBECONFIG: kubeconfig }, input: values, timeoutMs: 300_000,
  }).catch(async (error: unknown) => {
    throw new Error(`Paddock does not get ready:\n${await describePods(kubeconfig)}`, { cause: error });
  });
}

/** Helm refuses to go on where it was killed, taking itself for still at work. Nobody is, as we hold the lock. */
async function forgetUnfinished(kubeconfig: string): Promise<void> {
  const unfinished = "owner=helm,name=paddock,status in (pending-install,pending-upgrade,pending-rollback)";
  await kubectl(kubeconfig, ["-n", releaseNamespace, "delete", "secret", "--selector", unfinished, "--ignore-not-found"]);
}

function describePods(kubeconfig: string): Promise<string> {
  return kubectl(kubeconfig, ["-n", releaseNamespace, "get", "pods,persistentvolumeclaims,events"]).catch((error: unknown) => String(error));
}

/** Pure: the chart's values for image references. Throws when one is missing. */
export function imageValues(images: ReadonlyMap<string, string>): Values {
  const reference = (name: string): string => {
    const ref = images.get(name);
    if (ref === undefined) throw new Error(`the chart needs an image called ${name}; there are ${[...images.keys()].join(", ")}`);
    return ref;
  };
  const paddock = reference("paddock");
  const at = paddock.lastIndexOf(":");
  return {
    image: { repository: paddock.slice(0, at), tag: paddock.slice(at + 1) },
    runner: { image: reference("runner") }, sandbox: { image: reference("sandbox") },
  };
}

/** Pure: `over` wins; objects are merged, lists and everything else replaced. */
export function mergeValues(under: Values, over: Values): Values {
  const merged: Record<string, Values[string]> = { ...under };
  for (const [name, value] of Object.entries(over)) {
    const below = merged[name];
    merged[name] = isValues(below) && isValues(value) ? mergeValues(below, value) : value;
  }
  return merged;
}

function isValues(value: Values[string] | undefined): value is Values {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
