import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Credential, Network } from "@paddock/api/network";
import { buildDenial, decideAddress, decideConnection, decideRequest, isDenial } from "./decision.ts";
import type { EgressDenial, EgressGrant, EgressTarget, RequestGrant } from "./policy.ts";
import { readPolicy } from "./rules.ts";
import type { EgressPolicy } from "./rules.ts";

type Hosts = NonNullable<Network["allowedHosts"]>;

function policyOf(allowedHosts: Hosts, credentials: readonly Pick<Credential, "hosts">[] = []): EgressPolicy {
  const all = credentials.map(({ hosts }, place) => ({ name: `c${place}`, secretKeyRef: { name: "s", key: "k" }, hosts }));
  return readPolicy({ name: "prod", spec: { network: { allowedHosts }, credentials: all } }, ["203.0.113.0/24"]);
}

const to = (host: string, port = 443): EgressTarget => ({ host, port });

function granted<T extends object>(decided: T | EgressDenial): Exclude<T, EgressDenial> {
  assert.ok(!isDenial(decided), JSON.stringify(decided));
  return decided as Exclude<T, EgressDenial>;
}

function denied(decided: object): EgressDenial {
  assert.ok(isDenial(decided), JSON.stringify(decided));
  return decided;
}

test("a host that is listed is tunnelled on its ports", () => {
  const policy = policyOf([{ host: "a.example" }, { host: "b.example", ports: [80, 8443] }]);
  assert.deepEqual(decideConnection(policy, to("a.example")), { kind: "Tunnel", rule: "network.allowedHosts[0]", entries: [0] });
  assert.deepEqual(decideConnection(policy, to("b.example", 8443)), { kind: "Tunnel", rule: "network.allowedHosts[1]", entries: [1] });
});

test("a host that is not listed is refused, with the host, the Environment and what to change", () => {
  const policy = policyOf([{ host: "a.example" }]);
  assert.deepEqual(denied(decideConnection(policy, to("api.example.com"))), {
    refusal: "HostNotAllowed",
    status: 403,
    message: "Paddock refused api.example.com:443: Environment prod does not list it. To allow it, add {host: api.example.com} to spec.network.allowedHosts of Environment prod (its owner: the platform team).",
  });
  assert.match(denied(decideConnection(policy, to("api.example.com", 8080))).message, /add \{host: api\.example\.com, ports: \[8080\]\} to/);
  assert.match(denied(decideConnection(policyOf([]), to("a.example"))).message, /^Paddock refused a\.example:443: Environment prod allows sandboxes no host\. To allow it, add/);
  for (const host of ["xa.example", "a.example.evil.example", "sub.a.example", "example", "a.exampl"]) assert.equal(denied(decideConnection(policy, to(host))).refusal, "HostNotAllowed", host);
});

test("a wildcard covers every name below its domain, and not the domain", () => {
  const policy = policyOf([{ host: "*.example.com" }]);
  for (const host of ["a.example.com", "a.b.example.com"]) assert.equal(granted(decideConnection(policy, to(host))).kind, "Tunnel");
  for (const host of ["example.com", "evilexample.com", "example.com.evil.example", ".example.com"]) assert.equal(denied(decideConnection(policy, to(host))).refusal, "HostNotAllowed", host);
});

test("another port is refused, with those that are allowed and what to change", () => {
  const policy = policyOf([{ host: "a.example" }, { host: "a.example", ports: [8443] }]);
  const { refusal, message } = denied(decideConnection(policy, to("a.example", 22)));
  assert.equal(refusal, "PortNotAllowed");
  assert.equal(message, "Paddock refused a.example:22: Environment prod allows this host on ports 443, 8443 only. To allow it, set spec.network.allowedHosts[0].ports of Environment prod to [443, 22] (its owner: the platform team).");
});

test("addresses are never allowed hosts", () => {
  const policy = policyOf([{ host: "*.example" }, { host: "*.1.in.example" }]);
  for (const host of ["10.0.0.1", "1.1.1.1", "::1", "2606:4700::1111"]) assert.match(denied(decideConnection(policy, to(host))).message, /by name, never by address/);
});

test("requests are looked at where an entry has rules for them, or a credential names the host", () => {
  const ruled = policyOf([{ host: "a.example" }, { host: "*.example", methods: ["GET"] }, { host: "b.example", paths: ["/x"], ports: [8443] }]);
  assert.deepEqual(decideConnection(ruled, to("a.example")), { kind: "Terminate", rule: "network.allowedHosts[0]", entries: [0, 1] });
  assert.deepEqual(decideConnection(ruled, to("b.example", 8443)), { kind: "Terminate", rule: "network.allowedHosts[2]", entries: [2] });
  const named = policyOf([{ host: "*.example" }, { host: "c.other" }], [{ hosts: ["*.example"] }]);
  assert.equal(granted(decideConnection(named, to("a.example"))).kind, "Terminate");
  assert.equal(granted(decideConnection(named, to("c.other"))).kind, "Tunnel");
});

function ask(policy: EgressPolicy, method: string, path: string): RequestGrant | EgressDenial {
  const target = to("a.example");
  const grant: EgressGrant = granted(decideConnection(policy, target));
  return decideRequest(policy, { target, grant }, { method, path });
}

