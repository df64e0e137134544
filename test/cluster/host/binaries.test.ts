import assert from "node:assert/strict";
import { test } from "node:test";
import { unitKey } from "./binaries.ts";

const build = { cgo: "0", tags: "", ldflags: "-s", packages: ["."] } as const;
const files: readonly [string, string][] = [["go.mod", "module x"], ["main.go", "package main"]];

test("a program's key changes with its sources, its flags and Go, and with nothing else", () => {
  const key = unitKey({ builds: [build] }, files, "go version go1.26.8 linux/amd64\n");
  assert.match(key, /^[0-9a-f]{16}$/);
  assert.equal(unitKey({ builds: [{ ...build }] }, [...files], "go version go1.26.8 linux/amd64"), key);
  assert.notEqual(unitKey({ builds: [{ ...build, tags: "seccomp" }] }, files, "go version go1.26.8 linux/amd64"), key);
  assert.notEqual(unitKey({ builds: [build] }, [["go.mod", "module y"]], "go version go1.26.8 linux/amd64"), key);
  assert.notEqual(unitKey({ builds: [build] }, files, "go version go1.27.0 linux/amd64"), key);
});
