import assert from "node:assert/strict";
import { test } from "node:test";
import { ConfigError, readConfig } from "./config.ts";

const GOOD = {
  PADDOCK_NAMESPACE: "paddock-system",
  PADDOCK_GATEWAY_URL: "https://paddock-gateway.paddock-system.svc:8443",
  PADDOCK_RUNNER_IMAGE: "ghcr.io/paddock/runner:0.1.0",
  PADDOCK_SANDBOX_IMAGE: "ghcr.io/paddock/sandbox:0.1.0",
};

test("what is not set takes its default", () => {
  const config = readConfig({ ...GOOD, KUBERNETES_SERVICE_HOST: "10.96.0.1", KUBERNETES_SERVICE_PORT: "443" });
  assert.deepEqual(config.watchNamespaces, []);
  assert.equal(config.gatewayDialUrl, GOOD.PADDOCK_GATEWAY_URL);
  assert.equal(config.tokenFile, "/run/paddock/token/token");
  assert.deepEqual(config.apiServer, { host: "10.96.0.1", port: 443 });
});

test("lists and JSON are read", () => {
  const peers = [{ namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": "kube-system" } } }];
  const config = readConfig({ ...GOOD, PADDOCK_WATCH_NAMESPACES: "a, b,", PADDOCK_DNS_PEERS: JSON.stringify(peers), PADDOCK_PRIVATE_RANGES: '["10.0.0.0/8","fc00::/7"]', KUBECONFIG: "/k" });
  assert.deepEqual(config.watchNamespaces, ["a", "b"]);
  assert.deepEqual(config.dnsPeers, peers);
  assert.deepEqual(config.privateRanges, ["10.0.0.0/8", "fc00::/7"]);
  assert.deepEqual(config.apiServer, { kubeconfig: "/k" });
});

test("every wrong variable is named with its value and the fix, all at once", () => {
  const bad = { ...GOOD, PADDOCK_GATEWAY_URL: "http://gateway", PADDOCK_PRIVATE_RANGES: "10.0.0.0/8", PADDOCK_RUNNER_IMAGE: undefined, PADDOCK_LOG_LEVEL: "loud" };
  assert.throws(
    () => readConfig(bad),
    (error) => {
      assert.ok(error instanceof ConfigError);
      assert.deepEqual(error.message.split("\n"), [
        'PADDOCK_GATEWAY_URL is "http://gateway": set it to the gateway\'s address, e.g. https://paddock-gateway.paddock-system.svc:8443',
        "PADDOCK_RUNNER_IMAGE is not set: set it to the runner image, e.g. ghcr.io/paddock/runner:0.1.0",
        'PADDOCK_PRIVATE_RANGES is "10.0.0.0/8": set it to a JSON list of CIDRs, e.g. ["10.0.0.0/8"]',
        'PADDOCK_LOG_LEVEL is "loud": set it to trace, debug, info, warn, error or silent',
      ]);
      return true;
    },
  );
});

test("a canary that is no address with a port ends the operator at its start", () => {
  const read = (canary: string) => () => readConfig({ ...GOOD, PADDOCK_CANARIES: JSON.stringify([canary]) });
  assert.deepEqual(readConfig(GOOD).canaries, []);
  for (const canary of ["203.0.113.7:443", "[2001:db8::7]:65535"]) assert.deepEqual(read(canary)().canaries, [canary]);
  for (const canary of ["203.0.113.7", "canary.example.com:443", "2001:db8::7:443", "203.0.113.7:0", "203.0.113.7:65536", "[203.0.113.7]:1", "300.0.0.1:1"]) assert.throws(read(canary), /PADDOCK_CANARIES/, canary);
});

test("a range that is no CIDR ends the operator at its start, not in each Environment", () => {
  const read = (range: string) => () => readConfig({ ...GOOD, PADDOCK_PRIVATE_RANGES: JSON.stringify([range]) });
  for (const range of ["0.0.0.0/8", "100.64.0.0/10", "::/127", "64:ff9b:1::/48", "fc00::/7", "ff00::/8", "FD00::/8"]) assert.deepEqual(read(range)().privateRanges, [range]);
  for (const range of ["10.0.0.0/33", "fc00::/129", "10.0.0/8", "1:2/64", "10.0.0.0"]) assert.throws(read(range), /PADDOCK_PRIVATE_RANGES/, range);
});
