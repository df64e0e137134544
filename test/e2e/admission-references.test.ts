import assert from "node:assert/strict";
import { before, test } from "node:test";
import { API_VERSION } from "@paddock/api/group";
import { type Identity, admissionActive, grant, openServiceAccount, openUser } from "./identities.ts";
import { must } from "./kubectl.ts";
import { apply, buildAgent, buildEnvironment, buildSession } from "./lab.ts";
import { openNamespace } from "./namespace.ts";

// Nobody makes the platform use what they may not use themselves: references of Environments, Agents, Sessions and Schedules, as people
// with certificates of their own.

let namespace: string;
let platform: Identity;
let user: Identity;

const EIGHT_KEYS = ["openai", ...Array.from({ length: 7 }, (_, i) => `key-${i}`)];
const HOST = "api.example.com";
const DRY_RUN = ["create", "--dry-run=server", "-f", "-"];
const CREATE = ["create", "-f", "-"];

const inNamespace = (object: object): object => ({ ...object, metadata: { ...(object as { metadata: object }).metadata, namespace } });
const model = (name: string, secret?: string) => ({ name, model: "m", baseURL: "http://scripted-model:8080/v1", ...(secret === undefined ? {} : { apiKey: { secretKeyRef: { name: secret, key: "k" } } }) });
const environment = (name: string, spec: object): object => inNamespace(buildEnvironment(name, { spec }));
/** An Environment that adds a credential for each Secret to requests to HOST. */
const credentialed = (name: string, secrets: readonly string[], network: object = {}): object =>
  environment(name, { network: { allowedHosts: [{ host: HOST }], ...network }, credentials: secrets.map((secret, i) => ({ name: `c${i}`, secretKeyRef: { name: secret, key: "k" }, hosts: [HOST] })) });
const authorities = (map: string): object => ({ caBundle: { configMapKeyRef: { name: map, key: "roots.pem" } } });
const mayGet = (resource: string, ...resourceNames: readonly string[]) => ({ apiGroups: [""], resources: [resource], resourceNames, verbs: ["get"] });

function schedule(name: string, spec: object, metadata: object = {}): object {
  const session = (buildSession("unused", "hi", { environment: "shared" }) as { spec: object }).spec;
  return inNamespace({ apiVersion: API_VERSION, kind: "Schedule", metadata: { name, ...metadata }, spec: { schedule: "0 0 1 1 *", suspend: true, sessionTemplate: { spec: session }, ...spec } });
}

before(async () => {
  namespace = await openNamespace("references");
  await admissionActive(namespace);
  [platform, user] = await Promise.all([openUser("platform"), openUser("user")]);
  await grant(namespace, platform, "paddock-platform");
  await grant(namespace, platform, "paddock-agent-author");
  await grant(namespace, platform, [mayGet("secrets", ...EIGHT_KEYS, "registry"), mayGet("configmaps", "company-roots")]);
  await grant(namespace, user, [
    { apiGroups: ["paddock.dev"], resources: ["sessions", "schedules"], verbs: ["get", "list", "create", "update", "patch", "delete"] },
    { apiGroups: ["paddock.dev"], resources: ["environments"], resourceNames: ["shared"], verbs: ["use"] },
    mayGet("configmaps", "prompts", ...Array.from({ length: 16 }, (_, i) => `file-${i}`)),
  ]);
});

test("an Environment may name the Secrets that its author may get, eight keys and four pull secrets", async () => {
  const models = EIGHT_KEYS.map((secret, i) => model(`m${i}`, secret));
  await platform.must(CREATE, environment("full", { models, imagePullSecrets: [{ name: "registry" }] }));
});

test("an Environment that names a Secret its author may not get is refused, and says what to ask for", async () => {
  assert.match(
    await platform.refusal(DRY_RUN, environment("foreign", { models: [model("a", "openai"), model("b", "payroll")] })),
    new RegExp(`spec\\.models\\[1\\]\\.apiKey\\.secretKeyRef names payroll, which you may not get: ask for get on secret payroll in namespace ${namespace} \\(kubectl auth can-i get secret/payroll -n ${namespace}\\)`),
  );
  const pullSecrets = ["registry", "x1", "x2", "x3"].map((name) => ({ name }));
  assert.match(await platform.refusal(DRY_RUN, environment("foreign", { models: [model("a")], imagePullSecrets: pullSecrets })), /spec\.imagePullSecrets\[1\] names x1, which you may not get/);
});

