import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { run } from "../command.ts";
import type { Binaries } from "./binaries.ts";
import { auditLog, clang, configDir, dnsIp, logDir, loopbackPlugin, nodeIp, nodeName, pidDir, pkiDir, podCidr, programDir, stateDir } from "./layout.ts";

const hyperComponents = [
  "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubectl", "helm",
] as const;

/** Lays out folders, programs, configuration files and the CNI under stateDir, which exists already. */
export function layOut(binaries: Binaries): void {
  for (const folder of [logDir, pidDir, configDir, programDir, join(stateDir, "cni/bin"), join(stateDir, "cni/conf"), join(auditLog, "..")]) {
    mkdirSync(folder, { recursive: true });
  }
  mkdirSync(pkiDir, { recursive: true, mode: 0o700 });
  for (const name of hyperComponents) symlinkSync(join(binaries.hyper, "hyper"), join(programDir, name));
  for (const name of ["containerd", "containerd-shim-runc-v2", "ctr", "runc"]) symlinkSync(join(binaries.cri, name), join(programDir, name));
  symlinkSync(clang, join(programDir, "clang"));
  symlinkSync(loopbackPlugin, join(stateDir, "cni/bin/loopback"));
  symlinkSync(join(binaries.cilium, "cilium-cni"), join(stateDir, "cni/bin/cilium-cni"));
  // In place before containerd starts: written later, it would race containerd's watcher for ever.
  copyFileSync(join(import.meta.dirname, "config/cilium.conflist"), join(stateDir, "cni/conf/cilium.conflist"));
  writeFileSync(join(configDir, "resolv.conf"), "");
  for (const name of ["containerd.toml", "kubelet.yaml", "proxy.yaml", "audit.yaml", "coredns.yaml", "volumes.yaml"]) {
    writeFileSync(join(configDir, name), renderConfig(name, join(binaries.hyper, "hyper")));
  }
}

function renderConfig(name: string, hyper: string): string {
  const values: Readonly<Record<string, string>> = {
    state: stateDir, hyper, node: nodeName, node_ip: nodeIp, dns_ip: dnsIp, pod_cidr: podCidr,
  };
  return fillIn(readFileSync(join(import.meta.dirname, "config", name), "utf8"), values);
}

/** Pure: puts values in the place of `@name@`; throws on a name that has none. */
export function fillIn(template: string, values: Readonly<Record<string, string>>): string {
  return template.replace(/@([a-z_]+)@/g, (_, name: string) => {
    const value = values[name];
    if (value === undefined) throw new Error(`the template names @${name}@, which has no value`);
    return value;
  });
}

/** Makes the image whose only program holds a pod's namespaces, as an archive that `ctr images import` takes; returns its path. */
export async function makePauseImage(binaries: Binaries): Promise<string> {
  const folder = mkdtempSync(join(stateDir, "pause-"));
  const archive = join(stateDir, "pause.tar");
  const tar = (...args: readonly string[]): Promise<string> => run(["tar", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", ...args]);
  await tar("-C", binaries.hyper, "-cf", join(folder, "layer.tar"), "pause");
  const diffId = createHash("sha256").update(readFileSync(join(folder, "layer.tar"))).digest("hex");
  writeFileSync(join(folder, "config.json"), JSON.stringify({
    architecture: process.arch === "x64" ? "amd64" : process.arch, os: "linux",
    config: { Entrypoint: ["/pause"], User: "65535:65535" },
    rootfs: { type: "layers", diff_ids: [`sha256:${diffId}`] },
  }));
  writeFileSync(join(folder, "manifest.json"), JSON.stringify([{ Config: "config.json", RepoTags: ["localhost/pause:1"], Layers: ["layer.tar"] }]));
  await tar("-C", folder, "-cf", archive, "manifest.json", "config.json", "layer.tar");
  rmSync(folder, { recursive: true });
  return archive;
}
