import { join } from "node:path";
import type { Progress } from "../progress.ts";
import { root, toolsDir } from "./checkout.ts";
import { run } from "./command.ts";

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
  await progress.during("Paddock's chart, all of it ready", async () => {
    await run(
      [
        join(toolsDir, "helm"), "upgrade", "--install", "paddock", join(root, "charts/paddock"), "--namespace", releaseNamespace, "--create-namespace",
        "--wait", "--timeout", "4m", "--values", "-",
      ],
      { env: { KUBECONFIG: cluster.kubeconfig }, input: values, timeoutMs: 300_000 },
    );
  });
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
