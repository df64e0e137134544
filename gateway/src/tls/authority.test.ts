import assert from "node:assert/strict";
import { X509Certificate, createPrivateKey } from "node:crypto";
import { test } from "node:test";
import { issueServing, makeAuthority, parseAuthority } from "./authority.ts";

const NAMES = ["paddock-gateway", "paddock-gateway.paddock-system.svc", "localhost", "127.0.0.1"];
const now = new Date("2026-01-01T00:00:00Z");

test("the authority signs serving certificates that hold the names and nothing else", async () => {
  const authority = parseAuthority(await makeAuthority(now));
  const serving = await issueServing(authority, NAMES, now);
  const ca = new X509Certificate(authority.certificate);
  const leaf = new X509Certificate(serving.certificate);
  assert.equal(ca.ca, true);
  assert.equal(leaf.ca, false);
  assert.ok(leaf.verify(ca.publicKey) && leaf.checkIssued(ca));
  assert.ok(leaf.checkPrivateKey(createPrivateKey(serving.key)));
  for (const name of NAMES.slice(0, 3)) assert.equal(leaf.checkHost(name), name);
  assert.equal(leaf.checkIP("127.0.0.1"), "127.0.0.1");
  assert.equal(leaf.checkHost("example.org"), undefined);
  assert.deepEqual(leaf.keyUsage, ["1.3.6.1.5.5.7.3.1"]);
});

test("a serving certificate is renewed well before it expires, and the authority lives longer", async () => {
  const authority = parseAuthority(await makeAuthority(now));
  const serving = await issueServing(authority, NAMES, now);
  const expiresAt = Date.parse(new X509Certificate(serving.certificate).validTo);
  assert.ok(serving.renewAt > now.getTime() && serving.renewAt < expiresAt - 7 * 86_400_000);
  assert.ok(Date.parse(new X509Certificate(serving.certificate).validFrom) < now.getTime());
  assert.ok(Date.parse(new X509Certificate(authority.certificate).validTo) > expiresAt);
});

test("each authority has a key of its own, and what is no authority is refused", async () => {
  assert.notEqual(parseAuthority(await makeAuthority(now)).key, parseAuthority(await makeAuthority(now)).key);
  assert.throws(() => parseAuthority("{}"));
});
