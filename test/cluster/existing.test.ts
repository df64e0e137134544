import assert from "node:assert/strict";
import { test } from "node:test";
import { silent } from "../progress.ts";
import { openExisting } from "./existing.ts";
import { ensureImages, probeImage } from "./images.ts";

test("without a registry, a cluster that is not ours gets a sentence with the commands", async () => {
  await assert.rejects(
    ensureImages(openExisting("/nowhere", undefined), [probeImage], silent),
    /PADDOCK_IMAGE_REGISTRY[^]*docker build -t REGISTRY\/FOLDER\/probe:[0-9a-f]{12} -f \S+\/Dockerfile \S+ && docker push/,
  );
});

test("with a registry, its references are taken as pushed", async () => {
  const images = await ensureImages(openExisting("/nowhere", "registry.example/paddock"), [probeImage], silent);
  assert.match(images.get("probe") ?? "", /^registry\.example\/paddock\/probe:[0-9a-f]{12}$/);
});
