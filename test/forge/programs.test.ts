import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { makeEgressAuthority } from "../../runner-image/src/egress/authority.ts";
import { createDial } from "../../runner-image/src/egress/dial.ts";
import { createGate } from "../../runner-image/src/egress/gate.ts";
import type { EgressNote } from "../../runner-image/src/egress/policy.ts";
import { serveEgress } from "../../runner-image/src/egress/proxy.ts";
import type { EgressPorts } from "../../runner-image/src/egress/proxy.ts";
import { readPolicy } from "../../runner-image/src/egress/rules.ts";
import { createCredentialValues } from "../../runner-image/src/egress/secret.ts";
import { createInspector } from "../../runner-image/src/egress/terminate.ts";
import { createUpstreamTrust } from "../../runner-image/src/egress/upstream-tls.ts";
import { createRedactor } from "../../runner-image/src/redaction.ts";
import { openLink } from "../../runner-image/src/sandbox/link.ts";
import { KEY, openSandbox } from "../../sandbox-image/src/testdata/sandbox.ts";
import { issueForge } from "./authority.ts";
import { GREETING, NPM_PACKAGE } from "./packages.ts";
import { WEBSOCKET_CLIENT, runNodeProgram } from "./programs.ts";
import { headOf, makeRepository } from "./repository.ts";
import { digestOfBlob } from "./routes.ts";
import { makeToken } from "./scene.ts";
import { digestOf } from "./seen.ts";
import { createForge } from "./server.ts";

// The whole way of a program's request without a cluster: command, forwarder, channel, the runner's proxy, and the forge. Names stand for loopback
// here, which the proxy otherwise never dials; all else is as in pods.

const HOST = "forge.tools.example";
const MIRROR = "mirror.tools.example";

interface Way {
  /** Runs a command in the sandbox. */
  run(command: string): Promise<string>;
  readonly port: number;
  readonly token: string;
  readonly folder: string;
  readonly notes: readonly EgressNote[];
}

async function openWay(t: TestContext): Promise<Way> {
  const folder = mkdtempSync(join(tmpdir(), "forge-way-"));
  makeRepository(folder);
  const token = makeToken();
  writeFileSync(join(folder, "token"), token);
  const { cert, key, ca } = await issueForge([HOST, MIRROR]);
  writeFileSync(join(folder, "ca.crt"), ca);
  const forge = createForge({ cert, key }, { token: () => token, folder });
  forge.https.listen(0, "127.0.0.1");
  await once(forge.https, "listening");
  const { port } = forge.https.address() as AddressInfo;

  const ports = [port];
  const secretKeyRef = { name: "forge-token", key: "value" };
  const credentials = [
    { name: "git", secretKeyRef, hosts: [HOST], paths: ["/git"], inject: { basicUsername: "x-access-token" } },
    { name: "api", secretKeyRef, hosts: [HOST], paths: ["/npm", "/simple", "/whoami", "/reflect", "/echo"] },
  ];
  const policy = readPolicy({ name: "environment", spec: { network: { allowedHosts: [{ host: HOST, ports }, { host: MIRROR, ports }] }, credentials } }, []);
  const authority = await makeEgressAuthority({ uid: "way", hosts: [HOST], now: new Date() });
  const dial = createDial({ policy, resolve: () => Promise.resolve(["127.0.0.1"]), isAddressAllowed: () => true });
  const notes: EgressNote[] = [];
  const account = { note: (note: EgressNote) => (notes.push(note), () => undefined) };
  const values = createCredentialValues({ credentialFile: () => join(folder, "token"), redactor: createRedactor(), onMissing: () => undefined });
  const inspector = createInspector({ policy, credentials, values, account, dial, trust: createUpstreamTrust(join(folder, "ca.crt")), authority: () => Promise.resolve(authority) });
  const logger = { debug: () => undefined, error: console.error } as unknown as EgressPorts["logger"];
  const gate = createGate();
  gate.set(true);

  const sandbox = await openSandbox(t);
  const link = await openLink(
    { host: "127.0.0.1", port: sandbox.port, bindKey: KEY, epoch: 1, session: "ns/one", files: [], keepExisting: false },
    {
      random: Math.random,
      probe: () => Promise.resolve([]),
      trust: () => Promise.resolve(`${authority.certificate}\n${ca}`),
      serve: (session) => serveEgress(session, { policy, dial, inspector, account, gate, logger }),
    },
    new AbortController().signal,
  );
  t.after(() => {
    link.close("the test is over");
    forge.https.close();
    rmSync(folder, { recursive: true, force: true });
  });
  return { run: async (command) => (await sandbox.run("bash", { command }, 60)).content, port, token, folder, notes };
}

