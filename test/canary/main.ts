// Looks for planted secrets in a cluster with Paddock: `node test/canary/main.ts [--namespace NAME]… [--file FILE]… VALUES`. VALUES is a file with one value a
// line. Every object that the API server lists, logs, metrics, the gateway's store, environment and command lines of pods; the namespaces given besides
// the release's, files such as traces besides all that. Prints where and how each is written, never the value; exits with 1 when there is one.
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { describeError } from "../cluster/main.ts";
import { parseCanaries } from "./canaries.ts";
import { collectFiles, describeFound, scanCluster } from "./places.ts";

const { values, positionals } = parseArgs({ allowPositionals: true, options: { namespace: { type: "string", multiple: true, default: [] }, file: { type: "string", multiple: true, default: [] } } });

async function main(): Promise<number> {
  const [file, ...others] = positionals;
  if (file === undefined || others.length > 0) throw new Error("usage: node test/canary/main.ts [--namespace NAME]… [--file FILE]… VALUES");
  const canaries = parseCanaries(readFileSync(file, "utf8"));
  const { objects, places, found } = await scanCluster({ canaries, namespaces: values.namespace, more: collectFiles(values.file) });
  for (const one of found) console.log(describeFound(one));
  console.log(`${canaries.length} values, ${objects} objects, ${places} logs, files and processes: ${found.length === 0 ? "clean" : `${found.length} findings`}`);
  return found.length === 0 ? 0 : 1;
}

process.exitCode = await main().catch((error: unknown) => {
  console.error(describeError(error));
  return 2;
});
