import assert from "node:assert/strict";
import { execFile, execFileSync, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { delimiter, join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { findProgram } from "../../../test/cluster/command.ts";
import { readTestConfig } from "../../../test/config.ts";
import { echo, HOST, startHost } from "./testdata/host.ts";
import type { InspectedLab } from "./testdata/inspected.ts";

// Programs as they are found in sandboxes, against a host over loopback. What a machine does not have is skipped, with the reason.

const SECRET = "tok-3f9a/x+7Q==secret";
const CREDENTIAL = { name: "api", secretKeyRef: { name: "tokens", key: "api" }, hosts: [HOST] };
const STARS = "*".repeat(SECRET.length);
const PATH = readTestConfig().path.join(delimiter);

const run = promisify(execFile);

function missing(program: string): string | false {
  return findProgram(program) === undefined ? `this machine has no ${program}` : false;
}

/** The environment that commands of a sandbox have, with nothing of this process's. */
function sandboxEnv(lab: InspectedLab): Record<string, string> {
  const proxy = `http://127.0.0.1:${lab.proxyPort}`;
  const trust = lab.authorityFile;
  return {
    PATH, HOME: lab.folder, LANG: "C.UTF-8", HTTPS_PROXY: proxy, HTTP_PROXY: proxy, https_proxy: proxy, http_proxy: proxy, NODE_USE_ENV_PROXY: "1",
    NODE_EXTRA_CA_CERTS: trust, SSL_CERT_FILE: trust, CURL_CA_BUNDLE: trust, GIT_SSL_CAINFO: trust, npm_config_cafile: trust,
    GIT_TERMINAL_PROMPT: "0", GIT_CONFIG_NOSYSTEM: "1", PYENV_VERSION: "system",
  };
}

const SCRIPT = `
const [url] = process.argv.slice(1);
const reply = await fetch(url, { method: "POST", body: "from node" });
console.log(await reply.text());
const https = await import("node:https");
https.get(url + "?second", (answer) => answer.pipe(process.stdout));
`;

test("node's fetch and https go through, with the credential", async (t) => {
  const { lab, url } = await startHost(t, echo, { credentials: [CREDENTIAL] });
  await lab.write("api", SECRET);
  const { stdout } = await run(process.execPath, ["--input-type=module", "-e", SCRIPT, `${url}/x`], { env: sandboxEnv(lab) });
  const [first = "", second = ""] = stdout.split("\n");
  assert.deepEqual([JSON.parse(first).method, JSON.parse(first).body, JSON.parse(first).headers.authorization], ["POST", "from node", `Bearer ${STARS}`]);
  assert.deepEqual([JSON.parse(second).path, JSON.parse(second).headers.authorization], ["/x?second", `Bearer ${STARS}`]);
});

test("curl goes through, over HTTP/1.1 and what it likes best", { skip: missing("curl") }, async (t) => {
  const { lab, url } = await startHost(t, echo, { credentials: [CREDENTIAL] });
  await lab.write("api", SECRET);
  for (const more of [["--http1.1"], [], ["--data", "x".repeat(2_000_000)].slice(0, 0)]) {
    const { stdout } = await run("curl", ["-sS", "--fail-with-body", "--compressed", ...more, `${url}/a?b`], { env: sandboxEnv(lab) });
    assert.deepEqual([JSON.parse(stdout).path, JSON.parse(stdout).headers.authorization], ["/a?b", `Bearer ${STARS}`]);
  }
  const file = join(lab.folder, "upload");
  await writeFile(file, "u".repeat(2_000_000));
  const { stdout } = await run("curl", ["-sS", "-T", file, "--expect100-timeout", "60", "-H", "Expect: 100-continue", `${url}/up`], { env: sandboxEnv(lab), maxBuffer: 16_000_000 });
  assert.equal(JSON.parse(stdout).body.length, 2_000_000);
});

test("curl says why a request is refused", { skip: missing("curl") }, async (t) => {
  const { lab, url } = await startHost(t, echo);
  const { stdout } = await run("curl", ["-sS", "-X", "DELETE", `${url}/a`], { env: sandboxEnv(lab) });
  assert.match(stdout, /^Paddock refused "DELETE".*Environment dev/);
});

test("python goes through", { skip: missing("python3") }, async (t) => {
  const { lab, url } = await startHost(t, echo, { credentials: [CREDENTIAL] });
  await lab.write("api", SECRET);
  const script = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], data=b'from python').read().decode())";
  const { stdout } = await run("python3", ["-c", script, `${url}/p`], { env: sandboxEnv(lab) });
  assert.deepEqual([JSON.parse(stdout).body, JSON.parse(stdout).headers.authorization], ["from python", `Bearer ${STARS}`]);
});

