import { randomBytes } from "node:crypto";
import { after } from "node:test";
import { kubectl, must } from "./kubectl.ts";

/** A namespace of the test's own, deleted when the test file is done. */
export async function openNamespace(prefix: string): Promise<string> {
  const name = `e2e-${prefix}-${randomBytes(3).toString("hex")}`;
  await must(["create", "namespace", name]);
  opened.push(name);
  return name;
}

// Registered on import: an `after` inside a `before` runs when that `before` ends, not when the file does.
const opened: string[] = [];
after(async () => {
  if (opened.length > 0) await kubectl(["delete", "namespace", ...opened, "--wait=false", "--ignore-not-found"]);
});
