import assert from "node:assert/strict";
import { test } from "node:test";
import { openLog } from "./log.ts";

test("a line is one line of plain characters, whatever it holds", () => {
  const lines: string[] = [];
  const error = "a\nb\u001b[2J\u009b31m\u202e\u007f€😀\u2028";
  openLog((line) => lines.push(line))("warn", "it failed", { error });
  assert.match(lines.join(""), /^[\x20-\x7e]+\n$/);
  assert.equal((JSON.parse(lines.join("")) as { error: string }).error, error);
});
