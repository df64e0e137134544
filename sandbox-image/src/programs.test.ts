// Programs as they are, through the forwarder over a real channel, at a host whose certificate an authority like the runner's signs.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { RequestListener, Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { makeEgressAuthority } from "../../runner-image/src/egress/authority.ts";
import { openPeer } from "./testdata/peer.ts";
import { openSandbox } from "./testdata/sandbox.ts";
import type { Sandbox } from "./testdata/sandbox.ts";

const HOST = "forge.test";

interface Forge {
  readonly sandbox: Sandbox;
  /** `https://forge.test:PORT`, and the same without TLS. */
  readonly secure: string;
  readonly plain: string;
  /** What is served, by path. */
  readonly folder: string;
}

async function openForge(t: TestContext): Promise<Forge> {
  const folder = mkdtempSync(join(tmpdir(), "paddock-forge-"));
  t.after(() => { rmSync(folder, { recursive: true, force: true }); });
  writeFileSync(join(folder, "hello"), "hello\n");
  const serve: RequestListener = (request, response) => {
    const path = decodeURIComponent((request.url ?? "").split("?", 1)[0] ?? "");
    try {
      const content = readFileSync(join(folder, path.endsWith("/") ? `${path}index.html` : path));
      response.writeHead(200, path.endsWith("/") ? { "content-type": "text/html" } : {}).end(content);
    } catch {
      response.writeHead(404).end();
    }
  };
  const authority = await makeEgressAuthority({ uid: "u1", hosts: [HOST], now: new Date() });
  const secure = await listening(t, createTlsServer({ SNICallback: (name, done) => { void authority.leafFor(name).then((leaf) => { done(null, leaf); }); } }, serve));
  const plain = await listening(t, createServer(serve));
  const sandbox = await openSandbox(t);
  assert.equal((await sandbox.bind(1, undefined, { trust: authority.certificate })).status, 200);
  await openPeer(sandbox.port);
  return { sandbox, secure: `https://${HOST}:${secure}`, plain: `http://${HOST}:${plain}`, folder };
}

