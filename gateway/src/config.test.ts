import assert from "node:assert/strict";
import { test } from "node:test";
import { parseConfig, parseStoreConfig } from "./config.ts";

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
    store: { kind: "sqlite", dataDir: "/var/lib/paddock" },
    retentionSeconds: 2_592_000,
    otlpEndpoint: undefined,
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

test("Postgres is named by the file of its connection string, and never by the string", () => {
  const chosen = { ...ENVIRONMENT, PADDOCK_STORE: "postgres" };
  assert.deepEqual(parseConfig({ ...chosen, PADDOCK_POSTGRES_URL_FILE: "/run/paddock/postgres/url" }).store, { kind: "postgres", urlFile: "/run/paddock/postgres/url" });
  assert.throws(() => parseConfig(chosen), /PADDOCK_POSTGRES_URL_FILE is not set: with PADDOCK_STORE postgres give the absolute path/);
  assert.throws(() => parseConfig({ ...ENVIRONMENT, PADDOCK_STORE: "mysql" }), /PADDOCK_STORE is "mysql"/);
  const secret = { ...chosen, PADDOCK_POSTGRES_URL_FILE: "postgres://user:hunter2@db/paddock" };
  assert.throws(() => parseConfig(secret), (error: Error) => /PADDOCK_POSTGRES_URL_FILE is not a path: give the absolute path of a file that holds/.test(error.message) && !error.message.includes("hunter2"));
});

test("commands about the store need its variables only", () => {
  assert.deepEqual(parseStoreConfig({}), { kind: "sqlite", dataDir: "/var/lib/paddock" });
  assert.deepEqual(parseStoreConfig({ PADDOCK_DATA_DIR: "/data", PADDOCK_OPERATOR_USER: "nonsense" }), { kind: "sqlite", dataDir: "/data" });
  assert.throws(() => parseStoreConfig({ PADDOCK_DATA_DIR: "data" }), /PADDOCK_DATA_DIR is "data": give an absolute path/);
  assert.throws(() => parseStoreConfig({ PADDOCK_STORE: "postgres" }), /PADDOCK_POSTGRES_URL_FILE is not set/);
});

test("retention and traces", () => {
  const { retentionSeconds, otlpEndpoint } = parseConfig({ ...ENVIRONMENT, PADDOCK_RETENTION_SECONDS: "0", PADDOCK_OTLP_ENDPOINT: "http://collector:4318" });
  assert.deepEqual([retentionSeconds, otlpEndpoint], [0, "http://collector:4318"]);
  for (const value of ["-1", "1.5", "30d", "99999999999"]) assert.throws(() => parseConfig({ ...ENVIRONMENT, PADDOCK_RETENTION_SECONDS: value }), new RegExp(`PADDOCK_RETENTION_SECONDS is "${value}"`));
  for (const value of ["collector:4318", "grpc://collector", ""]) assert.throws(() => parseConfig({ ...ENVIRONMENT, PADDOCK_OTLP_ENDPOINT: value }), /PADDOCK_OTLP_ENDPOINT is .*give the base address/);
});

test("a faulty variable is named with its value and what is wanted", () => {
  assert.throws(() => parseConfig({ ...ENVIRONMENT, PADDOCK_OPERATOR_USER: "admin" }), /PADDOCK_OPERATOR_USER is "admin": give system:serviceaccount:NAMESPACE:NAME/);
  assert.throws(() => parseConfig({ ...ENVIRONMENT, PADDOCK_PORT: "https" }), /PADDOCK_PORT is "https"/);
  assert.throws(() => parseConfig({ ...ENVIRONMENT, PADDOCK_DATA_DIR: "data" }), /PADDOCK_DATA_DIR is "data": give an absolute path/);
  assert.throws(() => parseConfig({}), /PADDOCK_NAMESPACE is not set.*PADDOCK_OPERATOR_USER is not set.*KUBERNETES_SERVICE_HOST is not set/s);
});
