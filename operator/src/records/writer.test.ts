import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { digestOf } from "@paddock/api/log/canonical";
import type { Bundle } from "@paddock/api/log/bundle";
import { follow, send } from "../../../test/fakes/client.ts";
import { type LocalGateway, startLocalGateway } from "../../../test/fakes/gateway.ts";
import { buildTestBundle } from "../../../test/fakes/session.ts";
import type { BindRecord } from "../kernel/kind.ts";
import { createGatewayClient } from "./client.ts";
import { classifyGatewayError } from "./errors.ts";
import type { TextMap } from "./texts.ts";
import { type LogAction, createLogWriter } from "./writer.ts";

// Binding with texts from ConfigMaps, against the real gateway; only the API server's ConfigMaps are a map here.

const BYTES = 524_288;

interface Bench {
  readonly gateway: LocalGateway;
  readonly maps: Map<string, TextMap>;
  /** Names of the ConfigMaps that were read, in order. */
  readonly reads: string[];
  act(action: LogAction): Promise<unknown>;
  /** What a runner of the session is given. */
  assignmentOf(uid: string): Promise<{ readonly bundle: Bundle; readonly prompt: string }>;
}

async function open(t: TestContext): Promise<Bench> {
  const gateway = await startLocalGateway();
  const client = createGatewayClient({ url: gateway.url, ca: async () => gateway.ca, onUntrusted: () => undefined, token: async () => gateway.reviews.operatorToken() });
  t.after(async () => {
    client.close();
    await gateway.close();
  });
  const maps = new Map<string, TextMap>();
  const reads: string[] = [];
  const act = createLogWriter({
    gateway: client,
    byUid: () => undefined,
    budgetOf: () => undefined,
    readNamespaceUid: async () => "n1",
    readSessionUid: async () => undefined,
    readTextMap: async ({ namespace, name }) => {
      assert.equal(namespace, "team");
      reads.push(name);
      return maps.get(name);
    },
  });
  const assignmentOf: Bench["assignmentOf"] = async (uid) => {
    await client.putPod(`pod-${uid}`, { sessionUid: uid, component: "runner", podName: `pod-${uid}` });
    const token = gateway.reviews.runnerToken({ namespace: "team", podUid: `pod-${uid}`, podName: `pod-${uid}` });
    const stream = await follow(gateway, { path: "/v1/runner", token });
    let bundle: Bundle | undefined;
    for await (const { event, data } of stream) {
      if (event === "assignment") bundle = (data as { readonly bundle: Bundle }).bundle;
      const logged = data as { readonly type?: string; readonly data?: { readonly content: string; readonly blob?: { readonly sha256: string } } };
      if (logged.type !== "input.received" || bundle === undefined) continue;
      stream.close();
      const { content = "", blob } = logged.data ?? {};
      return { bundle, prompt: blob === undefined ? content : String((await send(gateway, { path: `/v1/runner/blobs/${blob.sha256}`, token })).body) };
    }
    throw new Error("the stream ended without a prompt");
  };
  return { gateway, maps, reads, act, assignmentOf };
}

function bindOf(uid: string, change: Partial<BindRecord> = {}): LogAction {
  return { verb: "bind", uid, record: { bundle: buildTestBundle(uid), prompt: "Hello", ...change } };
}

/** A bind whose three texts are in ConfigMaps; two of them, and both files, in the same one. */
function bindFrom(uid: string): LogAction {
  const { agent, ...bundle } = buildTestBundle(uid);
  const { instructions: _, ...spec } = agent.spec;
  const instructionsFrom = { name: "texts", key: "instructions" };
  return bindOf(uid, {
    bundle: { ...bundle, agent: { ...agent, spec: { ...spec, instructionsFrom: { configMapKeyRef: instructionsFrom } } } },
    prompt: undefined,
    promptFrom: { name: "texts", key: "prompt" },
    instructionsFrom,
    filesFrom: [
      { path: "notes/a.md", configMapKeyRef: { name: "files", key: "a" } },
      { path: "b", configMapKeyRef: { name: "files", key: "b" } },
    ],
  });
}

async function faultOf(work: Promise<unknown>): Promise<string> {
  const error: unknown = await work.then(() => assert.fail("it was bound"), (thrown: unknown) => thrown);
  const fault = classifyGatewayError(error);
  return fault === undefined ? assert.fail(String(error)) : `${fault.kind}: ${fault.message}`;
}

test("texts of ConfigMaps are read once each and frozen with the session", async (t) => {
  const { act, maps, reads, assignmentOf } = await open(t);
  maps.set("texts", { data: { prompt: "Write.\n", instructions: "Be brief.\n" } }).set("files", { data: { a: "α", b: "" } });
  await act(bindFrom("u1"));
  assert.deepEqual(reads.toSorted(), ["files", "texts"]);
  const { bundle, prompt } = await assignmentOf("u1");
  assert.equal(prompt, "Write.\n");
  assert.deepEqual(bundle.files, [{ path: "notes/a.md", content: "α" }, { path: "b", content: "" }]);
  assert.equal(bundle.agent.spec.instructions, "Be brief.\n");
  assert.equal("instructionsFrom" in bundle.agent.spec, false);
  assert.equal(bundle.agent.digest, digestOf(bundle.agent.spec));
});

