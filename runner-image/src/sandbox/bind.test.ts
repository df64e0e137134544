import assert from "node:assert/strict";
import { test } from "node:test";
import { MAX_PROBES } from "@paddock/api/wire/sandbox";
import { buildProbe, parseBindReply, parseNameServers } from "./bind.ts";

test("a sandbox tries the gateway where this process has it, the cluster's name servers and the canaries", () => {
  const targets = buildProbe({ gateway: { host: "10.96.0.20", port: 8443 }, dnsServers: ["10.96.0.10", "fd00::10"], canaries: [{ host: "192.0.2.1", port: 80 }] });
  assert.deepEqual(targets, [
    { name: "gateway", host: "10.96.0.20", port: 8443, protocol: "tcp" },
    { name: "cluster DNS", host: "10.96.0.10", port: 53, protocol: "dns" },
    { name: "cluster DNS", host: "fd00::10", port: 53, protocol: "dns" },
    { name: "canary", host: "192.0.2.1", port: 80, protocol: "tcp" },
  ]);
});

test("what this process finds on its own loopback says nothing about a sandbox; a canary there is one of a test", () => {
  const canaries = [{ host: "127.0.0.1", port: 9 }];
  assert.deepEqual(buildProbe({ gateway: { host: "127.0.0.1", port: 8443 }, dnsServers: ["127.0.0.53", "::1"], canaries }), [{ name: "canary", ...canaries[0], protocol: "tcp" }]);
  assert.deepEqual(buildProbe({ gateway: undefined, dnsServers: [], canaries: [] }), []);
});

test("targets leave room for the tool server's own", () => {
  const canaries = Array.from({ length: 100 }, (_, n) => ({ host: "192.0.2.1", port: n + 1 }));
  assert.ok(buildProbe({ gateway: undefined, dnsServers: [], canaries }).length <= MAX_PROBES / 2);
});

test("name servers are read as resolv.conf has them", () => {
  assert.deepEqual(parseNameServers("search team.svc.cluster.local\nnameserver 10.96.0.10\n  nameserver\tfd00::10 # two\nnameserver fe80::1%eth0\nnameserver dns.example.com\n#nameserver 192.0.2.1\noptions ndots:5\n"), ["10.96.0.10", "fd00::10"]);
  assert.deepEqual(parseNameServers(""), []);
});

test("a reply is taken member by member; one that tried nothing proves nothing", () => {
  const isolation = { probed: ["gateway (tcp 10.96.0.20:8443)"], open: [] };
  assert.deepEqual(parseBindReply({ workspace: "/workspace", protocol: 1, isolation, more: true }), { workspace: "/workspace", protocol: 1, isolation });
  assert.deepEqual(parseBindReply({ workspace: "/workspace", protocol: 1 }), { workspace: "/workspace", protocol: 1 });
  assert.deepEqual(parseBindReply({ workspace: "/workspace", protocol: 1, isolation: { probed: [], open: [] } }), { workspace: "/workspace", protocol: 1 });
  for (const wrong of [undefined, null, "x", [], { workspace: 1, protocol: 1 }, { workspace: "/w", protocol: "1" }, { workspace: "/w", protocol: 1, isolation: null }, { workspace: "/w", protocol: 1, isolation: { probed: [1], open: [] } }]) {
    assert.equal(parseBindReply(wrong), undefined, JSON.stringify(wrong));
  }
});
