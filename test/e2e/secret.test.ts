import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { randomBytes } from "node:crypto";
import { credentialPath, modelCredential } from "@paddock/api/names";
import { apply, buildAgent, buildEnvironment, buildSession, eventually, finished, reasonOf, runningPod } from "./lab.ts";
import { kubectl, list, must } from "./kubectl.ts";
import type { Pod } from "./lab.ts";
import { call, deployModel, say } from "./model.ts";
import { openNamespace } from "./namespace.ts";
import { openGateway, readLog, userToken } from "./people.ts";
import type { PeopleClient } from "./people.ts";

let namespace: string;
let gateway: PeopleClient;
const first = `key-${randomBytes(12).toString("hex")}`;
const second = `key-${randomBytes(12).toString("hex")}`;

function buildSecret(value: string): object {
  return { apiVersion: "v1", kind: "Secret", metadata: { name: "model-key" }, stringData: { "api-key": value } };
}

before(async () => {
  namespace = await openNamespace("secret");
  await apply(namespace, buildAgent("agent"), buildEnvironment("environment", { model: { apiKey: { secretKeyRef: { name: "model-key", key: "api-key" } } } }));
  // The second call waits for a file that the test makes once the key was rotated everywhere.
  await deployModel(namespace, { rotate: [call("bash", { command: "until [ -e /workspace/go ]; do sleep 0.2; done; echo went" }), say("Done.")] }, { apiKey: first });
  gateway = await openGateway();
});

after(() => {
  gateway.close();
});

async function execIn(pod: Pod, ...command: readonly string[]): Promise<string> {
  return must(["exec", pod.metadata.name, "-n", namespace, "--", ...command]);
}

test("a missing Secret is named with its key, and the session goes on when it arrives", async () => {
  await apply(namespace, buildSession("waits", "rotate"));
  await eventually("the status names Secret and key", async () => {
    const text = await must(["get", "session", "waits", "-n", namespace, "-o", "yaml"]);
    return text.includes("model-key") && text.includes("api-key");
  });
  await apply(namespace, buildSecret(first));
  await runningPod(namespace, "waits", "sandbox"); // it got its first answer
});

test("the Secret is a file in the runner; a rotated one is picked up without restart; it is nowhere else", async (t) => {
  const runner = await runningPod(namespace, "waits", "runner");
  const path = credentialPath(modelCredential("default"));
  const read = ["node", "-e", `process.stdout.write(require("node:fs").readFileSync(${JSON.stringify(path)}, "utf8"))`];
  assert.equal(await execIn(runner, ...read), first);

  await apply(namespace, buildSecret(second));
  await apply(namespace, { apiVersion: "v1", kind: "Secret", metadata: { name: "scripted-model-key" }, stringData: { value: second } });
  await eventually("the kubelet to rotate the file", async () => (await execIn(runner, ...read)) === second, 180);
  const model = (await list<Pod>("pods", namespace, "app=scripted-model"))[0];
  assert.ok(model);
  const modelRead = ["node", "-e", 'process.stdout.write(require("node:fs").readFileSync("/run/key/value", "utf8"))'];
  await eventually("the model server to ask for the new key", async () => (await execIn(model, ...modelRead)).trim() === second, 180);
  const log = await must(["logs", runner.metadata.name, "-n", namespace]);
  const podYaml = await must(["get", "pods", "-n", namespace, "-o", "yaml"]);
  await execIn(await runningPod(namespace, "waits", "sandbox"), "touch", "/workspace/go");
  const session = await finished(namespace, "waits");
  assert.equal(reasonOf(session), "Completed", JSON.stringify(session.status));
  assert.equal(session.status?.runner?.attempts, 1, "no restart");

  await t.test("no env, spec, log line, event or status holds it", async () => {
    const token = await userToken(namespace);
    const places: Record<string, string> = {
      "pod specs": podYaml,
      "runner's log": log,
      "session log": JSON.stringify(await readLog(gateway, namespace, "waits", token)),
      "Paddock's objects": await must(["get", "paddock", "-n", namespace, "-o", "yaml"]),
      events: await must(["get", "events", "-n", namespace, "-o", "yaml"]),
      "operator's log": await must(["logs", "deployment/paddock-operator", "-n", "paddock-system", "--tail=-1"]),
      "gateway's log": await must(["logs", "statefulset/paddock-gateway", "-n", "paddock-system", "--tail=-1"]),
      "config maps": await must(["get", "configmaps", "-A", "-o", "yaml"]),
    };
    for (const [place, text] of Object.entries(places)) {
      for (const value of [first, second]) {
        for (const form of [value, Buffer.from(value).toString("base64"), encodeURIComponent(value)]) {
          assert.ok(!text.includes(form), `${place} holds the key`);
        }
      }
    }
    assert.ok((await must(["get", "secret", "model-key", "-n", namespace, "-o", "yaml"])).includes(Buffer.from(second).toString("base64")), "control: the scan finds it where it is");
  });
});

test("a key that the endpoint refuses ends as ModelError and says which Secret to mend", async () => {
  await apply(namespace, buildSecret("key-wrong"));
  await apply(namespace, buildSession("refused", "rotate"));
  const session = await finished(namespace, "refused");
  assert.equal(reasonOf(session), "ModelError");
  assert.match(session.status?.result?.message ?? "", /model-key/);
  const { stdout } = await kubectl(["get", "session", "refused", "-n", namespace, "-o", "yaml"]);
  assert.ok(!stdout.includes("key-wrong"));
});
