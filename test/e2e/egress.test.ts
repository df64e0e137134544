import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { LogEvent } from "@paddock/api/log/events";
import { apply, buildAgent, buildSession, eventually, finished, reasonOf, runningPod } from "./lab.ts";
import { must } from "./kubectl.ts";
import { call, deployModel, say } from "./model.ts";
import type { Turn } from "./model.ts";
import { FORGE_CA, FORGE_SECRET, buildForgeSecret } from "../forge/deploy.ts";
import { GREETING, NPM_PACKAGE } from "../forge/packages.ts";
import { CANARY_SEARCH, PYTHON_INSTALL, WEBSOCKET_CLIENT, runNodeProgram, runPythonProgram } from "../forge/programs.ts";
import { digestOfBlob } from "../forge/routes.ts";
import { buildForgeCredential, buildForgeEnvironment, conditionOf, makeToken, openForgeScene, resultsOf } from "../forge/scene.ts";
import type { ForgeScene } from "../forge/scene.ts";
import { digestOf } from "../forge/seen.ts";

// Programs in a sandbox reach what the Environment lists and nothing else, with a credential that they never see. The other side of
// every connection is the forge, a pod of the test's namespace.

const MIB = 1024 * 1024;
const UNLISTED = "not-listed.example";

let scene: ForgeScene;
let bearer: string;

before(async () => {
  scene = await openForgeScene("egress");
  const { namespace, forge, token } = scene;
  bearer = digestOf(`Bearer ${token}`);
  await apply(namespace, buildAgent("agent"), buildForgeEnvironment("environment", buildNetwork(), { credentials: buildCredentials() }));
  await deployModel(namespace, {
    tools: turnsOf(toolCommands()),
    rules: turnsOf(ruleCommands()),
    streams: turnsOf(streamCommands()),
    secrets: turnsOf(secretCommands()),
    rotation: turnsOf([`until curl -s https://${forge.host}/whoami | grep -q "$(cat /workspace/wanted 2>/dev/null || echo nothing-yet)"; do sleep 0.5; done; echo rotated`]),
    missing: turnsOf([`curl -sS https://${forge.host}/whoami; until curl -sSf https://${forge.host}/whoami 2> /dev/null; do sleep 0.5; done`]),
  });
});

after(() => scene.close());

function buildNetwork(): object {
  const { forge } = scene;
  return {
    allowedHosts: [
      { host: forge.host, ports: [443, 8444] },
      { host: forge.mirror, methods: ["GET"], paths: ["/whoami", "/redirect"] },
      // No rule and no credential: carried as it is.
      { host: forge.mirror, ports: [8444] },
    ],
  };
}

function buildCredentials(): readonly object[] {
  const { forge } = scene;
  return [
    buildForgeCredential("git", forge.host, { paths: ["/git"], inject: { basicUsername: "x-access-token" } }),
    buildForgeCredential("api", forge.host, { paths: ["/npm", "/simple", "/whoami", "/reflect", "/echo"] }),
  ];
}

function turnsOf(commands: readonly string[]): readonly Turn[] {
  return [...commands.map((command) => call("bash", { command })), say("Done.")];
}

function toolCommands(): readonly string[] {
  const { host } = scene.forge;
  return [
    `set -e; git clone --quiet https://${host}/git/project.git; cd project; git -c user.name=a -c user.email=a@example.com commit --quiet --allow-empty -m second; git push --quiet origin main; git fetch; git rev-parse HEAD; git status -sb; ls`,
    `set -e; mkdir app; cd app; npm install --no-audit --no-fund --registry=https://${host}/npm/ ${NPM_PACKAGE}; node -p 'require("${NPM_PACKAGE}")'`,
    runPythonProgram(PYTHON_INSTALL, `https://${host}/simple/forge-greeting/`),
    `curl -sS https://${host}/whoami`,
    `node -e 'fetch("https://${host}/whoami").then((answer) => answer.text()).then(console.log)'`,
    `curl -sS https://${host}/`,
  ];
}

