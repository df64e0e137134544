import assert from "node:assert/strict";
import { test } from "node:test";
import { decideEgress, parseTarget } from "./decision.ts";

test("targets are read from CONNECT and from plain requests", () => {
  assert.deepEqual(parseTarget("CONNECT", "example.com:8443", ""), { host: "example.com", port: 8443 });
  assert.deepEqual(parseTarget("CONNECT", "[2001:db8::1]:443", ""), { host: "2001:db8::1", port: 443 });
  assert.deepEqual(parseTarget("GET", "example.com", "/a?b"), { host: "example.com", port: 80 });
  assert.deepEqual(parseTarget("GET", "", "http://example.com:8080/a"), { host: "example.com", port: 8080 });
  for (const authority of ["", ":443", "exa mple", "a:b:c"]) assert.equal(parseTarget("CONNECT", authority, ""), undefined, authority);
});

test("every host is refused, with the host, the Environment and what to change", () => {
  const { status, message } = decideEgress("prod", { host: "2001:db8::1", port: 443 });
  assert.equal(status, 403);
  assert.match(message, /\[2001:db8::1\]:443: Environment prod allows sandboxes no host/);
  assert.equal(decideEgress("prod", undefined).status, 400);
});
