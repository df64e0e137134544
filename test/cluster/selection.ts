import { existsSync, realpathSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { readTestConfig } from "../config.ts";
import type { TestConfig } from "../config.ts";
import { kubeconfigFile, root } from "./checkout.ts";
import { findProgram, succeeds } from "./command.ts";
import { openExisting } from "./existing.ts";
import { hostProvider } from "./host/host.ts";
import { kindProvider } from "./kind.ts";
import { providerNames } from "./provider.ts";
import type { Provider, ProviderName } from "./provider.ts";

/** What decides which provider is used. */
export interface Surroundings {
  /** PADDOCK_CLUSTER. */
  forced?: string;
  /** KUBECONFIG, unless it is the one that this checkout itself has written. */
  kubeconfig?: string;
  dockerAnswers: boolean;
  hasKind: boolean;
  isRoot: boolean;
  isDebian: boolean;
  hasGo: boolean;
}

/** The provider for this machine and environment; rejects with what is missing when there is none. */
export async function selectProvider(config: TestConfig = readTestConfig()): Promise<Provider> {
  const surroundings = await observeSurroundings(config);
  switch (decideProvider(surroundings)) {
    case "existing": return openExisting(surroundings.kubeconfig ?? kubeconfigFile, config.imageRegistry);
    case "kind": return kindProvider;
    case "host": return hostProvider;
  }
}

/** Pure. Throws a sentence that says what is missing and how to get it. */
export function decideProvider(around: Surroundings): ProviderName {
  const forced = providerNames.find((name) => name === around.forced);
  if (around.forced !== undefined && forced === undefined) {
    throw new Error(`PADDOCK_CLUSTER is ${around.forced}; it must be one of ${providerNames.join(", ")}`);
  }
  const complaints = { existing: missingForExisting(around), kind: missingForKind(around), host: missingForHost(around) };
  const possible = forced === undefined ? providerNames : [forced];
  const chosen = possible.find((name) => complaints[name].length === 0);
  if (chosen !== undefined) return chosen;
  throw new Error(`no Kubernetes cluster can be had here:\n${possible.map((name) => `  - ${name}: ${complaints[name].join("; ")}\n`).join("")}`);
}

function missingForExisting({ kubeconfig }: Surroundings): readonly string[] {
  return kubeconfig === undefined ? ["set KUBECONFIG to the kubeconfig of a cluster whose network enforces NetworkPolicy"] : [];
}

function missingForKind({ dockerAnswers, hasKind }: Surroundings): readonly string[] {
  return [
    ...(dockerAnswers ? [] : ["no Docker daemon answers: install and start Docker (https://docs.docker.com/engine/install)"]),
    ...(hasKind ? [] : ["kind is not on PATH: install it (https://kind.sigs.k8s.io)"]),
  ];
}

function missingForHost({ isRoot, isDebian, hasGo }: Surroundings): readonly string[] {
  return [
    ...(isDebian ? [] : ["the machine is not a Debian (no apt-get and dpkg)"]),
    ...(isRoot ? [] : ["it needs root: run the command as root or with sudo"]),
    ...(hasGo ? [] : ["Go is not on PATH: install Go 1.26 or newer (https://go.dev/dl)"]),
  ];
}

async function observeSurroundings(config: TestConfig): Promise<Surroundings> {
  return {
    ...(config.cluster !== undefined && { forced: config.cluster }),
    ...(config.kubeconfig !== undefined && !isOwn(config.kubeconfig) && { kubeconfig: config.kubeconfig }),
    dockerAnswers: findProgram("docker") !== undefined && await succeeds(["docker", "version", "--format", "{{.Server.Version}}"], { timeoutMs: 10_000 }),
    hasKind: findProgram("kind") !== undefined,
    isRoot: process.getuid?.() === 0,
    isDebian: process.platform === "linux" && existsSync("/etc/debian_version") && findProgram("apt-get") !== undefined,
    hasGo: findProgram("go") !== undefined,
  };
}

/**
 * Whoever follows the README exports the kubeconfig that `up` has written; that is not a cluster given from outside,
 * unless it is the link that `up` has made to one.
 */
function isOwn(kubeconfig: string): boolean {
  if (!existsSync(kubeconfig)) return resolve(kubeconfig) === kubeconfigFile;
  return realpathSync(kubeconfig) === join(realpathSync(root), relative(root, kubeconfigFile));
}