function ruleCommands(): readonly string[] {
  const { host, mirror } = scene.forge;
  return [
    `curl -sS https://${UNLISTED}/`,
    `git ls-remote https://${UNLISTED}/x.git`,
    `npm install --no-audit --no-fund --fetch-retries=0 --registry=https://${UNLISTED}/ x`,
    `curl -sS http://${UNLISTED}/`,
    `curl -sS -X POST https://${mirror}/whoami`,
    `curl -sS https://${mirror}/blob`,
    `curl -sS https://${mirror}/whoami`,
    `curl -sS http://${host}/`,
    `curl -sS -H 'Host: ${mirror}' https://${host}/whoami`,
    `curl -sS -L https://${host}/redirect?to=https://${mirror}/whoami`,
    `curl -sS -L https://${host}/redirect?to=http://${UNLISTED}/`,
  ];
}

function streamCommands(): readonly string[] {
  const { host, mirror } = scene.forge;
  const bytes = 64 * MIB;
  return [
    `curl -sS 'https://${host}/blob?bytes=${bytes}' | sha256sum; curl -sS --http2 'https://${mirror}:8444/blob?bytes=${bytes}' | sha256sum`,
    `curl -sS --http2 'https://${mirror}:8444/blob?bytes=${bytes}' > /tmp/blob; curl -sS -T /tmp/blob https://${host}/upload; curl -sS --http2 -T /tmp/blob https://${mirror}:8444/upload; rm /tmp/blob`,
    `curl -sS --http2 https://${host}:8444/whoami; curl -sS --http2 https://${mirror}:8444/whoami; curl -sS --http1.1 https://${host}/whoami`,
    runNodeProgram(WEBSOCKET_CLIENT, host, "443", "/echo"),
    `curl -sS --max-time 3 'https://${host}/drip?everyMs=100' | wc -c`,
  ];
}

function secretCommands(): readonly string[] {
  const { host } = scene.forge;
  return [
    `curl -sS -i https://${host}/reflect`,
    `curl -sS --compressed -i 'https://${host}/reflect?encoding=gzip'`,
    `curl -sS -H 'Authorization: Bearer mine' https://${host}/whoami`,
    `curl -sS -H 'Authorization: Bearer mine' https://${host}/blob?bytes=1`,
    "env; ls /run/paddock /run/secrets 2>&1; true",
    runPythonProgram(CANARY_SEARCH),
  ];
}

/** What the forge says that it was asked, of a result's lines. */
function answersOf(result: string): readonly { readonly httpVersion: string; readonly authorization: { readonly scheme: string; readonly digest: string } | null }[] {
  return result.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line) as ReturnType<typeof answersOf>[number]);
}

/** Runs the session of a prompt to its end. */
async function run(name: string): Promise<{ results: readonly string[]; events: readonly LogEvent[] }> {
  await apply(scene.namespace, buildSession(name, name));
  const session = await finished(scene.namespace, name, 300);
  const events = await scene.log(name);
  assert.equal(reasonOf(session), "Completed", `${JSON.stringify(session.status?.conditions)}\n${resultsOf(events).join("\n---\n")}`);
  return { results: resultsOf(events), events };
}

type Decided = Extract<LogEvent, { type: "egress.decided" }>["data"];

function decisionsOf(events: readonly LogEvent[]): readonly Decided[] {
  return events.flatMap((event) => (event.type === "egress.decided" ? [event.data] : []));
}

