import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { arrangeLayout } from "./image-import.ts";

test("an image's layout holds its manifest and the layers that are not there yet", () => {
  const scratch = mkdtempSync(join(tmpdir(), "paddock-layout-"));
  try {
    const [known, fresh] = ["a".repeat(64), "b".repeat(64)];
    mkdirSync(join(scratch, "exported"));
    for (const [name, text] of [[known, "known"], [fresh, "fresh"], ["version", "1"], ["manifest.json", '{"mediaType":"m"}']] as const) {
      writeFileSync(join(scratch, "exported", name), text);
    }
    arrangeLayout("r/x:1", join(scratch, "exported"), join(scratch, "layout"), new Set([`sha256:${known}`]));
    const index = JSON.parse(readFileSync(join(scratch, "layout/index.json"), "utf8")) as { manifests: { digest: string; annotations: unknown }[] };
    const digest = index.manifests[0]?.digest.replace("sha256:", "") ?? "";
    assert.deepEqual(readdirSync(join(scratch, "layout/blobs/sha256")).sort(), [fresh, digest].sort());
    assert.deepEqual(index.manifests[0]?.annotations, { "io.containerd.image.name": "r/x:1" });
  } finally {
    rmSync(scratch, { recursive: true });
  }
});
