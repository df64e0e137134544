import assert from "node:assert/strict";
import { test } from "node:test";
import { parseConfig } from "./config.ts";

const ENVIRONMENT = {
  PADDOCK_NAMESPACE: "paddock-system",
  PADDOCK_OPERATOR_USER: "system:serviceaccount:paddock-system:paddock-operator",
  KUBERNETES_SERVICE_HOST: "10.96.0.1",
  KUBERNETES_SERVICE_PORT: "443",
};

test("the chart's variables are enough", () => {
  const { names, ...config } = parseConfig(ENVIRONMENT);
  assert.deepEqual(config, {
    namespace: "paddock-system",
    dataDir: "/var/lib/paddock",
    port: 8443,
    metricsPort: 9090,
    operatorUser: ENVIRONMENT.PADDOCK_OPERATOR_USER,
    logLevel: "info",
    apiServer: {
      url: "https://10.96.0.1:443",
      tokenFile: "/var/run/secrets/kubernetes.io/serviceaccount/token",
      caFile: "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt",
    },
  });
  assert.deepEqual(names, [
    "paddock-gateway",
    "paddock-gateway.paddock-system",
    "paddock-gateway.paddock-system.svc",
    "paddock-gateway.paddock-system.svc.cluster.local",
    "localhost",
    "127.0.0.1",
  ]);
  assert.equal(parseConfig({ ...ENVIRONMENT, KUBERNETES_SERVICE_HOST: "fd00::1" }).apiServer.url, "https://[fd00::1]:443");
});

test("a faulty variable is named with its value and what is wanted", () => {
  assert.throws(() => parseConfig({ ...ENVIRONMENT, PADDOCK_OPERATOR_USER: "admin" }), /PADDOCK_OPERATOR_USER is "admin": give system:serviceaccount:NAMESPACE:NAME/);
  assert.throws(() => parseConfig({ ...ENVIRONMENT, PADDOCK_PORT: "https" }), /PADDOCK_PORT is "https"/);
  assert.throws(() => parseConfig({ ...ENVIRONMENT, PADDOCK_DATA_DIR: "data" }), /PADDOCK_DATA_DIR is "data": give an absolute path/);
  assert.throws(() => parseConfig({}), /PADDOCK_NAMESPACE is not set.*PADDOCK_OPERATOR_USER is not set.*KUBERNETES_SERVICE_HOST is not set/s);
});