test("git, npm, Python, curl and Node's fetch reach a private forge with a credential that the proxy adds", async (t) => {
  const { results, events } = await run("tools");
  const [git = "", npm = "", python = "", curl = "", fetched = "", page = ""] = results;
  const { forge, token, namespace } = scene;

  await t.test("git clones, pushes and fetches", async () => {
    assert.ok(git.includes(await forge.head()), git);
    assert.match(git, /README\.md/);
    const [basic] = (await forge.requests("/git/")).filter(({ path }) => path.includes("git-receive-pack"));
    assert.deepEqual(basic?.authorization, { scheme: "Basic", digest: digestOf(`Basic ${Buffer.from(`x-access-token:${token}`).toString("base64")}`) });
  });
  await t.test("npm installs, and what it installed runs", () => assert.match(npm, new RegExp(GREETING)));
  await t.test("Python's index: fetched, checked against its digest, imported", () => assert.match(python, new RegExp(GREETING)));
  await t.test("curl and Node's fetch are given the header", () => {
    for (const text of [curl, fetched]) assert.equal(answersOf(text)[0]?.authorization?.digest, bearer, text);
  });
  await t.test("a path without a credential gets none", async () => {
    assert.match(page, new RegExp(GREETING));
    const [plain] = (await forge.requests("/")).filter(({ path }) => path === "/");
    assert.equal(plain?.authorization, null);
  });
  await t.test("the forge was reached by the runner alone", async () => {
    const runnerAddresses = new Set((await forge.requests("/whoami")).map(({ from }) => from.replace("::ffff:", "")));
    const sandbox = events.flatMap((event) => (event.type === "sandbox.bound" ? [event.data.address] : []));
    assert.equal(runnerAddresses.size, 1);
    assert.deepEqual(sandbox.filter((address) => runnerAddresses.has(address)), []);
  });
  await t.test("decisions are events, with the credential's name", () => {
    const decided = decisionsOf(events);
    const names = new Set(decided.map(({ credential }) => credential));
    assert.deepEqual([...names].filter((name) => name !== undefined).sort(), ["api", "git"], JSON.stringify(decided));
    for (const { host, port, decision, rule } of decided) assert.deepEqual({ host, port, decision, rule }, { host: forge.host, port: 443, decision: "Allow", rule: "network.allowedHosts[0]" });
    assert.ok(decided.reduce((sum, { bytesReceived }) => sum + bytesReceived, 0) > MIB, "the clone's bytes are counted");
  });
  await t.test("the session is proven to be isolated", async () => {
    const isolated = await conditionOf("session", "tools", namespace, "Isolated");
    assert.deepEqual([isolated?.status, isolated?.reason], ["True", "Proven"], JSON.stringify(isolated));
    const report = events.find((event) => event.type === "isolation.reported");
    assert.ok(report?.type === "isolation.reported" && report.data.open.length === 0 && report.data.probed.length >= 4, JSON.stringify(report));
    const [started] = events.filter(({ type }) => type === "tool.started");
    assert.ok(started !== undefined && report.seq < started.seq, "reported before the first call");
  });
});

test("what is not listed is refused with the host and how to allow it; rules hold for methods, paths, names and redirects", async (t) => {
  const { results, events } = await run("rules");
  const [post = "", path = "", allowed = "", port = "", mismatch = "", redirected = "", stray = ""] = results.slice(4);
  const { forge } = scene;
  for (const [place, program] of ["curl", "git", "npm", "curl by plain HTTP"].entries()) {
    const text = results[place] ?? "";
    await t.test(`${program} is told`, () => {
      assert.match(text, new RegExp(`Paddock refused ${UNLISTED}:(443|80)`), text);
      assert.match(text, /add \{host: not-listed\.example.*\} to spec\.network\.allowedHosts of Environment environment/, text);
    });
  }
  await t.test("a method and a path that no entry allows", () => {
    assert.match(post, /Paddock refused "POST" .*allows GET only/, post);
    assert.match(path, /Paddock refused GET "\/blob" .*\/whoami.*spec\.network\.allowedHosts\[1\]\.paths/, path);
    assert.match(allowed, /"authorization":null/, allowed);
  });
  await t.test("a port that no entry allows", () => assert.match(port, new RegExp(`Paddock refused ${forge.host}:80`), port));
  await t.test("a request that names another host than the connection", () => assert.match(mismatch, /Paddock refused/, mismatch));
  await t.test("redirects are decided like any other request, and take no credential along", () => {
    assert.match(redirected, /"authorization":null/, redirected);
    assert.match(stray, new RegExp(`Paddock refused ${UNLISTED}:80`), stray);
  });
  await t.test("refusals are events, and nothing of them reached the forge", async () => {
    const refusals = new Set(decisionsOf(events).filter(({ decision }) => decision === "Deny").map(({ rule }) => rule));
    for (const rule of ["HostNotAllowed", "PortNotAllowed", "MethodNotAllowed", "PathNotAllowed", "NameMismatch"]) assert.ok(refusals.has(rule), `${rule} in ${[...refusals].join(", ")}`);
    const seen = (await forge.seen()).requests;
    assert.deepEqual(seen.filter(({ method, host }) => method === "POST" && host.startsWith(forge.mirror)), []);
    assert.deepEqual(seen.filter((entry) => entry.path.startsWith("/blob") && entry.host === forge.mirror), []);
  });
});

