import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import type { StateView } from "@paddock/api/wire/people";
import { follow, send } from "../../test/fakes/client.ts";
import type { Reply } from "../../test/fakes/client.ts";
import { startLocalGateway } from "../../test/fakes/gateway.ts";
import type { LocalGateway } from "../../test/fakes/gateway.ts";
import { buildTestBundle, requestedEvent, startedEvent } from "../../test/fakes/session.ts";
import { openSqliteStore } from "./store/sqlite.ts";
import { LogCorruptError } from "./store/store.ts";
import type { Store } from "./store/store.ts";

// What a gateway makes of a log that its store finds damaged; that stores find it is tried with them (store/cases-damage.ts).

interface Scene {
  readonly gateway: LocalGateway;
  readonly store: Store;
  readonly operator: string;
  readonly ann: string;
  /** A session with its runner started: events 1 to 3. */
  make(uid: string): Promise<{ readonly path: string; readonly token: string }>;
  /** From now on reading this session's events after the first fails. */
  damage(uid: string): void;
}

async function setScene(context: TestContext): Promise<Scene> {
  const folder = mkdtempSync(join(tmpdir(), "paddock-damage-"));
  const whole = openSqliteStore(folder, () => new Date());
  const damaged = new Set<string>();
  const store: Store = {
    ...whole,
    events: (uid, query) => {
      if (damaged.has(uid) && query.after >= 1) return Promise.reject(new LogCorruptError(uid, "event 2 is not what was appended"));
      return whole.events(uid, damaged.has(uid) ? { ...query, limit: 1 } : query);
    },
  };
  const gateway = await startLocalGateway({}, { store });
  context.after(async () => {
    await gateway.close();
    rmSync(folder, { recursive: true });
  });
  const operator = gateway.reviews.operatorToken();
  return {
    gateway,
    store,
    operator,
    ann: gateway.reviews.personToken("ann", ["team"], ["get", "create"]),
    make: async (uid) => {
      const podUid = `pod-${uid}`;
      await send(gateway, { method: "PUT", path: `/v1/records/${uid}`, token: operator, body: { bundle: buildTestBundle(uid), namespaceUid: "n1", prompt: "Hello" } });
      await send(gateway, { method: "PUT", path: `/v1/pods/${podUid}`, token: operator, body: { sessionUid: uid, component: "runner", podName: podUid } });
      const token = gateway.reviews.runnerToken({ namespace: "team", podUid, podName: podUid });
      assert.equal((await append(gateway, token, 1, [startedEvent(podUid, 1)])).status, 200);
      return { path: `/v1/namespaces/team/sessions/session-${uid}/events`, token };
    },
    damage: (uid) => void damaged.add(uid),
  };
}

async function append(gateway: LocalGateway, token: string, batch: number, events: readonly unknown[]): Promise<Reply> {
  return send(gateway, { method: "POST", path: "/v1/runner/events", token, body: { epoch: 1, batch, events } });
}

function problemOf({ status, body }: Reply): string {
  const { type, detail } = body as { type: string; detail: string };
  assert.ok(detail.length > 20, detail);
  return `${status} ${type.replace("https://paddock.dev/problems/", "")}`;
}

test("who reads a page of a damaged log is told, its session ends with LogCorrupt, others and the gateway go on", async (t) => {
  const { gateway, store, ann, make, damage } = await setScene(t);
  const [hurt, whole] = [await make("hurt"), await make("whole")];
  damage("hurt");
  for (let n = 0; n < 2; n += 1) {
    const refused = await send(gateway, { path: `${hurt.path}?after=1`, token: ann });
    assert.equal(problemOf(refused), "409 corrupt");
    assert.match((refused.body as { detail: string }).detail, /event 2 is not what was appended.*others are not touched/);
  }
  const record = await store.record("hurt");
  assert.deepEqual([record?.state.finished?.outcome, record?.corrupt], ["LogCorrupt", "event 2 is not what was appended"]);
  assert.match(await gateway.metrics.text(), /paddock_gateway_corrupt_logs_total 1/, "one log, however often it is read");
  assert.equal(problemOf(await append(gateway, hurt.token, 2, [requestedEvent(1, 1, 3)])), "409 corrupt");
  assert.equal((await append(gateway, whole.token, 2, [requestedEvent(1, 1, 3)])).status, 200);
  assert.equal((await send(gateway, { path: whole.path, token: ann })).status, 200);
});

test("who follows a damaged log gets what is whole, then how the session stands, and the end", async (t) => {
  const { gateway, operator, ann, make, damage } = await setScene(t);
  const hurt = await make("followed");
  damage("followed");
  const records = await follow(gateway, { path: "/v1/records", token: operator });
  const stream = await follow(gateway, { path: hurt.path, token: ann });
  const told: string[] = [];
  let last: unknown;
  for await (const { event, data } of stream) {
    told.push(event);
    if (event === "state") last = data;
  }
  assert.deepEqual(told, ["state", "log", "state", "end"]);
  const { activity, result } = last as StateView;
  assert.partialDeepStrictEqual(activity, { kind: "Finished", outcome: "LogCorrupt" });
  assert.match(result?.message ?? "", /event 2 is not what was appended/);
  for await (const { event, data } of records) if (event === "record" && (data as StateView).activity.kind === "Finished") break;
  records.close();
});

test("a runner that follows a damaged log is let go, and its session ends", async (t) => {
  const { gateway, store, make, damage } = await setScene(t);
  const { token } = await make("run");
  damage("run");
  const stream = await follow(gateway, { path: "/v1/runner", token });
  const told: string[] = [];
  for await (const { event } of stream) told.push(event);
  assert.deepEqual(told, ["assignment", "log"]);
  const ended = Promise.withResolvers<void>();
  const unsubscribe = store.subscribe((change) => {
    if (change.kind === "record" && change.record.state.finished !== undefined) ended.resolve();
  });
  if ((await store.record("run"))?.state.finished !== undefined) ended.resolve();
  await ended.promise;
  unsubscribe();
  assert.equal((await store.record("run"))?.state.finished?.outcome, "LogCorrupt");
});