test("methods and paths are an entry's own, and one entry that allows is enough", () => {
  const policy = policyOf([
    { host: "a.example", methods: ["GET"], paths: ["/read"] },
    { host: "a.example", methods: ["POST"], paths: ["/write", "/both"] },
    { host: "*.example", methods: ["GET"], paths: ["/both", "/read/x"] },
  ]);
  assert.deepEqual(ask(policy, "GET", "/read/x?y"), { rule: "network.allowedHosts[0]", entries: [0, 2] });
  assert.deepEqual(ask(policy, "POST", "/both"), { rule: "network.allowedHosts[1]", entries: [1] });
  assert.deepEqual(ask(policy, "GET", "/both"), { rule: "network.allowedHosts[2]", entries: [2] });
  assert.equal(denied(ask(policy, "GET", "/write")).refusal, "PathNotAllowed");
  assert.equal(denied(ask(policy, "POST", "/read")).refusal, "PathNotAllowed");
  const method = denied(ask(policy, "DELETE", "/read"));
  assert.equal(method.refusal, "MethodNotAllowed");
  assert.equal(method.message, 'Paddock refused "DELETE" of a.example:443: Environment prod allows GET, POST only. To allow it, add the method to spec.network.allowedHosts[0].methods of Environment prod (its owner: the platform team).');
  assert.equal(denied(ask(policy, "get", "/read")).refusal, "MethodNotAllowed");
});

test("a path that is not allowed is refused with those that are", () => {
  const policy = policyOf([{ host: "a.example", paths: ["/repos/acme", "/user"] }]);
  const { refusal, message } = denied(ask(policy, "GET", "/repos/other?token=x"));
  assert.equal(refusal, "PathNotAllowed");
  assert.equal(message, 'Paddock refused GET "/repos/other" of a.example:443: Environment prod allows the paths /repos/acme, /user only. To allow it, add the path or one above it to spec.network.allowedHosts[0].paths of Environment prod (its owner: the platform team).');
});

test("where paths have rules, ambiguous ones are refused; where they have none, all are as they are", () => {
  const ruled = policyOf([{ host: "a.example", paths: ["/a"] }]);
  for (const path of ["/a/../b", "/a/%2e%2e/b", "/a%2f..%2fb", "/a//b", "/a\\..\\b", "*", "http://x/a"]) assert.equal(denied(ask(ruled, "GET", path)).refusal, "PathNotAllowed", path);
  assert.match(denied(ask(ruled, "GET", "/a/../b")).message, /the path has a segment \. or \.\., which servers read in different ways/);
  const free = policyOf([{ host: "a.example", methods: ["GET"] }]);
  for (const path of ["/a/../b", "/a//b", "*"]) assert.equal(granted(ask(free, "GET", path)).rule, "network.allowedHosts[0]", path);
});

test("addresses: public for everybody, private for who names them, some for nobody", () => {
  const policy = policyOf([{ host: "a.example" }, { host: "a.example", addresses: ["10.20.0.0/16", "fd00:20::/64", "127.0.0.0/8", "::/0", "169.254.0.0/16"] }, { host: "git.tools.svc" }]);
  const may = (entries: readonly number[], host: string, address: string): boolean => decideAddress(policy, entries, host, address);
  assert.ok(may([0], "a.example", "1.1.1.1"));
  assert.ok(!may([0], "a.example", "10.20.0.1"));
  assert.ok(!may([0], "a.example", "203.0.113.1"), "what the chart calls private");
  assert.ok(may([0, 1], "a.example", "10.20.0.1"));
  assert.ok(may([1], "a.example", "::ffff:10.20.0.1"));
  assert.ok(may([1], "a.example", "fd00:20::1"));
  assert.ok(!may([0, 1], "a.example", "192.168.0.1"));
  assert.ok(may([2], "git.tools.svc", "10.96.0.7"));
  assert.ok(may([2], "git.tools.svc.cluster.local", "10.96.0.7"));
  assert.ok(!may([2], "git.tools.svc.example", "10.96.0.7"));
  for (const address of ["127.0.0.1", "169.254.169.254", "::1", "::ffff:169.254.169.254", "fe80::1", "100.100.100.200", "fd00:ec2::254"]) {
    assert.ok(!may([1], "a.example", address), address);
    assert.ok(!may([2], "git.tools.svc", address), address);
  }
});

test("no host, port, method or path makes a decision throw, and only what an entry covers is granted", () => {
  const policy = policyOf([{ host: "*.example.com", methods: ["GET"], paths: ["/a"] }, { host: "b.example", ports: [80] }]);
  const host = fc.oneof(fc.string(), fc.domain(), fc.constantFrom("x.example.com", "b.example", "example.com"));
  fc.assert(
    fc.property(host, fc.nat(70_000), fc.string(), fc.string(), (name, port, method, path) => {
      const grant = decideConnection(policy, { host: name, port });
      if (isDenial(grant)) return;
      assert.ok((name.endsWith(".example.com") && port === 443) || (name === "b.example" && port === 80));
      decideRequest(policy, { target: { host: name, port }, grant }, { method, path });
    }),
  );
});

test("each refusal has its status", () => {
  assert.deepEqual([buildDenial("NameMismatch", "x").status, buildDenial("Unreachable", "x").status, buildDenial("Stopped", "x").status], [421, 502, 503]);
});
