import { existsSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";

// npm run bench -- NAME: one benchmark; each is a file of this folder that exports `run`.
const NOT_BENCHES = new Set(["main.ts", "figures.ts"]);
const names = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts") && !NOT_BENCHES.has(file))
  .map((file) => basename(file, ".ts"));

const name = process.argv[2];
if (name === undefined || !names.includes(name)) {
  console.error(`npm run bench -- NAME, with NAME one of: ${names.join(", ")}${name === undefined ? "" : `; there is no "${name}"`}`);
  process.exit(2);
}
const bench = (await import(`./${name}.ts`)) as { run(): Promise<void>; isLocal?: boolean };
if (bench.isLocal !== true && !existsSync(join(import.meta.dirname, "../../.cluster/kubeconfig"))) {
  console.error("no cluster is up: run npm run cluster:up first");
  process.exit(2);
}
await bench.run();
