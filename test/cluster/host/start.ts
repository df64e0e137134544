import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { kubectl, root } from "../checkout.ts";
import { run, succeeds, until } from "../command.ts";
import type { Progress } from "../../progress.ts";
import type { Binaries } from "./binaries.ts";
import { makeAuthority, makeClients } from "./certificates.ts";
import { apiServer, buildCilium, containerd, controlPlane, etcd } from "./components.ts";
import { layOut, makePauseImage } from "./configuration.ts";
import { deadDaemons, logTail, startDaemon } from "./daemon.ts";
import { makeFence } from "./fence.ts";
import { adminKubeconfig, configDir, containerdSocket, logDir, nodeName, programDir, stateDir } from "./layout.ts";
import { prepareMachine, rememberMachine } from "./machine.ts";
import { makeSink } from "../sink.ts";
import { makeVolumes } from "./volumes.ts";

const versionFile = join(stateDir, "version");

/** Starts everything, in the order in which each needs the other; takes eight to ten seconds. Nothing of an older cluster may be left. */
export async function startCluster(binaries: Binaries, version: string, progress: Progress): Promise<void> {
  mkdirSync(stateDir, { recursive: true });
  await rememberMachine();
  writeFileSync(join(stateDir, "checkout"), `${root}\n`);
  layOut(binaries);
  await prepareMachine();
  await makeSink();
  await makeFence();
  startDaemon(etcd);
  startDaemon(containerd);
  await progress.during("etcd, containerd, API server", () => startApiServer(binaries));
  for (const daemon of controlPlane) startDaemon(daemon);
  await progress.during("controllers, kubelet, pod network", () => startNetwork(binaries));
  await kubectl(adminKubeconfig, ["create", "--validate=false", "-f", join(configDir, "coredns.yaml")]);
  await makeVolumes();
  await progress.during("node ready", () => answers("the node is not ready", "cilium", ["wait", "--for=condition=Ready", `node/${nodeName}`, "--timeout=1s"]));
  await progress.during("cluster DNS ready", () => answers("CoreDNS is not ready", "kubelet", coreDnsReady));
  writeFileSync(versionFile, version);
}

/** What there is: nothing, a cluster that works and is of this version, or a reason to start afresh. */
export async function observeCluster(version: string): Promise<"absent" | "healthy" | { broken: string }> {
  if (!(await succeeds(["test", "-e", stateDir]))) return "absent";
  const running = startedVersion();
  if (running === undefined) return { broken: "an earlier start did not come to its end" };
  const dead = deadDaemons();
  if (dead.length > 0) return { broken: `${dead.join(", ")} ${dead.length === 1 ? "does" : "do"} not run any more` };
  if (running !== version) return { broken: "what runs was started by another version of test/cluster/host" };
  if (!(await answersNow(["get", "--raw", "/readyz"]))) return { broken: "its API server does not answer" };
  const ready = await answersNow(["wait", "--for=condition=Ready", `node/${nodeName}`, "--timeout=10s"]) && await answersNow(coreDnsReady);
  return ready ? "healthy" : { broken: "its node or its DNS is not ready" };
}

const coreDnsReady = ["-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=2s"];

async function startApiServer(binaries: Binaries): Promise<void> {
  await makeAuthority();
  startDaemon(apiServer);
  const ctr = [join(programDir, "ctr"), "--address", containerdSocket];
  await Promise.all([
    makeClients(),
    until(() => succeeds([...ctr, "version"]), 30_000, () => complaint("containerd does not answer", "containerd")),
  ]);
  await run([...ctr, "--namespace", "k8s.io", "images", "import", await makePauseImage(binaries)]);
  await answers("the API server does not answer", "kube-apiserver", ["get", "--raw", "/readyz"]);
}

/** Cilium's types must be established before its agent starts, or it gives up. */
async function startNetwork(binaries: Binaries): Promise<void> {
  await kubectl(adminKubeconfig, ["create", "--validate=false", "-f", join(binaries.cilium, "crds.yaml")]);
  await kubectl(adminKubeconfig, ["wait", "--for=condition=Established", "crd", "--all", "--timeout=20s"]);
  startDaemon(buildCilium(binaries));
}

async function answers(problem: string, daemon: string, args: readonly string[]): Promise<void> {
  await until(() => answersNow(args), 90_000, () => complaint(problem, daemon));
}

function answersNow(args: readonly string[]): Promise<boolean> {
  return kubectl(adminKubeconfig, args, { timeoutMs: 15_000 }).then(() => true, () => false);
}

function complaint(problem: string, daemon: string): string {
  const dead = deadDaemons();
  const ended = dead.length > 0 ? ` (ended: ${dead.join(", ")})` : "";
  return `${problem}${ended}; all logs are in ${logDir}. The last lines of ${dead[0] ?? daemon}:\n${logTail(dead[0] ?? daemon)}`;
}

function startedVersion(): string | undefined {
  try {
    return readFileSync(versionFile, "utf8");
  } catch {
    return undefined;
  }
}
