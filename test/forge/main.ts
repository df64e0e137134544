// The forge in its pod: node main.ts [--run FOLDER]. FOLDER holds tls/tls.crt, tls/tls.key, and token/value, which may come and change.
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { FORGE_PORTS } from "./ports.ts";
import { makeRepository } from "./repository.ts";
import { createForge } from "./server.ts";

const { values } = parseArgs({ options: { run: { type: "string", default: "/run/forge" } } });
const folder = mkdtempSync(join(tmpdir(), "forge-"));
makeRepository(folder);

function readToken(): string | undefined {
  try {
    return readFileSync(join(values.run, "token/value"), "utf8").trim();
  } catch {
    return undefined; // there is none yet
  }
}

const certificate = { cert: readFileSync(join(values.run, "tls/tls.crt"), "utf8"), key: readFileSync(join(values.run, "tls/tls.key"), "utf8") };
const forge = createForge(certificate, { token: readToken, folder });
forge.https.listen(FORGE_PORTS.https);
forge.http2.listen(FORGE_PORTS.http2);
forge.http.listen(FORGE_PORTS.http);
forge.control.listen(FORGE_PORTS.control);
// As process 1 nothing else ends it.
for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => process.exit(0));
