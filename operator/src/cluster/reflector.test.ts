import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { type FakeApiServer, startFakeApiServer } from "../../../test/fakes/apiserver.ts";
import type { Connection } from "./connect.ts";
import { createApiClient } from "./http.ts";
import { type ObserveOptions, type Observation, observeResource } from "./observe.ts";
import { SERVICE_ACCOUNTS } from "./resources.ts";
import type { Observed } from "../kernel/kind.ts";

const COLLECTION = "/api/v1/serviceaccounts";
const OURS = { "app.kubernetes.io/managed-by": "paddock" };

function plain(url: string): Connection {
  return { url, tls: async () => ({}), authorization: async () => undefined };
}

async function open(t: TestContext, options: Partial<ObserveOptions> = {}) {
  const server = await startFakeApiServer();
  const client = createApiClient(plain(server.url));
  const restarts: string[] = [];
  const observation = observeResource(SERVICE_ACCOUNTS, { client, namespaces: [], onRestart: (_plural, reason) => restarts.push(reason), ...options });
  t.after(async () => {
    await observation.stop();
    client.close();
    await server.close();
  });
  return { server, observation, restarts };
}

function make(server: FakeApiServer, name: string, labels: Record<string, string> = OURS): void {
  server.store.create(COLLECTION, "team", { metadata: { name, labels } });
}

