import { createHash } from "node:crypto";
import { FORGE_SECRET } from "../../forge/deploy.ts";
import type { Attack, Outcome } from "../attack.ts";
import { loadProgram, runOrdinary } from "../program.ts";
import { reportOf } from "../stage.ts";
import type { Stage } from "../stage.ts";

// What a sandbox holds that is worth anything: nothing. The program is told sums of the secrets, never the secrets.

const BASE = 16_777_619;

/** What the program looks for. Pure. */
export function soughtOf(value: string): { readonly length: number; readonly sum: number; readonly sha256: string } {
  const bytes = Buffer.from(value);
  const sum = bytes.reduce((total, byte) => (Math.imul(total, BASE) + byte) | 0, 0);
  return { length: bytes.length, sum, sha256: createHash("sha256").update(bytes).digest("hex") };
}

const PLACES: Readonly<Record<string, string>> = {
  environment: "a secret in environment or command line of any process",
  files: "a secret in any file that can be read",
  memory: "a secret in the memory of any process that can be read",
  account: "a service account's token where pods have it",
  token: "a token of any kind in any file",
  key: "a private key in any file",
  mount: "a mounted Secret",
};

const request = ({ canaries }: Stage) => ({ sought: canaries.map(({ value }) => soughtOf(value)) });

/** A pod that has all that sandboxes have not. */
async function generous(stage: Stage): Promise<Readonly<Record<string, unknown>>> {
  const { result } = await runOrdinary(stage, {
    name: "hunt-generous", program: loadProgram("hunt.ts", { ...request(stage), child: true }), spec: { automountServiceAccountToken: true },
    container: { env: [{ name: "TOKEN", valueFrom: { secretKeyRef: { name: FORGE_SECRET.name, key: FORGE_SECRET.key } } }] },
    mounts: [{ name: "token", mountPath: "/run/token", readOnly: true }, { name: "tls", mountPath: "/run/secret-tls", readOnly: true }],
    volumes: [{ name: "token", secret: { secretName: FORGE_SECRET.name } }, { name: "tls", secret: { secretName: "forge-tls" } }],
  });
  return result;
}

function hunt(key: string, name: string): Attack {
  const outcome = (report: Readonly<Record<string, unknown>>): Outcome => ({ succeeded: report[key] === true, how: report[key] === true ? "found" : "not there" });
  return {
    area: "credentials", name,
    attempt: async (stage) => outcome(await stage.once("hunt in a sandbox", async () => reportOf(await stage.hijack({ name: "hunt", environment: "online", program: loadProgram("hunt.ts", request(stage)) })))),
    control: async (stage) => outcome(await stage.once("hunt in a generous pod", () => generous(stage))),
  };
}

export const credentialAttacks: readonly Attack[] = Object.entries(PLACES).map(([key, name]) => hunt(key, name));
