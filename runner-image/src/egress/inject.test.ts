import assert from "node:assert/strict";
import { test } from "node:test";
import type { Credential } from "@paddock/api/network";
import { hasCredential, injectedHeader, matchCredentials } from "./inject.ts";

const secretKeyRef = { name: "tokens", key: "token" };
const git: Credential = { name: "git", secretKeyRef, hosts: ["git.example.com"], inject: { basicUsername: "x-access-token" } };
const read: Credential = { name: "read", secretKeyRef, hosts: ["*.example.com"], methods: ["GET"], paths: ["/repos/acme"], inject: { header: "X-Token", format: "token={value};" } };
const api: Credential = { name: "api", secretKeyRef, hosts: ["api.example.com"] };

const namesFor = (host: string, method: string, path: string): string[] => matchCredentials([git, read, api], host, { method, path }).map(({ name }) => name);

test("a credential goes where host, methods and paths match", () => {
  assert.deepEqual(namesFor("git.example.com", "POST", "/x"), ["git"]);
  assert.deepEqual(namesFor("git.example.com", "GET", "/repos/acme/y?z"), ["git", "read"]);
  assert.deepEqual(namesFor("api.example.com", "GET", "/repos/acme"), ["read", "api"]);
  for (const [method, path] of [["POST", "/repos/acme"], ["GET", "/repos/acme2"], ["GET", "/repos"], ["GET", "/repos/acme/../other"], ["GET", "/repos/acme/%2e%2e/other"], ["get", "/repos/acme"]] as const) {
    assert.deepEqual(namesFor("other.example.com", method, path), [], `${method} ${path}`);
  }
  assert.deepEqual(namesFor("example.com", "GET", "/repos/acme"), []);
  assert.deepEqual(namesFor("api.example.com.evil.net", "GET", "/repos/acme"), []);
});

test("of two credentials for one header the first wins, whatever case it is written in", () => {
  const upper: Credential = { ...api, name: "upper", inject: { header: "AUTHORIZATION" } };
  assert.deepEqual(matchCredentials([upper, api], "api.example.com", { method: "GET", path: "/" }).map(({ name }) => name), ["upper"]);
  assert.deepEqual(matchCredentials([{ ...upper, methods: ["POST"] }, api], "api.example.com", { method: "GET", path: "/" }).map(({ name }) => name), ["api"]);
});

test("a header is made by format, or of user name and value", () => {
  assert.deepEqual(injectedHeader(api, "abc$&$1"), { name: "api", header: "Authorization", value: "Bearer abc$&$1" });
  assert.deepEqual(injectedHeader(read, "abc"), { name: "read", header: "X-Token", value: "token=abc;" });
  assert.deepEqual(injectedHeader(git, "pä:ss"), { name: "git", header: "Authorization", value: `Basic ${Buffer.from("x-access-token:pä:ss").toString("base64")}` });
});

test("a host has a credential when a pattern of one covers it", () => {
  assert.deepEqual(["git.example.com", "a.example.com"].map((host) => hasCredential([git], host)), [true, false]);
});
