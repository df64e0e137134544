import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { Agent, request } from "node:http";
import type { IncomingMessage } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { createTurns } from "./upstream.ts";
import { createUpstreamTrust, explainTls } from "./upstream-tls.ts";
import { echo, HOST, startHost } from "./testdata/host.ts";
import { listen, startInspected } from "./testdata/inspected.ts";

test("authorities are read again when the file has changed, and only then", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "paddock-trust-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, "ca.crt");
  const trust = createUpstreamTrust(file);
  const none = await trust.context();
  assert.equal(await trust.context(), none);
  const { lab } = await startHost(t, echo);
  await writeFile(file, `a comment\n${lab.authority.certificate}`);
  const some = await trust.context();
  assert.ok(some !== undefined && some !== none);
  assert.equal(await trust.context(), some);
  for (const broken of ["no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]) {
    await writeFile(file, broken);
    assert.equal(await trust.context(), undefined, broken);
  }
});

test("authorities that cannot be read are said to be, and no host is believed", async (t) => {
  const { port } = await startHost(t, echo);
  const lab = await startInspected(t, { network: { allowedHosts: [{ host: HOST, ports: [port], methods: ["GET"] }] }, bundle: "not PEM" });
  const reply = await lab.ask(`https://${HOST}:${port}`);
  assert.equal(reply.status, 502);
  assert.match(reply.body, /the certificates of spec\.network\.caBundle of Environment dev cannot be read/);
});

test("a failed handshake is told by its kind, without the error's text", () => {
  const target = { host: HOST, port: 443 };
  assert.match(explainTls(target, "dev", { code: "SELF_SIGNED_CERT_IN_CHAIN" }).message, /spec\.network\.caBundle of Environment dev/);
  assert.match(explainTls(target, "dev", { code: "CERT_HAS_EXPIRED" }).message, /has expired/);
  assert.match(explainTls(target, "dev", { code: "ERR_TLS_CERT_ALTNAME_INVALID" }).message, /for other names/);
  assert.match(explainTls(target, "dev", {}).message, /failed \(unknown\)/);
});

test("an upload to a host that nobody reaches is refused, and the program's connection goes on", async (t) => {
  const free = createServer();
  const port = await listen(t, free);
  await new Promise((done) => free.close(done));
  const lab = await startInspected(t, { network: { allowedHosts: [{ host: HOST, ports: [port], methods: ["PUT"] }] } });
  const socket = await lab.secure(HOST, port);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  agent.createConnection = () => socket;
  t.after(() => { agent.destroy(); });
  const statuses: number[] = [];
  for (const body of [Buffer.alloc(2_000_000), Buffer.from("x")]) {
    const client = request({ agent, method: "PUT", path: "/", headers: { host: `${HOST}:${port}`, "content-length": body.length }, setHost: false }).end(body);
    const [response] = (await once(client, "response")) as [IncomingMessage];
    statuses.push(response.statusCode ?? 0);
    for await (const _ of response);
  }
  assert.deepEqual(statuses, [502, 502]);
  assert.match(lab.notes.map(({ rule }) => rule).join(), /^Unreachable,Unreachable$/);
});

test("a turn is given back once, in the order of asking", async () => {
  const turn = createTurns(2);
  const order: string[] = [];
  const [first, second] = await Promise.all([turn(), turn()]);
  const third = turn().then((leave) => { order.push("third"); return leave; });
  const fourth = turn().then((leave) => { order.push("fourth"); return leave; });
  first();
  first();
  await third;
  assert.deepEqual(order, ["third"]);
  second();
  await fourth;
  assert.deepEqual(order, ["third", "fourth"]);
});
