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
