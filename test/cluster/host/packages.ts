import { run } from "../command.ts";
import type { Progress } from "../../progress.ts";

/** What the cluster needs of Debian: CNI's loopback, Cilium's tools, image building, and a C compiler for runc's seccomp. */
const packages = [
  "ca-certificates", "containernetworking-plugins", "iproute2", "iptables", "nftables", "openssl", "procps", "mount", "clang-19",
  "buildah", "mmdebstrap", "gcc", "libc6-dev", "libseccomp-dev", "pkg-config",
] as const;

/** Installs the packages that are missing; asks the registry for nothing when none is. */
export async function installPackages(progress: Progress): Promise<void> {
  const missing = missingPackages(await installedPackages());
  if (missing.length === 0) return;
  await progress.during(`apt: ${missing.join(" ")}`, async () => {
    const env = { DEBIAN_FRONTEND: "noninteractive" };
    await run(["apt-get", "update", "-qq"], { env });
    await run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", ...missing], { env, timeoutMs: 1_200_000 });
  });
}

/** Pure. `installed` are names as dpkg prints them. */
export function missingPackages(installed: ReadonlySet<string>): readonly string[] {
  return packages.filter((name) => !installed.has(name));
}

async function installedPackages(): Promise<ReadonlySet<string>> {
  const lines = (await run(["dpkg-query", "--show", "--showformat=${db:Status-Abbrev} ${Package}\\n"])).split("\n");
  return new Set(lines.filter((line) => line.startsWith("ii")).map((line) => line.split(/\s+/)[1] ?? ""));
}
