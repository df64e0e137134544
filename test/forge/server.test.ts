import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:http2";
import { request } from "node:https";
import type { IncomingMessage } from "node:http";
import type { AddressInfo, Server, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer, text } from "node:stream/consumers";
import { after, before, test } from "node:test";
import type { TestContext } from "node:test";
import { connect as connectTls } from "node:tls";
import { promisify } from "node:util";
import { issueForge } from "./authority.ts";
import { GREETING, NPM_PACKAGE } from "./packages.ts";
import { REPOSITORY, headOf, makeRepository } from "./repository.ts";
import { digestOfBlob } from "./routes.ts";
import { createForge } from "./server.ts";
import type { Forge } from "./server.ts";
import { digestOf } from "./seen.ts";
import type { Seen, SeenRequest } from "./seen.ts";

// The servers that e2e tests rely on, over loopback: what they accept, and that they refuse without the credential.

const token = `forge-${randomBytes(16).toString("hex")}`;
const folder = mkdtempSync(join(tmpdir(), "forge-test-"));
const caFile = join(folder, "ca.crt");
let ca: string;
let forge: Forge;

before(async () => {
  makeRepository(folder);
  const issued = await issueForge(["localhost"]);
  ca = issued.ca;
  writeFileSync(caFile, ca);
  forge = createForge(issued, { token: () => token, folder });
  for (const server of servers()) {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
  }
});

after(() => {
  for (const server of [forge.http, forge.control]) server.closeAllConnections();
  for (const server of servers()) server.close();
  rmSync(folder, { recursive: true });
});

const servers = (): readonly Server[] => [forge.https, forge.http2, forge.http, forge.control];
const portOf = (server: Server): number => (server.address() as AddressInfo).port;
const origin = (): string => `https://localhost:${portOf(forge.https)}`;

async function ask(path: string, { method = "GET", authorization, body }: { readonly method?: string; readonly authorization?: string; readonly body?: Buffer } = {}): Promise<IncomingMessage> {
  const sent = request(`${origin()}${path}`, { method, ca, agent: false, headers: authorization === undefined ? {} : { authorization } });
  sent.end(body);
  const [response] = (await once(sent, "response")) as [IncomingMessage];
  return response;
}

async function seen(): Promise<Seen> {
  return (await (await fetch(`http://127.0.0.1:${portOf(forge.control)}/seen`)).json()) as Seen;
}

/** A program with nothing of this machine's settings; it sees its own folder as home. */
async function run(t: TestContext, program: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<{ code: number; output: string; home: string }> {
  const home = mkdtempSync(join(tmpdir(), "forge-home-"));
  t.after(() => rmSync(home, { recursive: true }));
  try {
    const { stdout, stderr } = await promisify(execFile)(program, args, { cwd: home, env: { PATH: "/usr/local/bin:/usr/bin:/bin", HOME: home, ...env } });
    return { code: 0, output: stdout + stderr, home };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, output: stdout + stderr, home };
  }
}

const gitEnv = (): Readonly<Record<string, string>> => ({ GIT_SSL_CAINFO: caFile, GIT_TERMINAL_PROMPT: "0", GIT_CONFIG_NOSYSTEM: "1" });
const basic = (): string => `Authorization: Basic ${Buffer.from(`x-access-token:${token}`).toString("base64")}`;

test("git clones and pushes with the token and not without it", async (t) => {
  const refused = await run(t, "git", ["clone", `${origin()}${REPOSITORY}`], gitEnv());
  assert.notEqual(refused.code, 0, refused.output);
  const cloned = await run(t, "git", ["-c", `http.extraHeader=${basic()}`, "clone", `${origin()}${REPOSITORY}`], gitEnv());
  assert.equal(cloned.code, 0, cloned.output);
  const work = join(cloned.home, "project");
  assert.match(readFileSync(join(work, "README.md"), "utf8"), /private project/);
  const committed = await run(t, "git", ["-C", work, "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "--allow-empty", "-m", "second"], gitEnv());
  assert.equal(committed.code, 0, committed.output);
  const before = headOf(folder);
  const pushed = await run(t, "git", ["-C", work, "-c", `http.extraHeader=${basic()}`, "push", "origin", "main"], gitEnv());
  assert.equal(pushed.code, 0, pushed.output);
  assert.notEqual(headOf(folder), before);
  const stranger = await run(t, "git", ["-C", work, "push", "origin", "main"], gitEnv());
  assert.notEqual(stranger.code, 0, stranger.output);
});

test("npm installs the package with the token and not without it", async (t) => {
  const host = origin().slice("https:".length);
  const args = ["install", "--no-audit", "--no-fund", "--no-update-notifier", "--ignore-scripts", "--prefix=.", `--registry=${origin()}/npm/`, `--cafile=${caFile}`, "--fetch-retries=0"];
  const refused = await run(t, "npm", [...args, NPM_PACKAGE]);
  assert.match(refused.output, /E401/);
  const installed = await run(t, "npm", [...args, `--${host}/npm/:_authToken=${token}`, NPM_PACKAGE]);
  assert.equal(installed.code, 0, installed.output);
  assert.match(readFileSync(join(installed.home, "node_modules", NPM_PACKAGE, "index.js"), "utf8"), new RegExp(GREETING));
});

test("Python's index and its wheel are for those with the token", async () => {
  assert.equal((await ask("/simple/forge-greeting/")).statusCode, 401);
  const authorization = `Bearer ${token}`;
  const page = await text(await ask("/simple/forge-greeting/", { authorization }));
  const [, href = "", digest = ""] = /href="([^#"]+)#sha256=([0-9a-f]{64})"/.exec(page) ?? [];
  const wheel = await buffer(await ask(href, { authorization }));
  assert.equal(digestOf(wheel), digest);
  assert.equal(wheel.readUInt32LE(0), 0x04034b50);
  assert.ok(wheel.includes(GREETING));
});

