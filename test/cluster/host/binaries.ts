import { createHash } from "node:crypto";
import { cpSync, existsSync, globSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findProgram, run } from "../command.ts";
import { withLock } from "../lock.ts";
import { readTestConfig } from "../../config.ts";
import type { Progress } from "../../progress.ts";

/** One Go module of this folder and how its programs are built. */
interface Unit {
  name: "hyper" | "cilium" | "cri";
  builds: readonly Build[];
  /** What belongs to the programs besides them. */
  extras?: (moduleDir: string, target: string) => Promise<void>;
}
interface Build { cgo: "0" | "1"; tags: string; ldflags: string; packages: readonly string[] }

/** Folders of built programs. */
export interface Binaries { hyper: string; cilium: string; cri: string }

const kubernetesVersion = "v1.36.3";
const containerd = "github.com/containerd/containerd/v2";
const stripped = "-s -w";

const units: readonly Unit[] = [
  {
    name: "hyper",
    builds: [{ cgo: "0", tags: "", ldflags: `${stripped} -X k8s.io/component-base/version.gitVersion=${kubernetesVersion}`, packages: [".", "./pause"] }],
    extras: async (_, target) => {
      for (const tool of ["kubectl", "helm"]) symlinkSync("hyper", join(target, tool));
    },
  },
  {
    name: "cilium",
    builds: [{ cgo: "0", tags: "", ldflags: stripped, packages: ["github.com/cilium/cilium/daemon", "github.com/cilium/cilium/plugins/cilium-cni"] }],
    extras: copyCiliumSources,
  },
  {
    name: "cri",
    builds: [
      {
        cgo: "0", tags: "no_btrfs,no_devmapper,no_zfs", ldflags: `${stripped} -X ${containerd}/version.Version=v2.4.2`,
        packages: [`${containerd}/cmd/containerd`, `${containerd}/cmd/containerd-shim-runc-v2`, `${containerd}/cmd/ctr`],
      },
      { cgo: "1", tags: "seccomp", ldflags: `${stripped} -X main.version=1.5.2`, packages: ["github.com/opencontainers/runc"] },
    ],
  },
];

/** The CRDs that the Cilium agent waits for; there is no Cilium operator to create them. */
const ciliumCrds = [
  "v2/ciliumnodes", "v2/ciliumidentities", "v2/ciliumendpoints", "v2/ciliumcidrgroups", "v2/ciliumnetworkpolicies",
  "v2/ciliumclusterwidenetworkpolicies", "v2/ciliumloadbalancerippools", "v2alpha1/ciliuml2announcementpolicies", "v2alpha1/ciliumpodippools",
] as const;

/**
 * Builds every program that is not in the cache yet: ten minutes on two cores from nothing, milliseconds afterwards.
 * The cache is keyed by what goes in (module files, flags, Go version), so checkouts share it.
 */
export async function buildBinaries(progress: Progress): Promise<Binaries> {
  const [hyper, cilium, cri] = [await buildUnit("hyper", progress), await buildUnit("cilium", progress), await buildUnit("cri", progress)];
  return { hyper, cilium, cri };
}

/** Builds one Go module's programs unless the cache has them; returns their folder. */
export async function buildUnit(name: Unit["name"], progress: Progress): Promise<string> {
  const unit = units.find((candidate) => candidate.name === name);
  if (!unit) throw new Error(`no Go module is called ${name}`);
  if (!findProgram("go")) throw new Error("Go is needed to build the cluster's programs: put Go 1.26 or newer on PATH (https://go.dev/dl)");
  const moduleDir = join(import.meta.dirname, name);
  const cache = join(readTestConfig().cacheDir, "programs");
  const target = join(cache, `${name}-${unitKey(unit, moduleFiles(moduleDir), await run(["go", "version"], { cwd: moduleDir }))}`);
  if (existsSync(target)) return target;
  await withLock(join(cache, `${name}.lock`), progress, async () => {
    for (const rest of globSync(`${name}-*.building-*`, { cwd: cache })) rmSync(join(cache, rest), { recursive: true }); // of builds that were killed
    if (!existsSync(target)) await progress.during(`go build ${name} (minutes, once per version)`, () => buildInto(unit, moduleDir, target));
  });
  return target;
}

async function buildInto(unit: Unit, moduleDir: string, target: string): Promise<void> {
  const building = mkdtempSync(`${target}.building-`);
  try {
    for (const build of unit.builds) await goBuild(build, moduleDir, building);
    await unit.extras?.(moduleDir, building);
    renameSync(building, target); // whole or not at all
  } finally {
    rmSync(building, { recursive: true, force: true });
  }
}

async function goBuild(build: Build, moduleDir: string, target: string): Promise<void> {
  await run(
    ["go", "build", "-trimpath", "-buildvcs=false", "-tags", build.tags, "-ldflags", build.ldflags, "-o", `${target}/`, ...build.packages],
    { cwd: moduleDir, env: { CGO_ENABLED: build.cgo }, timeoutMs: 3_600_000 },
  );
}

async function copyCiliumSources(moduleDir: string, target: string): Promise<void> {
  const source = (await run(["go", "list", "-m", "-f", "{{.Dir}}", "github.com/cilium/cilium"], { cwd: moduleDir })).trim();
  renameSync(join(target, "daemon"), join(target, "cilium-agent"));
  mkdirSync(join(target, "lib"));
  cpSync(join(source, "bpf"), join(target, "lib", "bpf"), { recursive: true });
  await run(["chmod", "-R", "u+w", join(target, "lib")]); // Go's module cache is read-only, and so would be its copy
  const crds = ciliumCrds.map((name) => readFileSync(join(source, "pkg/k8s/apis/cilium.io/client/crds", `${name}.yaml`), "utf8"));
  writeFileSync(join(target, "crds.yaml"), crds.join("\n---\n"));
}

/** The files of a Go module that decide what comes out of it, with their contents. */
function moduleFiles(moduleDir: string): readonly [string, string][] {
  const names = readdirSync(moduleDir, { recursive: true, encoding: "utf8" }).filter((name) => /\.go$|^go\.(mod|sum)$/.test(name)).sort();
  return names.map((name) => [name, readFileSync(join(moduleDir, name), "utf8")]);
}

/** Pure: 16 hex digits over everything that goes into a build. */
export function unitKey(unit: Pick<Unit, "builds">, files: readonly [string, string][], goVersion: string): string {
  const inputs = { builds: unit.builds, files, goVersion: goVersion.trim(), crds: ciliumCrds };
  return createHash("sha256").update(JSON.stringify(inputs)).digest("hex").slice(0, 16);
}
