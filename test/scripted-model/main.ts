// The scripted model server: node main.ts [--fixtures FOLDER] [--key FILE] [--port N]
import { parseArgs } from "node:util";
import { readScripts } from "./script.ts";
import { createScriptedModel } from "./server.ts";

const { values } = parseArgs({
  options: {
    fixtures: { type: "string", default: "/fixtures" },
    key: { type: "string", default: "/run/key/value" },
    port: { type: "string", default: "8080" },
  },
});

function print(line: string): void {
  process.stdout.write(`${new Date().toISOString()} ${line}\n`);
}

try {
  const scripts = readScripts(values.fixtures);
  const { server } = await createScriptedModel(scripts, values.key, print);
  server.listen(Number(values.port), () => {
    print(`${scripts.length} scripts from ${values.fixtures}, listening on ${values.port}`);
  });
} catch (error) {
  print(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
// As process 1 nothing else ends it.
for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => process.exit(0));
