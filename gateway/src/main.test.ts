import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import type { TestContext } from "node:test";
import type { LogEvent, NewEvent } from "@paddock/api/log/events";
import { hashOf } from "@paddock/api/log/fold";
import { follow, send } from "../../test/fakes/client.ts";
import type { Target } from "../../test/fakes/client.ts";
import { startReviews } from "../../test/fakes/reviews.ts";
import type { Reviews } from "../../test/fakes/reviews.ts";
import { buildTestBundle, event, requestedEvent, startedEvent } from "../../test/fakes/session.ts";

// The gateway as its container runs it: a process of its own, killed and started again over one folder.

const MAIN = join(import.meta.dirname, "main.ts");

interface Process extends Target {
  readonly child: ChildProcess;
  /** Lines of its log. */
  readonly lines: readonly string[];
}

interface Scene {
  readonly reviews: Reviews;
  readonly dataDir: string;
  start(): Promise<Process>;
}

async function setScene(context: TestContext): Promise<Scene> {
  const reviews = await startReviews();
  const dataDir = mkdtempSync(join(tmpdir(), "paddock-main-"));
  const children = new Set<ChildProcess>();
  context.after(async () => {
    for (const child of children) child.kill("SIGKILL");
    await reviews.close();
    rmSync(dataDir, { recursive: true });
  });
  const { hostname, port } = new URL(reviews.options.url);
  const env = {
    PADDOCK_NAMESPACE: "paddock-system",
    PADDOCK_OPERATOR_USER: reviews.operatorUser,
    PADDOCK_DATA_DIR: dataDir,
    PADDOCK_PORT: "0",
    PADDOCK_METRICS_PORT: "0",
    PADDOCK_API_TOKEN_FILE: reviews.options.tokenFile,
    PADDOCK_API_CA_FILE: reviews.options.caFile,
    KUBERNETES_SERVICE_HOST: hostname,
    KUBERNETES_SERVICE_PORT: port,
  };
  return {
    reviews,
    dataDir,
    start: async () => {
      const child = spawn(process.execPath, [MAIN], { env, stdio: ["ignore", "pipe", "inherit"] });
      children.add(child);
      const lines: string[] = [];
      const reader = createInterface({ input: child.stdout });
      reader.on("line", (line) => lines.push(line));
      const served = Promise.withResolvers<number>();
      reader.on("line", (line) => {
        const { msg, port: servingPort } = JSON.parse(line) as { msg: string; port?: number };
        if (msg === "serving") served.resolve(servingPort ?? 0);
      });
      child.once("exit", (code) => served.reject(new Error(`the gateway exited with ${String(code)}`)));
      const url = `https://127.0.0.1:${await served.promise}`;
      const ca = await publishedCa(reviews);
      return { child, lines, url, ca };
    },
  };
}