test("what arrived is told as a digest, and reflected where that is asked for", async () => {
  const authorization = `Bearer ${token}`;
  const told = JSON.parse(await text(await ask("/whoami", { authorization }))) as { authorization: object };
  assert.deepEqual(told.authorization, { scheme: "Bearer", digest: digestOf(authorization) });
  const reflected = await ask("/reflect", { authorization });
  assert.equal(reflected.headers["x-reflected"], authorization);
  assert.ok((await text(reflected)).includes(Buffer.from(token).toString("base64")));
  assert.equal(JSON.stringify(await seen()).includes(token), false, "the record keeps digests alone");
});

test("large bodies arrive whole in both directions", async () => {
  const bytes = 5_000_000;
  const body = await buffer(await ask(`/blob?bytes=${bytes}`));
  assert.equal(digestOf(body), digestOfBlob(bytes));
  const up = JSON.parse(await text(await ask("/upload", { method: "PUT", body }))) as { bytes: number; sha256: string };
  assert.deepEqual(up, { bytes, sha256: digestOfBlob(bytes) });
});

test("redirects name where they were told to", async () => {
  const response = await ask(`/redirect?status=307&to=${encodeURIComponent("https://elsewhere.example/x")}`);
  assert.deepEqual([response.statusCode, response.headers.location], [307, "https://elsewhere.example/x"]);
});

test("HTTP/2 is served, and on its own port nothing else", async () => {
  for (const server of [forge.https, forge.http2]) {
    const session = connect(`https://localhost:${portOf(server)}`, { ca });
    const stream = session.request({ ":path": "/whoami" });
    assert.equal((JSON.parse(await text(stream)) as { httpVersion: string }).httpVersion, "2.0");
    session.close();
  }
  const socket = connectTls({ port: portOf(forge.http2), host: "localhost", ca, ALPNProtocols: ["http/1.1"] });
  socket.write("GET /whoami HTTP/1.1\r\nhost: localhost\r\n\r\n");
  const answer = await text(socket).catch((error: unknown) => String(error));
  assert.doesNotMatch(answer, /httpVersion/);
});

test("a WebSocket says what it hears", async () => {
  const sent = request(`${origin()}/echo`, { ca, agent: false, headers: { connection: "Upgrade", upgrade: "websocket", "sec-websocket-version": "13", "sec-websocket-key": randomBytes(16).toString("base64") } });
  sent.end();
  const [, socket] = (await once(sent, "upgrade")) as [IncomingMessage, Socket];
  const mask = Buffer.from([1, 2, 3, 4]);
  const payload = Buffer.from("hello").map((byte, index) => byte ^ (mask[index % 4] ?? 0));
  socket.write(Buffer.concat([Buffer.from([0x81, 0x80 | payload.length]), mask, payload]));
  const [frame] = (await once(socket, "data")) as [Buffer];
  assert.deepEqual(frame, Buffer.concat([Buffer.from([0x81, 5]), Buffer.from("hello")]));
  socket.destroy();
});

test("slow streams are timed byte by byte, and their end is seen", async () => {
  const response = await ask("/drip?everyMs=10");
  await once(response, "data");
  await once(response, "data");
  response.destroy();
  const up = request(`${origin()}/pour?id=slow`, { method: "PUT", ca, agent: false });
  up.on("error", () => undefined);
  up.write("x");
  const entryOf = async (path: string, isIt: (entry: SeenRequest) => boolean): Promise<SeenRequest> => {
    for (;;) {
      const entry = (await seen()).requests.find((candidate) => candidate.path.startsWith(path) && isIt(candidate));
      if (entry !== undefined) return entry;
    }
  };
  await entryOf("/pour", ({ lastReceivedAt }) => lastReceivedAt !== null);
  up.destroy();
  for (const path of ["/drip", "/pour"]) {
    const { lastReceivedAt, lastSentAt, endedAt } = await entryOf(path, (entry) => entry.endedAt !== null);
    assert.ok((lastReceivedAt ?? lastSentAt ?? Infinity) <= (endedAt ?? 0), path);
  }
});
