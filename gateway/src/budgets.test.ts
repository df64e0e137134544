import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { follow, send } from "../../test/fakes/client.ts";
import type { Events, Reply } from "../../test/fakes/client.ts";
import { startLocalGateway } from "../../test/fakes/gateway.ts";
import type { LocalGateway } from "../../test/fakes/gateway.ts";

// Shared budgets as the operator puts and reads them.

let gateway: LocalGateway;
let operator: string;

before(async () => {
  gateway = await startLocalGateway({ keepAliveMs: 100 });
  operator = gateway.reviews.operatorToken();
});
after(() => gateway.close());

async function put(environmentUid: string, body: unknown): Promise<Reply> {
  return send(gateway, { method: "PUT", path: `/v1/budgets/${environmentUid}`, token: operator, body });
}

async function next(events: Events): Promise<readonly [event: string, data: unknown, id: string | undefined]> {
  const { value, done } = await events.next();
  assert.notEqual(done, true, "the stream ended");
  const { event, data, id } = value as { event: string; data: unknown; id: string | undefined };
  return [event, data, id];
}

test("the operator's stream tells every budget before it is in sync, then each change, also when it resumes", async () => {
  assert.equal((await put("e1", { costUSDPerDay: "12.5" })).status, 204);
  assert.equal((await put("e2", {})).status, 204);
  const stream = await follow(gateway, { path: "/v1/records", token: operator });
  const told = [await next(stream), await next(stream)].sort(([, one], [, other]) => JSON.stringify(one).localeCompare(JSON.stringify(other)));
  assert.deepEqual(told, [
    ["budget", { costUSDPerDay: "12.5", environmentUid: "e1" }, undefined],
    ["budget", { environmentUid: "e2" }, undefined],
  ]);
  const [synced, , id = ""] = await next(stream);
  assert.equal(synced, "synced");
  assert.equal((await put("e2", { costUSDPerDay: "0.000000001" })).status, 204);
  assert.deepEqual(await next(stream), ["budget", { environmentUid: "e2", costUSDPerDay: "0.000000001" }, undefined]);
  assert.equal((await put("e2", {})).status, 204);
  assert.deepEqual(await next(stream), ["budget", { environmentUid: "e2" }, undefined], "a limit can be taken away");
  stream.close();
  await gateway.restart();
  const resumed = await follow(gateway, { path: "/v1/records", token: operator, headers: { "last-event-id": id } });
  assert.deepEqual([(await next(resumed))[0], (await next(resumed))[0], (await next(resumed))[0]], ["budget", "budget", "synced"]);
  resumed.close();
});

test("what is no amount is refused with what is wrong", async () => {
  for (const costUSDPerDay of ["-1", "1.0000000001", "1e3", 5, ""]) {
    const { status, body } = await put("e3", { costUSDPerDay });
    assert.equal(status, 400);
    assert.match((body as { detail: string }).detail, /costUSDPerDay/);
  }
  assert.equal((await put("x".repeat(200), {})).status, 400);
  assert.equal((await put("e3", { padding: "x".repeat(100_000) })).status, 413);
});
