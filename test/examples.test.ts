import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { agentSpecSchema } from "@paddock/api/agent";
import type { AgentSpec } from "@paddock/api/agent";
import { environmentSpecSchema } from "@paddock/api/environment";
import type { EnvironmentSpec } from "@paddock/api/environment";
import { scheduleSpecSchema } from "@paddock/api/schedule";
import type { ScheduleSpec } from "@paddock/api/schedule";
import { sessionSpecSchema } from "@paddock/api/session";
import type { SessionSpec } from "@paddock/api/session";
import { parse, parseAllDocuments } from "yaml";

// What people copy first is valid, complete and of this release.

const root = join(import.meta.dirname, "..");
const SCHEMAS = { Agent: agentSpecSchema, Environment: environmentSpecSchema, Session: sessionSpecSchema, Schedule: scheduleSpecSchema };

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly spec: unknown;
  readonly data?: Readonly<Record<string, string>>;
}

function manifestsOf(folder: string): readonly Manifest[] {
  const path = join(root, "examples", folder);
  const files = readdirSync(path).filter((name) => name.endsWith(".yaml"));
  return files.flatMap((name) => parseAllDocuments(readFileSync(join(path, name), "utf8")).map((document) => document.toJS() as Manifest));
}

function specOf<T>(manifests: readonly Manifest[], kind: string, name: string): T {
  const found = manifests.find((manifest) => manifest.kind === kind && manifest.metadata.name === name);
  assert.ok(found, `the examples hold no ${kind} ${name}`);
  return found.spec as T;
}

const folders = readdirSync(join(root, "examples"));
const all = folders.flatMap(manifestsOf);

for (const folder of folders) {
  test(`${folder}: every resource is what its schema says, with no field that would be dropped`, () => {
    const ours = manifestsOf(folder).filter(({ kind }) => Object.hasOwn(SCHEMAS, kind));
    assert.ok(ours.length >= 1);
    for (const { kind, spec } of ours) assert.deepEqual(SCHEMAS[kind as keyof typeof SCHEMAS].parse(spec), spec, `${folder} ${kind}`);
  });

  test(`${folder}: its session finds its Agent, its Environment and the model`, () => {
    const sessions = manifestsOf(folder).flatMap(({ kind, spec }) => {
      if (kind === "Schedule") return [(spec as ScheduleSpec).sessionTemplate.spec];
      return kind === "Session" ? [spec as SessionSpec] : [];
    });
    assert.equal(sessions.length, 1);
    for (const { agentRef, environmentRef } of sessions) {
      const agent = specOf<AgentSpec>(all, "Agent", agentRef.name);
      const environment = specOf<EnvironmentSpec>(all, "Environment", environmentRef.name);
      assert.ok(environment.models.some(({ name }) => name === agent.model.name));
    }
  });
}

test("every prompt is one that the scripted model of its Environment answers", () => {
  const asked = all.flatMap(({ kind, spec }) => {
    if (kind === "Schedule") return [(spec as ScheduleSpec).sessionTemplate.spec];
    return kind === "Session" ? [spec as SessionSpec] : [];
  });
  const scripted = asked.flatMap(({ environmentRef, prompt }) => {
    const { models: [model] } = specOf<EnvironmentSpec>(all, "Environment", environmentRef.name);
    const server = new URL(model?.baseURL ?? "").hostname;
    const script = all.find(({ kind, metadata }) => kind === "ConfigMap" && metadata.name === server)?.data?.["script.json"];
    return script === undefined ? [] : [{ prompt, script: JSON.parse(script) as { prompt: string } }];
  });
  assert.equal(scripted.length, folders.length - 1, "all but 03-real-model");
  for (const { prompt, script } of scripted) assert.ok(prompt?.includes(script.prompt), `${prompt} holds no "${script.prompt}"`);
});

test("the examples may be applied together, to any namespace", () => {
  const names = all.map(({ kind, metadata }) => `${kind} ${metadata.name}`);
  assert.deepEqual(names.filter((name, index) => names.indexOf(name) !== index), []);
  assert.deepEqual(all.filter(({ metadata }) => metadata.namespace !== undefined), []);
});

test("no manifest of the examples is a Secret", () => {
  assert.deepEqual(all.filter(({ kind }) => kind === "Secret"), []);
});

test("03-real-model differs from 02-workspace in the model, its key and the peer inside the cluster", () => {
  const { models: [scripted], network: _, ...rest } = specOf<EnvironmentSpec>(all, "Environment", "workspace");
  const { models: [real], ...realRest } = specOf<EnvironmentSpec>(all, "Environment", "real-model");
  assert.deepEqual(realRest, rest);
  const changed = Object.entries(real ?? {}).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(Object.entries(scripted ?? {}).find(([other]) => other === name)?.[1]));
  assert.deepEqual(changed.map(([name]) => name), ["model", "baseURL", "apiKey", "pricing"]);
});

test("chart and examples carry the release's version", () => {
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
  const chart = parse(readFileSync(join(root, "charts/paddock/Chart.yaml"), "utf8")) as { version: string; appVersion: string };
  assert.deepEqual([chart.version, chart.appVersion], [version, version]);
  const images = all.flatMap(({ spec }) => [...JSON.stringify(spec ?? null).matchAll(/"image":"([^"]+)"/g)].map(([, image]) => image));
  assert.deepEqual([...new Set(images)], [`ghcr.io/paddock/scripted-model:${version}`]);
});
