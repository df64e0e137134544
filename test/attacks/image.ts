import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureImages } from "../cluster/images.ts";
import { selectProvider } from "../cluster/selection.ts";
import { sandboxImage } from "../e2e/reach.ts";
import { silent } from "../progress.ts";
import { loadProgram } from "./program.ts";

// Sandbox images that an attacker has written: built FROM the release's own, as the docs say, with another entrypoint.

/** Datagrams from the first instruction on, for about two seconds: bash is there long before Node. */
const FIRST_SHOTS = `#!/bin/bash
exec 9<> <(:)
( for ((i = 0; i < 400; i++)); do echo x > /dev/udp/$1/$2; read -t 0.005 -u 9; done ) 2> /dev/null &
exec /usr/bin/tini -- node /opt/attack/attack.mjs "$@"
`;

function dockerfileOf(base: string, entrypoint: readonly string[]): string {
  return `FROM ${base}\nCOPY attack.mjs start.sh /opt/attack/\nENTRYPOINT ${JSON.stringify(entrypoint)}\n`;
}

/** Builds the image of a program of `programs`, and gives it to the cluster; its reference. The provider must be one that builds. */
export async function ensureAttackImage(program: "shooter" | "hostile", args: readonly string[]): Promise<string> {
  const context = mkdtempSync(join(tmpdir(), "paddock-attack-"));
  try {
    const entrypoint = program === "shooter" ? ["/bin/bash", "/opt/attack/start.sh", ...args] : ["/usr/bin/tini", "--", "node", "/opt/attack/attack.mjs"];
    writeFileSync(join(context, "Dockerfile"), dockerfileOf(await sandboxImage(), entrypoint));
    writeFileSync(join(context, "attack.mjs"), loadProgram(`${program}.ts`).text, { mode: 0o644 });
    writeFileSync(join(context, "start.sh"), FIRST_SHOTS, { mode: 0o755 });
    const name = `attack-${program}`;
    const reference = (await ensureImages(await selectProvider(), [{ name, context, dockerfile: "Dockerfile" }], silent)).get(name);
    if (reference === undefined) throw new Error(`there is no image ${name}`);
    return reference;
  } finally {
    rmSync(context, { recursive: true, force: true });
  }
}
