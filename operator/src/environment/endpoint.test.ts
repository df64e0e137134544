import assert from "node:assert/strict";
import { test } from "node:test";
import { parseEndpoint } from "./endpoint.ts";
import { settings } from "./sample.ts";

const CASES: readonly (readonly [string, string, number, boolean])[] = [
  ["https://api.openai.com/v1", "api.openai.com", 443, false],
  ["http://models.example/v1", "models.example", 80, false],
  ["https://models.example:8443", "models.example", 8443, false],
  ["https://models.example./v1", "models.example", 443, false],
  ["http://llama:8000/v1", "llama", 8000, true],
  ["http://localhost:8000", "localhost", 8000, true],
  ["http://llama.models.svc:8000", "llama.models.svc", 8000, true],
  ["http://llama.models.svc.:8000", "llama.models.svc", 8000, true],
  ["http://LLAMA.Models.SVC.cluster.local", "llama.models.svc.cluster.local", 80, true],
  ["http://10.1.2.3:9", "10.1.2.3", 9, true],
  ["http://0xa010203/v1", "10.1.2.3", 80, true],
  ["http://198.51.100.7", "198.51.100.7", 80, false],
  ["http://[fd00::1]:8000", "fd00::1", 8000, true],
  ["http://[2001:db8::1]", "2001:db8::1", 80, false],
  ["http://[::ffff:10.0.0.1]", "::ffff:a00:1", 80, true],
];

for (const [url, host, port, isInCluster] of CASES) {
  test(`${url} is ${isInCluster ? "inside" : "outside"} the cluster`, () => {
    assert.deepEqual(parseEndpoint(url, settings.privateRanges), { host, port, isInCluster });
  });
}

for (const url of ["http://", "http://a:99999", "not a url", "http://[::1", "http://a:0"]) {
  test(`${JSON.stringify(url)} is no endpoint`, () => {
    assert.equal(parseEndpoint(url, settings.privateRanges), undefined);
  });
}
