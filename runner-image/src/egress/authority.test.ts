import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { test } from "node:test";
import { connect, createServer } from "node:tls";
import type { PeerCertificate } from "node:tls";
import { inspect } from "node:util";
import type { TestContext } from "node:test";
import type { AddressInfo } from "node:net";
import { keepNewest, makeEgressAuthority } from "./authority.ts";
import type { EgressAuthority } from "./authority.ts";

const NOW = new Date("2026-11-21T12:00:00Z");

async function handshake(t: TestContext, authority: EgressAuthority, host: string): Promise<PeerCertificate> {
  const leaf = await authority.leafFor(host);
  const server = createServer({ SNICallback: (_, done) => done(null, leaf) }).listen(0, "127.0.0.1");
  t.after(() => server.close());
  await once(server, "listening");
  server.on("secureConnection", (socket) => socket.on("error", () => undefined).end());
  server.on("tlsClientError", () => undefined);
  const socket = connect({ port: (server.address() as AddressInfo).port, host: "127.0.0.1", servername: host, ca: authority.certificate });
  t.after(() => socket.destroy());
  await once(socket, "secureConnect");
  return socket.getPeerCertificate();
}

test("the authority signs servers only, says whose it is, and lives from an hour ago for eight days", async () => {
  const { certificate } = await makeEgressAuthority({ uid: "8c1f-uid", hosts: ["api.example.com"], now: NOW });
  const root = new X509Certificate(certificate);
  assert.equal(root.subject, "CN=Paddock session 8c1f-uid");
  assert.equal(root.issuer, root.subject);
  assert.equal(root.ca, true);
  assert.equal(root.verify(root.publicKey), true);
  assert.equal(root.validFromDate.toISOString(), "2026-11-21T11:00:00.000Z");
  assert.equal(root.validToDate.toISOString(), "2026-11-29T12:00:00.000Z");
  assert.deepEqual(root.publicKey.asymmetricKeyDetails, { namedCurve: "prime256v1" });
});

test("a client that trusts the authority accepts its certificate for a host", async (t) => {
  const authority = await makeEgressAuthority({ uid: "uid", hosts: ["api.example.com", "*.wild.example.org"], now: new Date() });
  for (const host of ["api.example.com", "a.b.wild.example.org"]) {
    const peer = await handshake(t, authority, host);
    assert.equal(peer.subjectaltname, `DNS:${host}`);
    assert.deepEqual(peer.ext_key_usage, ["1.3.6.1.5.5.7.3.1"]);
  }
});

test("a client refuses what the authority signs for a host that it was not made for", async (t) => {
  const authority = await makeEgressAuthority({ uid: "uid", hosts: ["api.example.com"], now: new Date() });
  await assert.rejects(handshake(t, authority, "api.example.net"), { message: "permitted subtree violation" });
  const none = await makeEgressAuthority({ uid: "uid", hosts: [], now: new Date() });
  await assert.rejects(handshake(t, none, "api.example.com"), { message: "permitted subtree violation" });
});

test("64 long names fit into the authority", async (t) => {
  const hosts = Array.from({ length: 64 }, (_, index) => `${`${"a".repeat(60)}.`.repeat(3)}${"b".repeat(50)}${index}.example.com`);
  const authority = await makeEgressAuthority({ uid: "uid", hosts, now: new Date() });
  assert.equal((await handshake(t, authority, hosts[63] ?? "")).subjectaltname, `DNS:${hosts[63]}`);
});

test("a certificate is made once for a host, however many ask at once", async () => {
  const authority = await makeEgressAuthority({ uid: "uid", hosts: ["*.example.com"], now: NOW });
  const [one, two, other] = await Promise.all([authority.leafFor("a.example.com"), authority.leafFor("a.example.com"), authority.leafFor("b.example.com")]);
  assert.equal(one, two);
  assert.notEqual(one, other);
});

test("only the newest are kept, and what failed is tried again", async () => {
  const made: string[] = [];
  const get = keepNewest(2, async (key) => {
    made.push(key);
    if (made.length === 1) throw new Error("once");
    return key;
  });
  await assert.rejects(get("a"), /once/);
  for (const key of ["a", "b", "a", "c", "a", "b"]) assert.equal(await get(key), key);
  assert.deepEqual(made, ["a", "a", "b", "c", "b"]);
});

test("what holds the key shows none of it", async () => {
  const authority = await makeEgressAuthority({ uid: "uid", hosts: ["api.example.com"], now: NOW });
  await authority.leafFor("api.example.com");
  assert.doesNotMatch(inspect(authority, { depth: 9, showHidden: true }) + JSON.stringify(authority), /PRIVATE/);
});