test("credentials may come from the Secrets that the author may get, eight of them, with authorities from a ConfigMap and keys of eight models beside them", async () => {
  await platform.must(DRY_RUN, credentialed("credentialed", EIGHT_KEYS));
  await platform.must(CREATE, environment("everything", { models: EIGHT_KEYS.map((secret, i) => model(`m${i}`, secret)), imagePullSecrets: [{ name: "registry" }], ...(credentialed("", EIGHT_KEYS, authorities("company-roots")) as { spec: { network: object; credentials: object } }).spec }));
});

test("a credential from a Secret that the author may not get is refused, the last of eight too", async () => {
  assert.match(
    await platform.refusal(DRY_RUN, credentialed("foreign", ["openai", "payroll"])),
    new RegExp(`spec\\.credentials\\[1\\]\\.secretKeyRef names payroll, which you may not get: ask for get on secret payroll in namespace ${namespace} \\(kubectl auth can-i get secret/payroll -n ${namespace}\\)`),
  );
  assert.match(await platform.refusal(DRY_RUN, credentialed("foreign", [...EIGHT_KEYS.slice(0, 7), "payroll"])), /spec\.credentials\[7\]\.secretKeyRef names payroll, which you may not get/);
});

test("authorities from a ConfigMap that the author may not get are refused: who reads them out of a sandbox would have got it", async () => {
  await platform.must(DRY_RUN, credentialed("rooted", [], authorities("company-roots")));
  assert.match(
    await platform.refusal(DRY_RUN, credentialed("rooted", [], authorities("salaries"))),
    new RegExp(`spec\\.network\\.caBundle\\.configMapKeyRef names salaries, which you may not get: ask for get on configmap salaries in namespace ${namespace}`),
  );
});

test("who may not get a credential that stays can neither send it elsewhere nor have it written in another way", async () => {
  await must(["apply", "-f", "-"], { input: JSON.stringify(credentialed("lent", ["payroll"])) });
  const change = (...operations: readonly object[]) => platform.refusal(["patch", "environment", "lent", "-n", namespace, "--type=json", "-p", JSON.stringify(operations)]);
  const refused = /spec\.credentials\[0\]\.secretKeyRef names payroll, which you may not get/;
  const evil = "evil.example.net";
  assert.match(await change({ op: "add", path: "/spec/network/allowedHosts/-", value: { host: evil } }, { op: "replace", path: "/spec/credentials/0/hosts", value: [evil] }), refused);
  assert.match(await change({ op: "add", path: "/spec/credentials/0/inject", value: { header: "X-Echo" } }), refused);
  // A name may be answered with another address, by whoever the author of the Environment says.
  assert.match(await change({ op: "add", path: "/spec/network/allowedHosts/0/addresses", value: ["10.0.0.0/8"] }), refused);
  assert.match(await change({ op: "add", path: "/spec/network/caBundle", value: { configMapKeyRef: { name: "company-roots", key: "roots.pem" } } }), refused);
  await platform.must(["label", "environment", "lent", "-n", namespace, "team=blue"]);
  await platform.must(["patch", "environment", "lent", "-n", namespace, "--dry-run=server", "--type=json", "-p", JSON.stringify([{ op: "remove", path: "/spec/credentials" }])]);
});

test("an update is checked against the whole new spec: another address for a key that stays would steal it", async () => {
  await must(["apply", "-f", "-"], { input: JSON.stringify(environment("kept", { models: [model("a", "payroll")] })) });
  const move = ["patch", "environment", "kept", "-n", namespace, "--type=json", "-p", JSON.stringify([{ op: "replace", path: "/spec/models/0/baseURL", value: "http://evil:8080/v1" }])];
  assert.match(await platform.refusal(move), /spec\.models\[0\]\.apiKey\.secretKeyRef names payroll, which you may not get/);
  await platform.must(["label", "environment", "kept", "-n", namespace, "team=blue"]);
});