async function listening(t: TestContext, server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** The output of a program here, or undefined where there is none of that name. */
function said(program: string, ...given: readonly string[]): string | undefined {
  try {
    return execFileSync(program, given, { stdio: ["ignore", "pipe", "ignore"] }).toString().trim();
  } catch {
    return undefined;
  }
}

async function prints(sandbox: Sandbox, command: string, expected: RegExp): Promise<void> {
  const { content } = await sandbox.run("bash", { command });
  assert.match(content, expected, command);
}

test("curl, node and python reach a host by HTTPS and HTTP, and trust the session's authority", async (t) => {
  const { sandbox, secure, plain } = await openForge(t);
  for (const base of [secure, plain]) {
    await prints(sandbox, `node -e 'fetch("${base}/hello").then((r) => r.text()).then((x) => process.stdout.write(x))'`, /^hello\n\[exit code 0\]$/);
    await prints(sandbox, `node -e 'require("${base.split(":", 1)[0] ?? ""}").get("${base}/hello", (r) => r.pipe(process.stdout))'`, /^hello\n\[exit code 0\]$/);
    if (said("curl", "--version") !== undefined) await prints(sandbox, `curl -sS ${base}/hello && curl -sS --http2 ${base}/hello`, /^hello\nhello\n\[exit code 0\]$/);
    const python = said("python3", "-c", "import sys; print(sys.executable)");
    if (python !== undefined) await prints(sandbox, `${python} -c 'import urllib.request as u; print(u.urlopen("${base}/hello").read())'`, /^b'hello\\n'\n\[exit code 0\]$/);
  }
  await prints(sandbox, `SSL_CERT_FILE= CURL_CA_BUNDLE= NODE_EXTRA_CA_CERTS= node -e 'fetch("${secure}/hello").catch((e) => console.log(e.cause.code))'`, /UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED_CERT|UNABLE_TO_GET_ISSUER/);
});

test("git clones by HTTPS and HTTP", { skip: said("git", "--version") === undefined && "there is no git" }, async (t) => {
  const { sandbox, secure, plain, folder } = await openForge(t);
  const work = join(folder, "work");
  const git = (...given: readonly string[]): void => void execFileSync("git", ["-c", "user.name=t", "-c", "user.email=t@example.test", "-c", "commit.gpgsign=false", ...given], { stdio: "pipe" });
  git("init", "--quiet", work);
  writeFileSync(join(work, "file"), "from afar\n");
  git("-C", work, "add", "file");
  git("-C", work, "commit", "--quiet", "-m", "one");
  git("clone", "--quiet", "--bare", work, join(folder, "repo.git"));
  git("-C", join(folder, "repo.git"), "update-server-info");
  await prints(sandbox, `git clone --quiet ${secure}/repo.git one && cat one/file`, /^from afar\n\[exit code 0\]$/);
  await prints(sandbox, `git clone --quiet ${plain}/repo.git two && cat two/file`, /^from afar\n\[exit code 0\]$/);
  await prints(sandbox, `git clone --quiet https://refused.test/repo.git three`, /403/);
});

test("npm installs a package", { skip: said("npm", "--version") === undefined && "there is no npm" }, async (t) => {
  const { sandbox, secure, folder } = await openForge(t);
  mkdirSync(join(folder, "package"));
  writeFileSync(join(folder, "package/package.json"), JSON.stringify({ name: "tiny", version: "1.0.0", main: "tiny.js" }));
  writeFileSync(join(folder, "package/tiny.js"), 'module.exports = "it is tiny";');
  execFileSync("tar", ["-czf", join(folder, "tiny.tgz"), "-C", folder, "package"]);
  const integrity = `sha512-${createHash("sha512").update(readFileSync(join(folder, "tiny.tgz"))).digest("base64")}`;
  const version = { name: "tiny", version: "1.0.0", dist: { tarball: `${secure}/tiny.tgz`, integrity } };
  writeFileSync(join(folder, "tiny"), JSON.stringify({ name: "tiny", "dist-tags": { latest: "1.0.0" }, versions: { "1.0.0": version } }));
  await prints(sandbox, `${said("/bin/sh", "-c", "command -v npm") ?? ""} install --silent --no-audit --no-fund --no-update-notifier --registry=${secure}/ tiny && node -p 'require("tiny")'`, /it is tiny\n\[exit code 0\]$/);
});

test("pip downloads a package", { skip: said("python3", "-m", "pip", "--version") === undefined && "there is no pip" }, async (t) => {
  const { sandbox, secure, folder } = await openForge(t);
  const wheel = "tiny-1.0-py3-none-any.whl";
  const python = said("python3", "-c", "import sys; print(sys.executable)") ?? "";
  mkdirSync(join(folder, "simple/tiny"), { recursive: true });
  const names = { "tiny.py": "", "tiny-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n", "tiny-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n", "tiny-1.0.dist-info/RECORD": "" };
  execFileSync(python, ["-c", "import sys, json, zipfile\nwith zipfile.ZipFile(sys.argv[1], 'w') as z:\n  for n, c in json.loads(sys.argv[2]).items(): z.writestr(n, c)", join(folder, wheel), JSON.stringify(names)]);
  writeFileSync(join(folder, "simple/tiny/index.html"), `<!DOCTYPE html><a href="/${wheel}">${wheel}</a>`);
  await prints(sandbox, `${python} -m pip --disable-pip-version-check --quiet download --no-deps --no-cache-dir --index-url ${secure}/simple/ --dest out tiny && ls out`, /tiny-1\.0-py3-none-any\.whl\n\[exit code 0\]$/);
});

test("a WebSocket through plain HTTP proxying is told to use CONNECT, and an upgrade that may be ignored is", async (t) => {
  const { sandbox, plain } = await openForge(t);
  if (said("curl", "--version") === undefined) return;
  await prints(sandbox, `curl -sS -H 'Connection: Upgrade' -H 'Upgrade: WebSocket' -w '%{http_code}' ${plain}/hello`, /^a WebSocket needs a tunnel: ask this proxy for CONNECT host:port\n501/);
  await prints(sandbox, `curl -sS -H 'Connection: Upgrade' -H 'Upgrade: h2c' ${plain}/hello`, /^hello\n/);
});