test("a session without such texts reads no ConfigMap", async (t) => {
  const { act, reads, assignmentOf } = await open(t);
  await act(bindOf("u1"));
  assert.deepEqual(reads, []);
  assert.deepEqual((await assignmentOf("u1")).bundle.agent, buildTestBundle("u1").agent);
});

test("a ConfigMap that changed between two tries does not bind a session twice", async (t) => {
  const { act, maps, assignmentOf } = await open(t);
  const map = (prompt: string): TextMap => ({ data: { prompt, instructions: prompt } });
  maps.set("texts", map("first")).set("files", { data: { a: "first", b: "" } });
  const bind = bindFrom("u1");
  await act(bind);
  maps.set("texts", map("second")).set("files", { data: { a: "second", b: "" } });
  await act(bind);
  const { bundle, prompt } = await assignmentOf("u1");
  assert.deepEqual([prompt, bundle.agent.spec.instructions, bundle.files?.[0]?.content], ["first", "first", "first"]);
});

test("what is missing is waited for, what is no text or too long is told, and the right value is taken", async (t) => {
  const { act, maps, assignmentOf } = await open(t);
  const bind = bindFrom("u1");
  const cases: readonly (readonly [TextMap | undefined, TextMap | undefined, RegExp])[] = [
    [undefined, undefined, /^missing-reference: ConfigMap team\/texts does not exist, which spec\.promptFrom names.*kubectl get configmap texts -n team/],
    [{}, undefined, /^missing-reference: ConfigMap team\/texts has no key prompt/],
    [{ data: { toString: "x" } }, undefined, /^missing-reference: .* no key prompt/],
    [{ data: { prompt: "a" } }, undefined, /^missing-reference: ConfigMap team\/texts has no key instructions, which instructionsFrom of Agent agent names/],
    [{ binaryData: { prompt: "AAE=" } }, undefined, /^invalid: key prompt of ConfigMap team\/texts, which spec\.promptFrom names, is binary data: write UTF-8 text under data/],
    [{ data: { prompt: "" } }, undefined, /^invalid: key prompt of ConfigMap team\/texts is empty/],
    [{ data: { prompt: "a\0" } }, undefined, /^invalid: .* holds a NUL character at character 2/],
    [{ data: { prompt: "\uFFFD" } }, undefined, /^invalid: .* holds U\+FFFD at character 1/],
    [{ data: { prompt: "é".repeat(BYTES / 2) + "a" } }, undefined, /^invalid: .* has 524289 bytes and at most 524288 are taken: shorten it/],
    [{ data: { prompt: "a", instructions: "x".repeat(BYTES + 1) } }, undefined, /^invalid: key instructions .* has 524289 bytes/],
    [{ data: { prompt: "a", instructions: "b" } }, undefined, /^missing-reference: ConfigMap team\/files does not exist, which spec\.files notes\/a\.md names/],
    [{ data: { prompt: "a", instructions: "b" } }, { data: { a: "x".repeat(BYTES), b: "y" } }, /^invalid: spec\.files have more than 524288 bytes together, reached with b \(key b of ConfigMap team\/files, 1 bytes\)/],
  ];
  for (const [texts, files, expected] of cases) {
    maps.clear();
    if (texts !== undefined) maps.set("texts", texts);
    if (files !== undefined) maps.set("files", files);
    assert.match(await faultOf(act(bind)), expected);
  }
  maps.set("texts", { data: { prompt: "a", instructions: "b" } }).set("files", { data: { a: "", b: "" } });
  await act(bind);
  assert.equal((await assignmentOf("u1")).prompt, "a");
});

test("a file that is to be the folder of another is told before anything is read", async (t) => {
  const { act, reads } = await open(t);
  const configMapKeyRef = { name: "files", key: "a" };
  const bind = bindOf("u1", { filesFrom: [{ path: "a/b", configMapKeyRef }, { path: "a", configMapKeyRef }] });
  assert.match(await faultOf(act(bind)), /^invalid: spec\.files has a and a\/b, but a cannot be both a file and a folder/);
  assert.deepEqual(reads, []);
});

test("the largest texts reach the runner as they are, also where JSON makes them longer", async (t) => {
  const { act, maps, assignmentOf } = await open(t);
  const control = "\u0001".repeat(BYTES);
  const prompt = control;
  maps.set("texts", { data: { prompt, instructions: control } }).set("files", { data: { a: control.slice(2), b: "é" } });
  await act(bindFrom("u1"));
  const { bundle, prompt: got } = await assignmentOf("u1");
  assert.ok(got === prompt && bundle.agent.spec.instructions === control);
  assert.deepEqual(bundle.files?.map(({ content }) => Buffer.byteLength(content)), [BYTES - 2, 2]);
});