async function publishedCa(reviews: Reviews): Promise<string> {
  for (;;) {
    const ca = reviews.configMap("paddock-system", "paddock-gateway-ca")["ca.crt"];
    if (ca !== undefined) return ca;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function kill(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  const exited = once(child, "exit");
  child.kill(signal);
  const [code] = (await exited) as [number | null];
  return code;
}

test("kill -9 between and during appends loses no acknowledged event", async (context) => {
  const { reviews, start } = await setScene(context);
  const operator = reviews.operatorToken();
  const token = reviews.runnerToken({ namespace: "team", podUid: "p1", podName: "p1" });
  const person = reviews.personToken("ann", ["team"]);
  const acknowledged: LogEvent[] = [];
  const cas = new Set<string>();
  let batch = 1;
  let events: NewEvent[] = [startedEvent("p1", 1)];
  let attempt = 0;
  for (let life = 0; life < 6; life += 1) {
    const gateway = await start();
    cas.add(gateway.ca);
    if (life === 0) {
      const created = await send(gateway, { method: "PUT", path: "/v1/records/u", token: operator, body: { bundle: buildTestBundle("u"), namespaceUid: "n1", prompt: "Hello" } });
      assert.equal(created.status, 201);
      await send(gateway, { method: "PUT", path: "/v1/pods/p1", token: operator, body: { sessionUid: "u", component: "runner", podName: "p1" } });
    }
    let dying: Promise<number | null> | undefined;
    for (let count = 0; ; count += 1) {
      // The answer of the last append is lost with the process; the same batch goes to the next one.
      const sent = send(gateway, { method: "POST", path: "/v1/runner/events", token, body: { epoch: 1, batch, events } });
      if (count === 5 + life) dying = kill(gateway.child, "SIGKILL");
      const reply = await sent.catch(() => undefined);
      if (reply === undefined) break;
      assert.equal(reply.status, 200, JSON.stringify(reply.body));
      acknowledged.push(...(reply.body as { events: LogEvent[] }).events);
      batch += 1;
      const isOpen = events[0]?.type === "model.requested";
      if (!isOpen) attempt += 1;
      events = [isOpen ? event("model.failed", { turn: 1, attempt, class: "server", message: "" }) : requestedEvent(1, attempt, 3)];
    }
    await dying;
  }
  const gateway = await start();
  const { body } = await send(gateway, { path: "/v1/namespaces/team/sessions/session-u/events?limit=1000", token: person });
  const log = (body as { events: LogEvent[] }).events;
  assert.ok(acknowledged.length > 30, `${acknowledged.length} events were acknowledged`);
  assert.deepEqual(log.slice(2, 2 + acknowledged.length), acknowledged);
  assert.ok(log.length - 2 - acknowledged.length <= 1, "at most the last unanswered event is stored besides");
  let previous = "";
  for (const { hash, ...hashed } of log) {
    assert.equal(hash, hashOf(previous, hashed));
    previous = hash;
  }
  assert.equal(cas.size, 1, "the CA stays the same over restarts");
  assert.equal(await kill(gateway.child, "SIGTERM"), 0);
});

test("SIGTERM ends open streams and the process, and its log holds no token", async (context) => {
  const { reviews, start } = await setScene(context);
  const gateway = await start();
  const operator = reviews.operatorToken();
  const runner = reviews.runnerToken({ namespace: "team", podUid: "p1", podName: "p1" });
  const records = await follow(gateway, { path: "/v1/records", token: operator });
  assert.equal((await records.next()).value?.event, "synced");
  const held = await follow(gateway, { path: "/v1/runner", token: runner });
  assert.equal(await kill(gateway.child, "SIGTERM"), 0);
  assert.equal((await records.next()).done, true);
  assert.equal((await held.next()).done, true);
  for (const token of [operator, runner]) assert.ok(!gateway.lines.join("\n").includes(token));
});

async function runCommand(args: readonly string[], env: Readonly<Record<string, string>>): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", MAIN, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  const texts = { out: "", err: "" };
  child.stdout.on("data", (chunk: Buffer) => (texts.out += chunk.toString("utf8")));
  child.stderr.on("data", (chunk: Buffer) => (texts.err += chunk.toString("utf8")));
  const [code] = (await once(child, "close")) as [number];
  return { code, ...texts };
}

test("its commands verify, back up and restore the store that the gateway serves", async (context) => {
  const { reviews, start, dataDir } = await setScene(context);
  const env = { PADDOCK_DATA_DIR: dataDir };
  const gateway = await start();
  const body = { bundle: buildTestBundle("u"), namespaceUid: "n1", prompt: "Hello" };
  await send(gateway, { method: "PUT", path: "/v1/records/u", token: reviews.operatorToken(), body });
  assert.deepEqual(await runCommand(["verify"], env), { code: 0, out: "logs 1 · events 2 · payloads 0 · broken 0\n", err: "" });
  const file = join(dataDir, "backup");
  assert.equal((await runCommand(["backup", "--to", file], env)).code, 0);
  const refused = await runCommand(["restore", "--from", file, "--force"], env);
  assert.equal(refused.code, 1);
  assert.match(refused.err, /^paddock-gateway: a process has .* open: stop the gateway first/);
  assert.equal(await kill(gateway.child, "SIGTERM"), 0);
  assert.equal((await runCommand(["restore", "--from", file, "--force"], env)).code, 0);
  const again = await start();
  assert.equal(again.ca, gateway.ca);
  assert.equal((await runCommand(["verify", "--session", "u"], env)).code, 0);
  assert.equal((await runCommand(["verify", "--session", "v"], env)).code, 1);
});

test("asked for help or for what there is not, it says what there is", async () => {
  const help = await runCommand(["--help"], {});
  assert.equal(help.code, 0);
  assert.match(help.out, /^Usage: paddock-gateway/);
  const foreign = await runCommand(["dump"], {});
  assert.equal(foreign.code, 1);
  assert.match(foreign.err, /^paddock-gateway: there is no command "dump"/);
});

test("a faulty environment ends the process with a sentence that names the variable", async () => {
  const child = spawn(process.execPath, [MAIN], { env: { PADDOCK_NAMESPACE: "x" }, stdio: ["ignore", "ignore", "pipe"] });
  let text = "";
  child.stderr.on("data", (chunk: Buffer) => {
    text += chunk.toString("utf8");
  });
  const [code] = (await once(child, "close")) as [number];
  assert.equal(code, 1);
  assert.match(text, /^paddock-gateway: .*PADDOCK_OPERATOR_USER is not set/);
});
