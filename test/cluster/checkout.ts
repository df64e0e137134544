import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { run } from "./command.ts";
import type { CommandOptions } from "./command.ts";

/** The root folder of this checkout. */
export const root = resolve(import.meta.dirname, "../..");
/** What people and tests of this checkout use to reach the cluster; in .gitignore. */
export const clusterDir = join(root, ".cluster");
/** A kubeconfig with all rights over the cluster in use; a link when the cluster is not ours. */
export const kubeconfigFile = join(clusterDir, "kubeconfig");
/** Holds `kubectl` and `helm`; put it first in PATH. */
export const toolsDir = join(clusterDir, "bin");

/** Absolute paths of the two programs that everything above a provider uses. */
export interface Tools { kubectl: string; helm: string }

/** Links the tools into `.cluster/bin`, replacing older links. */
export function publishTools(tools: Tools): void {
  mkdirSync(toolsDir, { recursive: true });
  for (const name of ["kubectl", "helm"] as const) {
    rmSync(join(toolsDir, name), { force: true });
    symlinkSync(tools[name], join(toolsDir, name));
  }
}

/** Writes the kubeconfig of a cluster that was made here. */
export function publishKubeconfig(text: string): void {
  mkdirSync(clusterDir, { recursive: true });
  rmSync(kubeconfigFile, { force: true }); // it may be a link to somebody else's
  writeFileSync(kubeconfigFile, text, { mode: 0o600 });
}

/** Writes the kubeconfig of a cluster that is not ours, and links to it. */
export function publishForeignKubeconfig(text: string): void {
  const copy = join(clusterDir, "existing.kubeconfig");
  mkdirSync(clusterDir, { recursive: true });
  for (const file of [copy, kubeconfigFile]) rmSync(file, { force: true });
  writeFileSync(copy, text, { mode: 0o600 });
  symlinkSync(copy, kubeconfigFile);
}

/** Removes `.cluster` of this checkout. */
export function unpublish(): void {
  rmSync(clusterDir, { recursive: true, force: true });
}

/** Runs kubectl against a cluster and returns its output; rejects with a CommandError. */
export function kubectl(kubeconfig: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  return run([join(toolsDir, "kubectl"), ...args], { timeoutMs: 60_000, ...options, env: { ...options.env, KUBECONFIG: kubeconfig } });
}