test("git, npm, curl, fetch and WebSockets pass with a credential that the sandbox never sees", async (t) => {
  const { run, port, token, folder, notes } = await openWay(t);
  const [origin, mirror] = [`https://${HOST}:${port}`, `https://${MIRROR}:${port}`];
  const bearer = digestOf(`Bearer ${token}`);

  await t.test("git clones, pushes and fetches", async () => {
    const text = await run(`set -e; git clone --quiet ${origin}/git/project.git; cd project; git -c user.name=a -c user.email=a@example.com commit --quiet --allow-empty -m second; git push --quiet origin main; git fetch; git rev-parse HEAD`);
    assert.ok(text.includes(headOf(folder)), text);
  });
  await t.test("npm installs, and what it installed runs", async () => {
    const text = await run(`set -e; mkdir app; cd app; npm install --no-audit --no-fund --no-update-notifier --registry=${origin}/npm/ ${NPM_PACKAGE}; node -p 'require("${NPM_PACKAGE}")'`);
    assert.match(text, new RegExp(GREETING), text);
  });
  await t.test("curl over HTTP/2 and 1.1, and Node's fetch", async () => {
    for (const program of ["curl -sS --http2", "curl -sS --http1.1"]) assert.ok((await run(`${program} ${origin}/whoami`)).includes(bearer), program);
    assert.ok((await run(`node -e 'fetch("${origin}/whoami").then((answer) => answer.text()).then(console.log)'`)).includes(bearer));
  });
  await t.test("a host without credential is carried as it is", async () => assert.match(await run(`curl -sS ${mirror}/whoami`), /"authorization":null/));
  await t.test("large bodies arrive whole", async () => {
    const bytes = 5_000_000;
    for (const at of [origin, mirror]) {
      assert.ok((await run(`curl -sS '${at}/blob?bytes=${bytes}' | tee blob | sha256sum`)).includes(digestOfBlob(bytes)), `down from ${at}`);
      assert.ok((await run(`curl -sS -T blob ${at}/upload`)).includes(digestOfBlob(bytes)), `up to ${at}`);
    }
  });
  await t.test("a WebSocket, masked where the server says the credential", async () => {
    const text = await run(runNodeProgram(WEBSOCKET_CLIENT, HOST, String(port), "/echo"));
    assert.match(text, /^first: hello$/m, text);
    assert.match(text, /^then: (Bearer )?\*+$/m, text);
  });
  await t.test("what the server sends back is masked", async () => {
    for (const query of ["", "?encoding=gzip"]) {
      const text = await run(`curl -sS -i --compressed '${origin}/reflect${query}'`);
      for (const form of [token, Buffer.from(token).toString("base64"), Buffer.from(token).toString("hex")]) assert.ok(!text.includes(form), text);
      assert.match(text, /"token":"\*/, text);
    }
  });
  await t.test("decisions carry the credential's name", () => {
    assert.deepEqual([...new Set(notes.map(({ credential }) => credential).filter((name) => name !== undefined))].sort(), ["api", "git"]);
  });
  await t.test("a host that is not listed is refused", async () => {
    assert.match(await run("curl -sS http://not-listed.example/"), /add \{host: not-listed\.example.*\} to spec\.network\.allowedHosts of Environment environment/);
    assert.match(await run("curl -sS https://not-listed.example/"), /403/);
  });
});