test("an Agent may take instructions from a ConfigMap that its author may get, and from no other", async () => {
  const agent = (map: string) => {
    const { spec, ...rest } = buildAgent("mapped") as { spec: Record<string, unknown> };
    const { instructions: _, ...others } = spec;
    return inNamespace({ ...rest, spec: { ...others, instructionsFrom: { configMapKeyRef: { name: map, key: "k" } } } });
  };
  assert.match(await platform.refusal(DRY_RUN, agent("prompts")), /spec\.instructionsFrom\.configMapKeyRef names prompts, which you may not get: ask for get on configmap prompts/);
  await grant(namespace, platform, [mayGet("configmaps", "prompts")]);
  await platform.must(DRY_RUN, agent("prompts"));
});

test("a Session takes the right to use its Environment", async () => {
  await user.must(DRY_RUN, inNamespace(buildSession("mine", "hi", { environment: "shared" })));
  assert.match(
    await user.refusal(DRY_RUN, inNamespace(buildSession("mine", "hi", { environment: "kept" }))),
    new RegExp(`spec\\.environmentRef names kept, which you may not use: ask for use on environments\\.paddock\\.dev kept in namespace ${namespace} \\(kubectl auth can-i use environments\\.paddock\\.dev/kept`),
  );
});

test("the role paddock-user lets use every Environment of the namespace, service accounts too", async () => {
  await apply(namespace, { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "robot" } });
  const robot = await openServiceAccount(namespace, "robot");
  const session = inNamespace(buildSession("robots", "hi", { environment: "kept" }));
  assert.match(await robot.refusal(DRY_RUN, session), /cannot create resource "sessions"/);
  await grant(namespace, robot, "paddock-user");
  await robot.must(DRY_RUN, session);
});

test("a Session may name the ConfigMaps that its author may get: a prompt and sixteen files", async () => {
  const ref = (name: string) => ({ configMapKeyRef: { name, key: "k" } });
  const session = (files: readonly string[]) => {
    const { spec, ...rest } = buildSession("texts", "hi", { environment: "shared" }) as { spec: Record<string, unknown> };
    const { prompt: _, ...others } = spec;
    return inNamespace({ ...rest, spec: { ...others, promptFrom: ref("prompts"), files: files.map((name, i) => ({ path: `f${i}`, ...ref(name) })) } });
  };
  const sixteen = Array.from({ length: 16 }, (_, i) => `file-${i}`);
  await user.must(DRY_RUN, session(sixteen));
  assert.match(await user.refusal(DRY_RUN, session([...sixteen.slice(0, 15), "salaries"])), /spec\.files\[15\]\.configMapKeyRef names salaries, which you may not get: ask for get on configmap salaries/);
});

test("a Schedule takes the same rights as its sessions, when it is made, changed and triggered", async () => {
  await user.must(CREATE, schedule("nightly", {}));
  const elsewhere = { sessionTemplate: { spec: (buildSession("unused", "hi", { environment: "kept" }) as { spec: object }).spec } };
  assert.match(await user.refusal(DRY_RUN, schedule("other", elsewhere)), /spec\.sessionTemplate\.spec\.environmentRef names kept, which you may not use/);
  assert.match(await user.refusal(["patch", "schedule", "nightly", "-n", namespace, "--type=merge", "-p", JSON.stringify({ spec: elsewhere })]), /environmentRef names kept, which you may not use/);
  await user.must(["annotate", "schedule", "nightly", "-n", namespace, "paddock.dev/trigger=1"]);
  await must(["create", "-f", "-"], { input: JSON.stringify(schedule("others", elsewhere)) });
  assert.match(await user.refusal(["annotate", "schedule", "others", "-n", namespace, "paddock.dev/trigger=1"]), /environmentRef names kept, which you may not use/);
});

test("a Schedule's template holds no key of Paddock's", async () => {
  const template = (metadata: object) => ({ sessionTemplate: { metadata, spec: (buildSession("unused", "hi", { environment: "shared" }) as { spec: object }).spec } });
  await user.must(DRY_RUN, schedule("labelled", template({ labels: { "example.com/team": "blue" } })));
  assert.match(await user.refusal(DRY_RUN, schedule("labelled", template({ labels: { "paddock.dev/schedule": "x" } }))), /sessionTemplate\.metadata: .*labels under paddock\.dev\/ are Paddock's own/);
  assert.match(await user.refusal(DRY_RUN, schedule("labelled", template({ annotations: { "paddock.dev/created-by": "root" } }))), /sessionTemplate\.metadata: .*annotations under paddock\.dev\/ are Paddock.s own/);
});
