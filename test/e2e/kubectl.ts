import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { kubeconfigFile, toolsDir } from "../cluster/checkout.ts";

/** Where `npm run cluster:up` puts the kubeconfig of the cluster that the tests use. */
export const KUBECONFIG = kubeconfigFile;

const bundled = join(toolsDir, "kubectl");

/** The kubectl the cluster came with, else the one on the PATH. Asked for each time: the cluster may have come up since. */
export function kubectlProgram(): string {
  return existsSync(bundled) ? bundled : "kubectl";
}

export interface Output {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs kubectl with an argument vector and optional standard input. Never throws on a non-zero exit. */
export function kubectl(args: readonly string[], options: { readonly input?: string | Uint8Array; readonly kubeconfig?: string } = {}): Promise<Output> {
  const child = spawn(kubectlProgram(), ["--kubeconfig", options.kubeconfig ?? KUBECONFIG, ...args], { stdio: ["pipe", "pipe", "pipe"] });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => err.push(chunk));
  child.stdin.on("error", () => undefined); // kubectl may exit before it has read its input
  child.stdin.end(options.input ?? "");
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      resolve({ code: code ?? 1, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() });
    });
  });
}

/** Standard output of a kubectl command that must succeed; throws with what kubectl said otherwise. */
export async function must(args: readonly string[], options: { readonly input?: string } = {}): Promise<string> {
  const { code, stdout, stderr } = await kubectl(args, options);
  if (code !== 0) throw new Error(`kubectl ${args.join(" ")}: ${stderr.trim() || `exit ${code}`}`);
  return stdout;
}

/** An object as JSON, or undefined when it does not exist. */
export async function get<T>(resource: string, name: string, namespace: string): Promise<T | undefined> {
  const { code, stdout, stderr } = await kubectl(["get", resource, name, "-n", namespace, "-o", "json"]);
  if (code === 0) return JSON.parse(stdout) as T;
  if (stderr.includes("NotFound")) return undefined;
  throw new Error(`kubectl get ${resource} ${name}: ${stderr.trim()}`);
}

export async function list<T>(resource: string, namespace: string, selector?: string): Promise<T[]> {
  const text = await must(["get", resource, "-n", namespace, "-o", "json", ...(selector === undefined ? [] : ["-l", selector])]);
  return (JSON.parse(text) as { items: T[] }).items;
}
