import assert from "node:assert/strict";
import { test } from "node:test";
import { parseConfig } from "./config.ts";

const ENV = { PADDOCK_GATEWAY_URL: "https://paddock-gateway:8443", PADDOCK_GATEWAY_CA: "pem", PADDOCK_POD_NAME: "a-r1", PADDOCK_POD_UID: "u" };

test("the environment becomes one object, with the files of a runner pod", () => {
  const config = parseConfig(ENV);
  assert.equal(config.gatewayUrl.host, "paddock-gateway:8443");
  assert.equal(config.tokenFile, "/run/paddock/token/token");
  assert.equal(config.credentialFile("model-default"), "/run/paddock/credentials/model-default/value");
  assert.equal(config.logLevel, "info");
});

test("every level that the operator may pass on is taken", () => {
  for (const level of ["trace", "debug", "info", "warn", "error", "silent"]) assert.equal(parseConfig({ ...ENV, PADDOCK_LOG_LEVEL: level }).logLevel, level);
});

test("a missing or wrong variable is named, with what to set", () => {
  assert.throws(() => parseConfig({ ...ENV, PADDOCK_POD_UID: "" }), /PADDOCK_POD_UID is not set/);
  assert.throws(() => parseConfig({ ...ENV, PADDOCK_GATEWAY_URL: "http://x" }), /PADDOCK_GATEWAY_URL is "http:\/\/x": set it to an https/);
  assert.throws(() => parseConfig({ ...ENV, PADDOCK_LOG_LEVEL: "loud" }), /PADDOCK_LOG_LEVEL is "loud"/);
});

test("private ranges and canaries are lists of checked addresses, empty when they are not set", () => {
  assert.deepEqual([parseConfig(ENV).privateRanges, parseConfig(ENV).canaries], [[], []]);
  const config = parseConfig({ ...ENV, PADDOCK_PRIVATE_RANGES: '["10.0.0.0/8","fc00::/7"]', PADDOCK_CANARIES: '["192.0.2.1:80","[2001:db8::1]:443"]' });
  assert.deepEqual(config.privateRanges, ["10.0.0.0/8", "fc00::/7"]);
  assert.deepEqual(config.canaries, [{ host: "192.0.2.1", port: 80 }, { host: "2001:db8::1", port: 443 }]);
});

test("an address that is none is named, with its variable and an example", () => {
  for (const wrong of ["192.0.2.1", "sink.example.com:80", "192.0.2.1:0", "192.0.2.1:65536", "2001:db8::1:80", "[192.0.2.1]:80", "192.0.2.999:80", "[fe80::1%eth0]:x", ""]) {
    assert.throws(() => parseConfig({ ...ENV, PADDOCK_CANARIES: JSON.stringify([wrong]) }), /PADDOCK_CANARIES holds .*: write IP:port, such as/, wrong);
  }
  for (const wrong of ["10.0.0.0", "10.0.0.0/33", "fc00::/129", "10.0.0/8", "example.com/8", "/8", "10.0.0.0/"]) {
    assert.throws(() => parseConfig({ ...ENV, PADDOCK_PRIVATE_RANGES: JSON.stringify([wrong]) }), /PADDOCK_PRIVATE_RANGES holds .*: write a CIDR such as/, wrong);
  }
  for (const wrong of ["{}", "[1]", "10.0.0.0/8", "null"]) assert.throws(() => parseConfig({ ...ENV, PADDOCK_CANARIES: wrong }), /PADDOCK_CANARIES is .*: set it to a JSON list/, wrong);
  assert.throws(() => parseConfig({ ...ENV, PADDOCK_CANARIES: JSON.stringify(new Array(17).fill("192.0.2.1:80")) }), /at most 16/);
});
