import { join } from "node:path";
import { snapshot, test } from "node:test";
import { KINDS } from "@paddock/api/group";
import { must } from "./kubectl.ts";

// What people see who ask the cluster about a kind. A change of it is a change of the API: look at it, then run this file with --test-update-snapshots.

snapshot.setDefaultSnapshotSerializers([(value) => value as string]);

for (const { plural } of Object.values(KINDS)) {
  test(`kubectl explain ${plural} --recursive`, async (t) => {
    const text = await must(["explain", plural, "--recursive"]);
    // metadata is Kubernetes' own, and grows with its versions.
    t.assert.fileSnapshot(text.replace(/^ {2}metadata\t[^]*?(?=^ {2}spec\t)/m, ""), join(import.meta.dirname, "explain", `${plural}.txt`));
  });
}
