import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { KINDS } from "@paddock/api/group";
import { findProgram, run } from "../cluster/command.ts";
import { GITOPS_CASES } from "../gitops/cases.ts";
import { ROOT } from "../steps.ts";
import { kubectl, must } from "./kubectl.ts";
import { finished } from "./lab.ts";
import { openNamespace } from "./namespace.ts";

// What GitOps tools do all day: apply again what is there, look at the difference, and judge the object.

const EXAMPLES = ["01-hello", "02-workspace", "04-schedule"].map((folder) => join(ROOT, "examples", folder));
const OURS = Object.values(KINDS).map(({ plural }) => `${plural}.paddock.dev`);

interface Applied {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly generation: number; readonly managedFields: readonly { readonly manager: string; readonly subresource?: string }[] };
}

const files = EXAMPLES.flatMap((folder) => readdirSync(folder).filter((name) => name.endsWith(".yaml")).map((name) => join(folder, name)));
const each = files.flatMap((file) => ["-f", file]);

for (const [way, flags] of [["client-side", []], ["server-side", ["--server-side"]]] as const) {
  describe(`${way} apply`, () => {
    let namespace = "";
    before(async () => {
      namespace = await openNamespace(`gitops-${way.slice(0, 1)}`);
      await must(["apply", ...flags, "-n", namespace, ...each]);
      await finished(namespace, "hello");
      await finished(namespace, "workspace");
    });

    const objects = async (): Promise<readonly Applied[]> => {
      const text = await must(["get", OURS.join(","), "-n", namespace, "-o", "json", "--show-managed-fields"]);
      return (JSON.parse(text) as { readonly items: readonly Applied[] }).items;
    };

    it("finds no difference to what was applied", async () => {
      const { code, stdout, stderr } = await kubectl(["diff", ...flags, "-n", namespace, ...each]);
      assert.equal(code, 0, `${stdout}${stderr}`);
    });

    it("changes nothing when it is repeated", async () => {
      const before = await objects();
      assert.ok(before.length >= 7, `${before.length} objects`);
      const answers = await must(["apply", ...flags, "-n", namespace, ...each]);
      const generations = (of: readonly Applied[]) => of.map(({ kind, metadata }) => `${kind} ${metadata.name} ${metadata.generation}`).sort();
      assert.deepEqual(generations(await objects()), generations(before), answers);
      if (way === "client-side") assert.deepEqual(answers.trim().split("\n").filter((line) => !line.endsWith(" unchanged")), []);
    });

    it("shares no field of spec with the operator", async () => {
      const writers = (await objects()).flatMap(({ kind, metadata }) =>
        metadata.managedFields.filter(({ manager, subresource }) => manager === "paddock-operator" && subresource !== "status").map(() => `${kind} ${metadata.name}`),
      );
      assert.deepEqual(writers, []);
    });
  });
}

describe("kstatus", () => {
  const go = findProgram("go");
  const folder = mkdtempSync(join(tmpdir(), "paddock-kstatus-"));
  after(() => rmSync(folder, { recursive: true }));

  it("says of every state what our table says", { skip: go === undefined ? "Go is not installed, and kstatus is a Go library" : false }, async () => {
    const program = join(folder, "kstatus");
    await run([go ?? "", "build", "-o", program, "."], { cwd: join(ROOT, "test/gitops/kstatus") });
    const words = (await run([program], { input: JSON.stringify(GITOPS_CASES.map(({ object }) => object)) })).trim().split("\n");
    assert.deepEqual(
      GITOPS_CASES.map(({ name }, index) => `${name}: ${words[index] ?? ""}`),
      GITOPS_CASES.map(({ name, kstatus }) => `${name}: ${kstatus}`),
    );
  });
});