test("npm reads a registry", { skip: missing("npm") }, async (t) => {
  const seen: unknown[] = [];
  const { lab, url } = await startHost(t, (request, response) => {
    seen.push(request.headers.authorization);
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ name: "left", "dist-tags": { latest: "1.2.3" }, versions: { "1.2.3": { name: "left", version: "1.2.3", dist: { tarball: `${url}/left.tgz`, shasum: "0" } } } }));
  }, { credentials: [CREDENTIAL] });
  await lab.write("api", SECRET);
  const { stdout } = await run("npm", ["view", "left", "version", `--registry=${url}/`, "--no-update-notifier", "--fetch-retries=0"], { env: sandboxEnv(lab), cwd: lab.folder });
  assert.equal(stdout.trim(), "1.2.3");
  assert.deepEqual(new Set(seen), new Set([`Bearer ${SECRET}`]));
});

/** Git's own server behind a user name and a token. */
function serveGit(root: string, token: string): (request: IncomingMessage, response: ServerResponse) => void {
  const wanted = `Basic ${Buffer.from(`x-access-token:${token}`).toString("base64")}`;
  return (request, response) => {
    if (request.headers.authorization !== wanted) { response.writeHead(401, { "www-authenticate": "Basic realm=\"git\"" }).end(); return; }
    const [path = "", query = ""] = (request.url ?? "").split("?");
    const backend = spawn("git", ["http-backend"], {
      env: {
        PATH, GIT_PROJECT_ROOT: root, GIT_HTTP_EXPORT_ALL: "1", PATH_INFO: path, QUERY_STRING: query, REQUEST_METHOD: request.method ?? "", REMOTE_USER: "user", REMOTE_ADDR: "127.0.0.1",
        CONTENT_TYPE: request.headers["content-type"] ?? "", HTTP_CONTENT_ENCODING: request.headers["content-encoding"] ?? "", GIT_PROTOCOL: String(request.headers["git-protocol"] ?? ""),
      },
    });
    request.pipe(backend.stdin.on("error", () => undefined));
    const pieces: Buffer[] = [];
    backend.stdout.on("data", (piece: Buffer) => pieces.push(piece)).on("end", () => {
      const answer = Buffer.concat(pieces);
      const end = answer.indexOf("\r\n\r\n");
      const headers = answer.toString("latin1", 0, end).split("\r\n").map((line) => line.split(": ", 2) as [string, string]);
      response.writeHead(Number.parseInt(headers.find(([name]) => name === "Status")?.[1] ?? "200"), Object.fromEntries(headers.filter(([name]) => name !== "Status")));
      response.end(answer.subarray(end + 4));
    });
  };
}

function hasBackend(): string | false {
  if (missing("git") !== false) return missing("git");
  return existsSync(join(execFileSync("git", ["--exec-path"]).toString().trim(), "git-http-backend")) ? false : "this machine's git has no http-backend";
}

test("git clones and pushes with a token that it never sees", { skip: hasBackend() }, async (t) => {
  const served: { handler?: ReturnType<typeof serveGit> } = {};
  const { lab, url } = await startHost(t, (request, response) => { served.handler?.(request, response); }, { credentials: [{ ...CREDENTIAL, inject: { basicUsername: "x-access-token" } }] });
  await lab.write("api", SECRET);
  const root = join(lab.folder, "served");
  served.handler = serveGit(root, SECRET);
  const env = sandboxEnv(lab);
  const git = async (cwd: string, ...args: string[]): Promise<string> => (await run("git", ["-c", "user.name=a", "-c", "user.email=a@example.com", ...args], { env, cwd })).stdout;
  await mkdir(root);
  await git(root, "init", "-q", "--bare", "-b", "main", "repo.git");
  await git(root, "--git-dir=repo.git", "config", "http.receivepack", "true");
  await git(lab.folder, "clone", "-q", `${url}/repo.git`, "work");
  const work = join(lab.folder, "work");
  // More than git keeps in memory, so that it sends the pack in chunks.
  await writeFile(join(work, "file"), Buffer.from(Array.from({ length: 3_000_000 }, (_, index) => (index * 7919 * (index >> 8)) & 0xff)));
  await git(work, "checkout", "-q", "-b", "main");
  await git(work, "add", "file");
  await git(work, "commit", "-q", "-m", "one");
  await git(work, "push", "-q", "origin", "main");
  const head = (await git(work, "rev-parse", "HEAD")).trim();
  assert.equal(await git(lab.folder, "ls-remote", `${url}/repo.git`, "refs/heads/main"), `${head}\trefs/heads/main\n`);
  await git(lab.folder, "clone", "-q", `${url}/repo.git`, "again");
  assert.ok((await readFile(join(lab.folder, "again", "file"))).equals(await readFile(join(work, "file"))));
  const config = await readFile(join(work, ".git", "config"), "utf8");
  assert.doesNotMatch(config, /tok-/);
});
