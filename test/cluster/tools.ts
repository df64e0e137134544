import { realpathSync } from "node:fs";
import { join } from "node:path";
import { readTestConfig } from "../config.ts";
import type { Progress } from "../progress.ts";
import { publishTools, toolsDir } from "./checkout.ts";
import { findProgram } from "./command.ts";
import { buildUnit } from "./host/binaries.ts";

/** Links kubectl and helm into `.cluster/bin`: the machine's own, or where one is missing, both built from Go modules. */
export async function provideTools(progress: Progress): Promise<void> {
  const folders = readTestConfig().path.filter((folder) => folder !== toolsDir);
  const [kubectl, helm] = [findProgram("kubectl", folders), findProgram("helm", folders)];
  if (kubectl !== undefined && helm !== undefined) {
    publishTools({ kubectl: realpathSync(kubectl), helm: realpathSync(helm) });
    return;
  }
  if (!findProgram("go")) throw new Error("kubectl and helm must be on PATH (https://kubernetes.io/docs/tasks/tools, https://helm.sh), or Go to build them");
  const built = await buildUnit("hyper", progress);
  publishTools({ kubectl: join(built, "kubectl"), helm: join(built, "helm") });
}