test("large bodies, HTTP/2, WebSockets and slow streams pass through the proxy whole", async (t) => {
  const { results } = await run("streams");
  const [down = "", up = "", versions = "", socket = "", slow = ""] = results;
  const digest = digestOfBlob(64 * MIB);
  await t.test("64 MiB down, terminated and tunnelled", () => assert.equal(down.split(digest).length, 3, down));
  await t.test("64 MiB up, terminated and tunnelled", () => assert.equal(up.split(digest).length, 3, up));
  await t.test("HTTP/2 to a server that has nothing else, and HTTP/1.1", () => {
    const told = answersOf(versions);
    assert.equal(told[0]?.httpVersion, "2.0", versions);
    assert.equal(told[0]?.authorization?.digest, bearer, "with the credential");
    assert.deepEqual([told[1]?.httpVersion, told[1]?.authorization], ["2.0", null], "tunnelled: nothing is added");
    assert.equal(told[2]?.authorization?.digest, bearer);
  });
  await t.test("a WebSocket, with the credential in its handshake and masked where the server says it", () => {
    assert.match(socket, /^first: hello$/m, socket);
    assert.match(socket, /^then: (Bearer )?\*+$/m, socket);
  });
  await t.test("a stream's bytes come when they are sent", () => assert.ok(Number(/^\d+$/m.exec(slow)?.[0]) >= 5, slow));
});

