import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { spanIdOf } from "./ids.ts";

test("a span's id is the start of a digest over what it is the span of", () => {
  assert.equal(spanIdOf("u", ["run"]), createHash("sha256").update("u\nrun").digest("hex").slice(0, 16));
  assert.equal(spanIdOf("u", ["model", 2, 1]), createHash("sha256").update("u\nmodel\n2\n1").digest("hex").slice(0, 16));
});

test("no two spans of a session share an id, nor do two sessions", () => {
  const keys = [["run"], ["model", 1, 1], ["model", 1, 2], ["model", 2, 1], ["model", 11, 1], ["model", 1, 11], ["tool", "root/1/0"], ["approval", "root/1/0"], ["tool", "root/1/1"]] as const;
  const ids = ["u", "v"].flatMap((uid) => keys.map((key) => spanIdOf(uid, key)));
  assert.equal(new Set(ids).size, ids.length);
  for (const id of ids) assert.match(id, /^[0-9a-f]{16}$/);
});
