import assert from "node:assert/strict";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { issueServing, makeAuthority, parseAuthority } from "../../gateway/src/tls/authority.ts";
import { createCaSource } from "../../operator/src/records/ca.ts";
import { createGatewayClient } from "../../operator/src/records/client.ts";
import { GatewayConnectionError } from "../../operator/src/records/errors.ts";

test("a gateway that came back with another CA is refused, and trusted once it has published it", async (t) => {
  const now = new Date();
  const [earlier, later] = [parseAuthority(await makeAuthority(now)), parseAuthority(await makeAuthority(now))];
  const { certificate: cert, key } = await issueServing(later, ["localhost"], now);
  const server = createServer({ cert, key }, (_request, response) => response.end("{}"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  let published: string | undefined;
  const ca = createCaSource(async () => published, "ConfigMap paddock-system/paddock-gateway-ca");
  const url = `https://localhost:${(server.address() as AddressInfo).port}`;
  const client = createGatewayClient({ url, ca: ca.pem, onUntrusted: ca.forget, token: async () => "t" });
  t.after(async () => {
    client.close();
    await new Promise((resolve) => server.close(resolve));
  });
  const register = () => client.putPod("u", { sessionUid: "s", component: "runner", podName: "p" });

  await assert.rejects(register(), /ConfigMap paddock-system\/paddock-gateway-ca does not hold the gateway's CA yet/);
  published = earlier.certificate;
  await assert.rejects(register(), GatewayConnectionError);
  published = later.certificate;
  await register();
  assert.equal(ca.known(), later.certificate);
});

test("a successor that the gateway publishes reaches new pods without a failure, before it signs", async () => {
  let published = "first";
  let at = 0;
  const ca = createCaSource(async () => published, "ConfigMap paddock-system/paddock-gateway-ca", () => at);
  assert.equal(await ca.pem(), "first");
  published = "first and second";
  at = 299_999;
  assert.equal(await ca.pem(), "first");
  at = 300_000;
  await ca.pem();
  while (ca.known() !== published) await new Promise((resolve) => setImmediate(resolve));
  published = "";
  at = 600_000;
  assert.equal(await ca.pem(), "first and second", "what cannot be read now takes nothing away");
});
