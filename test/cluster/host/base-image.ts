import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "../checkout.ts";
import { run } from "../command.ts";
import type { Progress } from "../../progress.ts";
import { buildah, hasImage } from "./buildah.ts";

// No image registry is needed: `node:24-slim` is stood in for by Debian's own packages and the npm packages `node` and `npm`.

const standsInFor = "docker.io/library/node:24-slim";
const npmVersion = "11.21.2";
/** What slim images leave out: documentation and translations. */
const leftOut = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*"];
const trusted = "/etc/ssl/certs/ca-certificates.crt";

/** Makes the stand-in unless it is there; returns what identifies its content. */
export async function ensureBaseImage(progress: Progress): Promise<string> {
  const key = baseKey(readFileSync(import.meta.filename, "utf8"), process.version, readFileSync(trusted));
  const name = `localhost/paddock-base:${key}`;
  if (!(await hasImage(name))) await progress.during(`base image: Debian and Node ${process.version} in place of node:24-slim`, () => makeBase(name));
  await buildah(["tag", name, standsInFor]);
  return key;
}

/** Pure: what the base is made from; it trusts what this machine trusts, or npm in a build could not reach its registry. */
export function baseKey(recipe: string, nodeVersion: string, trust: Buffer): string {
  return createHash("sha256").update(recipe).update(`\0${nodeVersion}\0`).update(trust).digest("hex").slice(0, 16);
}

async function makeBase(name: string): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), "paddock-base-"));
  try {
    await run(["npm", "install", "--silent", "--no-save", "--no-audit", "--no-fund", "--prefix", scratch, `npm@${npmVersion}`], { cwd: scratch });
    const archive = join(scratch, "debian.tar");
    const slim = leftOut.map((path) => `--dpkgopt=path-exclude=${path}`);
    await run(["mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates", ...slim, "bookworm", archive], { cwd: scratch });
    await assemble(name, archive, join(scratch, "node_modules/npm"));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function assemble(name: string, debian: string, npm: string): Promise<void> {
  const container = (await buildah(["from", "scratch"])).trim();
  const within = (...argv: readonly string[]): Promise<string> => buildah(["run", "--isolation", "chroot", container, "--", ...argv]);
  try {
    await buildah(["add", "--quiet", container, debian, "/"]);
    await buildah(["copy", "--quiet", container, nodeProgram(), "/usr/local/bin/node"]);
    await buildah(["copy", "--quiet", container, npm, "/usr/local/lib/node_modules/npm"]);
    await buildah(["copy", "--quiet", container, trusted, trusted]);
    await within("useradd", "--create-home", "--uid", "1000", "--shell", "/bin/bash", "node");
    await within("mkdir", "-p", "/usr/local/etc");
    await within("touch", "/usr/local/etc/npmrc"); // builds see the machine's settings there
    for (const tool of ["npm", "npx"]) await within("ln", "-s", `../lib/node_modules/npm/bin/${tool}-cli.js`, `/usr/local/bin/${tool}`);
    await buildah([
      "config", "--env", `NODE_EXTRA_CA_CERTS=${trusted}`, "--env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      "--cmd", "node", container,
    ]);
    await buildah(["commit", "--quiet", container, name]);
  } finally {
    await buildah(["rm", container]);
  }
}

/** The Node that runs this: the npm package `node` of the checkout, a program without further files. */
function nodeProgram(): string {
  return realpathSync(join(root, "node_modules/node/bin/node"));
}
