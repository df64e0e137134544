import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { rootCertificates } from "node:tls";
import { openBound, openSandbox } from "./testdata/sandbox.ts";
import { createTrustStore, parseTrust, trustFiles } from "./trust.ts";

const [FIRST = "", SECOND = "", THIRD = ""] = rootCertificates.map((pem) => new X509Certificate(pem).toString());
const noLog = (): void => undefined;

function openFolder(t: TestContext): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "paddock-trust-test-")));
  t.after(() => { rmSync(folder, { recursive: true, force: true }); });
  return folder;
}

test("the image's authorities and the runner's in one file, the runner's alone in the other, renewed by each bind", async (t) => {
  const folder = openFolder(t);
  const image = join(folder, "image.crt");
  writeFileSync(image, FIRST.trimEnd()); // without a newline at its end
  const own = join(folder, "trust");
  mkdirSync(own);
  const store = createTrustStore(own, noLog, [join(folder, "missing"), image]);
  const files = trustFiles(own);
  for (const trust of [SECOND, SECOND + THIRD, ""]) {
    await store.renew(trust);
    assert.equal(readFileSync(files.bundle, "utf8"), `${FIRST.trimEnd()}\n${trust}`);
    assert.equal(readFileSync(files.extra, "utf8"), trust);
  }
  assert.deepEqual(readdirSync(own).toSorted(), ["ca-certificates.crt", "extra.crt"], "no draft is left");
});

test("a system store that is the link to our own output is not taken for the image's", async (t) => {
  const folder = openFolder(t);
  const own = join(folder, "trust");
  mkdirSync(own);
  const [system, copy] = [join(folder, "system.crt"), join(folder, "copy.crt")];
  symlinkSync(trustFiles(own).bundle, system);
  writeFileSync(copy, FIRST);
  const store = createTrustStore(own, noLog, [system, copy]);
  for (let bind = 0; bind < 3; bind++) {
    await store.renew(SECOND);
    assert.equal(readFileSync(system, "utf8"), FIRST + SECOND, "it does not grow");
  }
  rmSync(system);
  writeFileSync(system, THIRD); // a derived image that has a store of its own
  await store.renew(SECOND);
  assert.equal(readFileSync(trustFiles(own).bundle, "utf8"), THIRD + SECOND);
});

test("a link that a command puts in a file's place is replaced, not followed", async (t) => {
  const folder = openFolder(t);
  const own = join(folder, "trust");
  mkdirSync(own);
  const store = createTrustStore(own, noLog, []);
  writeFileSync(join(folder, "victim"), "kept");
  symlinkSync(join(folder, "victim"), trustFiles(own).bundle);
  await store.renew(FIRST);
  assert.deepEqual([readFileSync(join(folder, "victim"), "utf8"), readFileSync(trustFiles(own).bundle, "utf8")], ["kept", FIRST]);
});

test("a folder that takes nothing refuses a bind that brings certificates, and only that", async (t) => {
  const sandbox = await openSandbox(t);
  rmSync(sandbox.trust, { recursive: true });
  const refused = await sandbox.bind(1, undefined, { trust: FIRST });
  assert.equal(refused.status, 503);
  assert.match(await refused.text(), /certificates that programs trust cannot be written: .* does not exist/);
  assert.equal((await sandbox.bind(1)).status, 200);
  assert.ok(sandbox.lines.some((line) => line.includes("left as it is")));
});

test("only certificates are taken, and what stands between them is left out", () => {
  assert.equal(parseTrust(undefined), "");
  assert.equal(parseTrust(""), "");
  assert.equal(parseTrust(`# Issuer: CN=One\r\n${FIRST.replaceAll("\n", "\r\n")}\nsome words\n${SECOND.trimEnd()}`), FIRST + SECOND);
  const key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n";
  assert.throws(() => parseTrust(FIRST + key), /^Error: block 2 of trust is a "PRIVATE KEY"; only CERTIFICATE may be there/);
  assert.throws(() => parseTrust("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), /block 1 of trust is not a certificate/);
  assert.throws(() => parseTrust(`${FIRST}-----BEGIN CERTIFICATE-----\nMIIB`), /block 2 of trust is not a certificate/);
  assert.throws(() => parseTrust(7), /trust must be a text/);
  assert.throws(() => parseTrust("#".repeat(2 ** 20 + 1)), /trust has more than 1048576 bytes/);
});

test("programs find the bundle by their variables, and Node has nothing to say about an empty list", async (t) => {
  const sandbox = await openBound(t);
  const own = trustFiles(sandbox.trust);
  const { content } = await sandbox.run("bash", { command: "env | grep -e _CERT -e _CA | sort" });
  for (const name of ["AWS_CA_BUNDLE", "CARGO_HTTP_CAINFO", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"]) assert.ok(content.includes(`${name}=${own.bundle}\n`), name);
  for (const name of ["DENO_CERT", "NODE_EXTRA_CA_CERTS"]) assert.ok(content.includes(`${name}=${own.extra}\n`), name);
  assert.equal(readFileSync(own.extra, "utf8"), "");
  const node = `node -e 'console.log(require("tls").getCACertificates("extra").length)'`;
  assert.equal((await sandbox.run("bash", { command: node })).content, "0\n[exit code 0]");
  assert.equal((await sandbox.bind(1, undefined, { trust: SECOND })).status, 200);
  assert.equal((await sandbox.run("bash", { command: node })).content, "1\n[exit code 0]");
});

test("update-ca-certificates in a derived image leaves the link and keeps the new bundle as the image's", (t) => {
  const folder = openFolder(t);
  const [system, copy, output] = ["system.crt", "copy.crt", "output.crt"].map((name) => join(folder, name));
  assert.ok(system !== undefined && copy !== undefined && output !== undefined);
  const hook = (): void => void execFileSync(join(import.meta.dirname, "../trust-hook.sh"), { env: { PATH: "/usr/bin:/bin", PADDOCK_STORES: `${system} ${copy} ${output}` }, input: "+x.pem\n" });
  writeFileSync(system, FIRST);
  hook();
  for (const path of [system, copy, output]) assert.equal(readFileSync(path, "utf8"), FIRST);
  assert.equal(realpathSync(system), output);
  hook();
  assert.equal(readFileSync(system, "utf8"), FIRST, "a second run finds its own link and does nothing");
  rmSync(system); // as `mv -f` over the link does
  writeFileSync(system, FIRST + SECOND);
  hook();
  for (const path of [system, copy, output]) assert.equal(readFileSync(path, "utf8"), FIRST + SECOND);
  assert.equal(realpathSync(system), output);
});