/** Resolves when `condition` holds; asked anew at each change of the store. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

const names = (observation: Observation<Observed>): string[] => [...observation.store.keys()].map(({ name }) => name).sort();

test("lists in pages, then follows adds, changes and deletes of selected objects", async (t) => {
  const modes: string[] = [];
  const { server, observation } = await open(t, { timing: { pageSize: 2 }, onList: (_plural, mode) => modes.push(mode) });
  server.setStreamingLists("refused");
  for (const name of ["a", "b", "c", "d", "e"]) make(server, name);
  make(server, "foreign", {});
  observation.start();
  await until(() => observation.store.isSynced());
  assert.deepEqual(names(observation), ["a", "b", "c", "d", "e"]);
  assert.equal(server.requests.filter((line) => line === `GET ${COLLECTION}`).length >= 3, true);
  await until(() => server.watches() === 1);
  make(server, "f");
  make(server, "alien", {});
  server.store.delete({ collection: COLLECTION, namespace: "team", name: "a" }, undefined);
  await until(() => names(observation).join() === "b,c,d,e,f");
  // The refusal is remembered: one list anew is one list, without asking again.
  const before = server.requests.length;
  server.muteWatches();
  server.store.compact();
  server.cutWatches();
  await until(() => modes.length === 2 && server.watches() === 1);
  assert.deepEqual(modes, ["pages", "pages"]);
  assert.equal(server.requests.length - before, 1 + 3 + 1);
});

test("lists as a stream where the server can, and goes on with the same watch", async (t) => {
  const modes: string[] = [];
  const { server, observation } = await open(t, { onList: (_plural, mode) => modes.push(mode) });
  for (const name of ["a", "b", "c"]) make(server, name);
  make(server, "foreign", {});
  observation.start();
  await until(() => observation.store.isSynced());
  assert.deepEqual(names(observation), ["a", "b", "c"]);
  assert.equal(observation.blindMs(), 0);
  make(server, "d");
  await until(() => names(observation).join() === "a,b,c,d");
  assert.deepEqual([modes, server.requests.length], [["stream"], 1]);
});

test("a server that does not know streaming lists and says nothing is listed in pages", async (t) => {
  const modes: string[] = [];
  const { server, observation } = await open(t, { timing: { listSilenceMs: 50, silenceMs: 60_000 }, onList: (_plural, mode) => modes.push(mode) });
  server.setStreamingLists("unknown");
  make(server, "a");
  observation.start();
  await until(() => observation.store.isSynced() && server.watches() === 1);
  assert.deepEqual([modes, names(observation)], [["pages"], ["a"]]);
});

test("while a list is read anew, readers keep what they have, and only what differs is told", async (t) => {
  const { server, observation } = await open(t);
  make(server, "a");
  make(server, "b");
  observation.start();
  await until(() => observation.store.isSynced());
  const told: string[] = [];
  const missing: string[] = [];
  observation.store.onChange(({ metadata }) => {
    told.push(metadata.name);
    if (observation.store.get({ namespace: "team", name: "b" }) === undefined) missing.push(metadata.name);
  });
  server.muteWatches();
  server.store.deleteUnseen({ collection: COLLECTION, namespace: "team", name: "a" });
  make(server, "c");
  server.store.compact();
  server.cutWatches();
  await until(() => names(observation).join() === "b,c");
  assert.deepEqual([told, missing], [["a", "c"], []]);
});

test("the next watch takes over before the server ends the last one: never blind, nothing twice, nothing missed", async (t) => {
  const { server, observation, restarts } = await open(t, { timing: { minSeconds: 1, maxSeconds: 1 } });
  observation.start();
  await until(() => observation.store.isSynced());
  const blindBefore = observation.blindTotalMs();
  const told: string[] = [];
  observation.store.onChange(({ metadata }) => told.push(metadata.name));
  let made = 0;
  while (restarts.length < 2) {
    make(server, `n${made}`);
    made += 1;
    await until(() => told.length === made);
  }
  assert.deepEqual(restarts, ["timeout", "timeout"]);
  assert.equal(observation.blindTotalMs(), blindBefore);
  assert.deepEqual(told, Array.from({ length: made }, (_, index) => `n${index}`));
});

test("an object kept in the cache has no managedFields", async (t) => {
  const { server, observation } = await open(t);
  make(server, "a");
  observation.start();
  await until(() => observation.store.isSynced());
  const kept = observation.store.get({ namespace: "team", name: "a" });
  assert.deepEqual(Object.keys(kept?.metadata ?? {}).sort(), ["creationTimestamp", "generation", "labels", "name", "namespace", "resourceVersion", "uid"]);
});

test("a watch cut in the middle of a line goes on from the last whole event, without a list", async (t) => {
  const { server, observation, restarts } = await open(t);
  observation.start();
  await until(() => server.watches() === 1);
  make(server, "a");
  await until(() => names(observation).join() === "a");
  const lists = server.requests.length;
  server.cutWatches("midLine");
  make(server, "b");
  await until(() => names(observation).join() === "a,b");
  assert.equal(server.requests.length, lists + 1);
  assert.deepEqual(restarts, ["timeout"]);
});

test("410 lists anew and removes what was deleted meanwhile", async (t) => {
  const { server, observation, restarts } = await open(t);
  make(server, "a");
  make(server, "b");
  observation.start();
  await until(() => server.watches() === 1);
  const told: string[] = [];
  observation.store.onChange(({ metadata }) => told.push(metadata.name));
  server.muteWatches();
  server.store.deleteUnseen({ collection: COLLECTION, namespace: "team", name: "a" });
  server.store.compact();
  server.cutWatches();
  await until(() => names(observation).join() === "b");
  assert.equal(told[0], "a");
  assert.equal(restarts.includes("expired"), true);
});

test("a silent watch is given up and events missed on it arrive", async (t) => {
  const { server, observation, restarts } = await open(t, { timing: { silenceMs: 60 } });
  observation.start();
  await until(() => server.watches() === 1);
  server.muteWatches();
  make(server, "a");
  await until(() => names(observation).join() === "a");
  assert.equal(restarts.includes("silence"), true);
});

test("bookmarks move the version on", async (t) => {
  const { server, observation } = await open(t);
  observation.start();
  await until(() => server.watches() === 1);
  make(server, "elsewhere", {});
  const version = String(server.store.version());
  assert.equal(observation.hasReached("team", version), false);
  server.bookmark();
  await until(() => observation.hasReached("team", version));
});

test("a server that fails is asked again; the cache is blind until then", async (t) => {
  const troubles: string[] = [];
  const { server, observation } = await open(t, { onTrouble: (_plural, error) => troubles.push(String(error)) });
  server.failNext(/serviceaccounts/, 500, { count: 2 });
  observation.start();
  assert.equal(observation.blindMs() >= 0, true);
  await until(() => observation.store.isSynced());
  await until(() => observation.blindMs() === 0);
  assert.equal(troubles.length, 2);
});

test("each namespace has its own watch, and all must be listed to be synced", async (t) => {
  const { server, observation } = await open(t, { namespaces: ["team", "other"] });
  make(server, "a");
  server.store.create(COLLECTION, "third", { metadata: { name: "x", labels: OURS } });
  observation.start();
  await until(() => observation.store.isSynced());
  assert.deepEqual(names(observation), ["a"]);
  await until(() => server.watches() === 2);
});

test("stop ends the watch and leaves nothing", async (t) => {
  const { server, observation } = await open(t);
  observation.start();
  await until(() => server.watches() === 1);
  await observation.stop();
  await until(() => server.watches() === 0);
});

test("a connection that is told to go away is replaced", async (t) => {
  const server = await startFakeApiServer();
  const client = createApiClient(plain(server.url));
  t.after(async () => {
    client.close();
    await server.close();
  });
  const read = () => client.request({ verb: "list", resource: "pods", method: "GET", path: "/api/v1/pods" });
  await read();
  server.goaway();
  for (let count = 0; count < 20; count += 1) await read();
  assert.equal(server.connections(), 2);
});

test("a broken connection is made anew and the watch goes on from its last version", async (t) => {
  const { server, observation } = await open(t);
  observation.start();
  await until(() => server.watches() === 1);
  make(server, "a");
  await until(() => names(observation).join() === "a");
  const requests = server.requests.length;
  server.drop();
  make(server, "b");
  await until(() => names(observation).join() === "a,b");
  assert.equal(server.requests.length, requests + 1);
});

test("more watches than a connection carries get another one", async (t) => {
  const server = await startFakeApiServer();
  const client = createApiClient(plain(server.url));
  t.after(async () => {
    client.close();
    await server.close();
  });
  for (let count = 0; count < 65; count += 1) await client.watch("pods", "/api/v1/pods?watch=1&resourceVersion=100");
  assert.equal(server.watches(), 65);
  assert.equal(server.connections(), 2);
});
