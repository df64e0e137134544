import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { KINDS } from "@paddock/api/group";
import { LuaFactory } from "wasmoon";
import { parse } from "yaml";
import { ROOT } from "../steps.ts";
import { GITOPS_CASES } from "./cases.ts";

// The health scripts as Argo CD runs them: `obj` is the object as a table, the script returns status and message. They are read from the
// ConfigMap that people apply.

const { data } = parse(readFileSync(join(ROOT, "gitops/argocd/argocd-cm.yaml"), "utf8")) as { readonly data: Readonly<Record<string, string>> };
const settingOf = (kind: string): string => `resource.customizations.health.paddock.dev_${kind}`;

const lua = await new LuaFactory().createEngine();
after(() => lua.global.close());

/** A JSON value as a Lua table constructor. */
function literal(value: unknown): string {
  if (value === null || value === undefined) return "nil";
  if (typeof value !== "object") return JSON.stringify(value);
  if (Array.isArray(value)) return `{${value.map(literal).join(", ")}}`;
  return `{${Object.entries(value).map(([name, member]) => `[${JSON.stringify(name)}] = ${literal(member)}`).join(", ")}}`;
}

async function healthOf(object: object): Promise<{ readonly status: string; readonly message: string }> {
  const { kind } = object as { readonly kind: string };
  const health = (await lua.doString(`obj = ${literal(object)}\n${data[settingOf(kind)] ?? ""}`)) as { status: string; message: string };
  return { status: health.status, message: health.message };
}

describe("Argo CD", () => {
  it("has a script for every kind", () => {
    assert.deepEqual(Object.keys(data).sort(), Object.keys(KINDS).map(settingOf).sort());
  });

  for (const { name, object, argo } of GITOPS_CASES) {
    it(`${name}: ${argo}`, async () => {
      const health = await healthOf(object);
      assert.equal(health.status, argo);
      assert.match(health.message, /\S/);
    });
  }

  it("shows what the condition says", async () => {
    const failed = GITOPS_CASES.find(({ name }) => name === "Session, failed");
    assert.equal((await healthOf(failed?.object ?? {})).message, "ModelError: Why.");
  });
});