test("the sandbox never holds the credential, also where the server sends it back", async (t) => {
  const { results, events } = await run("secrets");
  const [reflected = "", zipped = "", replaced = "", kept = "", env = "", search = ""] = results;
  const { token, namespace, forge } = scene;
  await t.test("reflected values are masked in headers and bodies", () => {
    for (const text of [reflected, zipped]) assertAbsent(text, token);
    assert.match(reflected, /x-reflected: .*\*{8}/i, reflected);
    assert.ok((reflected.match(/\*{8,}/g) ?? []).length >= 10, reflected);
    assert.match(reflected, /"token":"\*/);
  });
  await t.test("a header of the sandbox's own is replaced where a credential belongs, and stays where none does", async () => {
    assert.equal(answersOf(replaced)[0]?.authorization?.digest, bearer, replaced);
    assert.ok(kept.length > 0);
    const [own] = (await forge.requests("/blob?bytes=1")).filter(({ path }) => path === "/blob?bytes=1");
    assert.equal(own?.authorization?.digest, digestOf("Bearer mine"));
  });
  await t.test("not in environment, files or memory that the sandbox's programs can read", () => {
    assertAbsent(env, token);
    assert.match(search, /control found: True/, search);
    assert.match(search, /found: 0 in/, search);
    t.diagnostic(search.replaceAll("\n", "; "));
  });
  await t.test("not in the log, pods and objects of the namespace", async () => {
    assertAbsent(JSON.stringify(events), token);
    for (const kind of ["paddock", "pods", "events", "configmaps"]) assertAbsent(await must(["get", kind, "-n", namespace, "-o", "yaml"]), token);
    assert.ok((await must(["get", "secret", FORGE_SECRET.name, "-n", namespace, "-o", "yaml"])).includes(Buffer.from(token).toString("base64")), "control: it is found where it is");
  });
});

/** In none of the forms in which a program could pass it on. */
function assertAbsent(text: string, token: string): void {
  const bytes = Buffer.from(token);
  const forms = [token, bytes.toString("base64"), bytes.toString("hex"), encodeURIComponent(token), ...[1, 2].map((shift) => Buffer.from("x".repeat(shift) + token).toString("base64").slice(4, -4))];
  for (const form of forms) assert.ok(!text.includes(form), "the credential is there");
}

test("a Secret that changes is used from then on, without a restart", async () => {
  const { namespace } = scene;
  await apply(namespace, buildSession("rotation", "rotation"));
  const pod = await runningPod(namespace, "rotation", "sandbox");
  const next = makeToken();
  await apply(namespace, buildForgeSecret(next));
  await must(["exec", pod.metadata.name, "-n", namespace, "--", "sh", "-c", `echo ${digestOf(`Bearer ${next}`)} > /workspace/wanted`]);
  const session = await finished(namespace, "rotation", 240);
  assert.equal(reasonOf(session), "Completed", JSON.stringify(session.status));
  assert.match(resultsOf(await scene.log("rotation")).join("\n"), /rotated/);
  assert.equal(session.status?.runner?.attempts, 1, "no restart");
});

test("a credential whose Secret is missing answers 503 with its name, and the Environment says so; the Session goes on when it arrives", async () => {
  const { namespace, forge } = scene;
  const credentials = [{ name: "absent", secretKeyRef: { name: "absent-secret", key: "token" }, hosts: [forge.host] }];
  await apply(namespace, buildForgeEnvironment("lacking", buildNetwork(), { credentials }));
  const noted = (await forge.requests("/whoami")).length;
  await apply(namespace, buildSession("missing", "missing", { environment: "lacking" }));
  const lacking = () => conditionOf("environment", "lacking", namespace, "Ready");
  await eventually("the Environment to say so", async () => {
    const ready = await lacking();
    return ready?.reason === "SecretNotFound" && ready.message.includes("absent-secret");
  });
  assert.equal((await forge.requests("/whoami")).length, noted, "nothing is sent without it");
  const arrived = makeToken();
  await apply(namespace, { apiVersion: "v1", kind: "Secret", metadata: { name: "absent-secret" }, stringData: { token: arrived } });
  const session = await finished(namespace, "missing", 240);
  assert.equal(reasonOf(session), "Completed", JSON.stringify(session.status));
  const [result = ""] = resultsOf(await scene.log("missing"));
  assert.match(result, /Paddock did not send the request to .*absent-secret/, result);
  assert.equal(answersOf(result)[0]?.authorization?.digest, digestOf(`Bearer ${arrived}`), result);
  assert.equal(session.status?.runner?.attempts, 1, "no restart");
  await eventually("the Environment to be ready again", async () => (await lacking())?.reason === "Available");
});

test("a Service that no peer covers: the Environment names the host and the peer to add", async () => {
  const { namespace, forge } = scene;
  const network = { allowedHosts: [{ host: "registry.elsewhere.svc" }, { host: forge.host }], caBundle: { configMapKeyRef: FORGE_CA } };
  await apply(namespace, buildForgeEnvironment("peerless", network));
  const ready = await eventually("the Environment to say so", async () => {
    const condition = await conditionOf("environment", "peerless", namespace, "Ready");
    return condition?.reason === "InvalidReference" && condition;
  });
  assert.equal(ready.status, "False");
  assert.match(ready.message, /registry\.elsewhere\.svc/);
  assert.match(ready.message, /spec\.network\.inCluster/);
  assert.match(ready.message, /kubernetes\.io\/metadata\.name: elsewhere/);
});
