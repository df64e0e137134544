import { homedir } from "node:os";
import { join } from "node:path";

/** What the environment may say to the test tree; no other file of it reads the environment. */
export interface TestConfig {
  /** `PADDOCK_CLUSTER`: forces a provider. */
  cluster?: string;
  /** `KUBECONFIG`: a cluster that is there already. */
  kubeconfig?: string;
  /** `PADDOCK_IMAGE_REGISTRY`: where an existing cluster pulls Paddock's images from, e.g. `registry.example/paddock`. */
  imageRegistry?: string;
  /** Outside git and outside the checkout: `$PADDOCK_CACHE`, `$XDG_CACHE_HOME/paddock` or `~/.cache/paddock`. */
  cacheDir: string;
  /** Folders that programs are looked up in. */
  path: readonly string[];
}

/** Reads the environment. Empty variables count as unset. Never throws. */
export function readTestConfig(env: NodeJS.ProcessEnv = process.env): TestConfig {
  return {
    ...(env.PADDOCK_CLUSTER && { cluster: env.PADDOCK_CLUSTER }),
    ...(env.KUBECONFIG && { kubeconfig: env.KUBECONFIG }),
    ...(env.PADDOCK_IMAGE_REGISTRY && { imageRegistry: env.PADDOCK_IMAGE_REGISTRY.replace(/\/+$/, "") }),
    cacheDir: env.PADDOCK_CACHE || join(env.XDG_CACHE_HOME || join(env.HOME || homedir(), ".cache"), "paddock"),
    path: (env.PATH ?? "").split(":").filter((folder) => folder !== ""),
  };
}

/** The environment for a child process: this process's own plus `extra`. */
export function childEnvironment(extra: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  return { ...process.env, ...extra };
}
