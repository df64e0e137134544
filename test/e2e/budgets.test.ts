import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { formatUsd, parseUsd } from "@paddock/api/log/money";
import type { Session } from "@paddock/api/session";
import type { UsagePage } from "@paddock/api/wire/people";
import { get, list, must } from "./kubectl.ts";
import { apply, buildAgent, buildEnvironment, buildSession, eventually, finished, reasonOf } from "./lab.ts";
import { call, deployModel, say } from "./model.ts";
import { openNamespace } from "./namespace.ts";
import { type PeopleClient, openGateway, readLog, userToken } from "./people.ts";

// Money is asked for before it is spent. One answer below costs 1000 × 1.25 + 100 × 10 millionths of a dollar: 0.00225.

let namespace: string;
let gateway: PeopleClient;
let token: string;

const COST = "0.00225";
const usage = { prompt_tokens: 1000, completion_tokens: 100 };
/** Little enough that many fit on a small node. */
const SMALL = { runner: { resources: { requests: { cpu: "10m", memory: "64Mi" } } } };

before(async () => {
  namespace = await openNamespace("budget");
  await deployModel(namespace, {
    once: [{ ...say("Done."), usage }],
    often: [{ ...call("bash", { command: "true" }), usage }, { ...call("bash", { command: "true" }), usage }, { ...say("Done."), usage }],
  });
  await apply(
    namespace,
    buildAgent("agent", { model: { name: "default", maxOutputTokens: 300 } }),
    buildEnvironment("environment"),
    buildEnvironment("shared", { spec: { ...SMALL, budget: { costUSDPerDay: "0.0400" } } }),
    buildEnvironment("unpriced", { model: { pricing: undefined }, spec: { limits: { costUSD: "1" } } }),
  );
  token = await userToken(namespace);
  gateway = await openGateway();
});

after(() => {
  gateway.close();
});

const messageOf = (session: Session): string => session.status?.conditions?.find(({ type }) => type === "Succeeded")?.message ?? "";

test("a session that may not afford its next answer ends before it asks, and says what to raise", async () => {
  await apply(namespace, buildSession("poor", "often", { spec: { limits: { costUSD: "0.008" } } }));
  const session = await finished(namespace, "poor");
  assert.equal(reasonOf(session), "BudgetExceeded");
  assert.match(messageOf(session), /limits\.costUSD/);
  const spent = parseUsd(session.status?.usage?.costUSD ?? "9");
  assert.ok(spent > 0n && spent <= parseUsd("0.008"), `${formatUsd(spent)} of 0.008 USD`);
});

test("a token limit holds as money does", async () => {
  await apply(namespace, buildSession("terse", "often", { spec: { limits: { totalTokens: 3500 } } }));
  const session = await finished(namespace, "terse");
  assert.equal(reasonOf(session), "BudgetExceeded");
  assert.match(messageOf(session), /limits\.totalTokens/);
  const used = session.status?.usage?.totalTokens ?? 0;
  assert.ok(used > 0 && used <= 3500, `${used} tokens`);
});

test("32 sessions at the edge of one daily budget: never above it, and the refused ones say why and what to raise", async () => {
  const names = Array.from({ length: 32 }, (_, index) => `many-${index}`);
  await apply(namespace, ...names.map((name) => buildSession(name, "once", { environment: "shared" })));
  const sessions = await Promise.all(names.map((name) => finished(namespace, name, 400)));
  const outcomes = sessions.map((session) => reasonOf(session));
  const spent = sessions.reduce((sum, { status }) => sum + parseUsd(status?.usage?.costUSD ?? "0"), 0n);
  const completed = outcomes.filter((outcome) => outcome === "Completed").length;
  const refused = sessions.filter((session) => reasonOf(session) === "BudgetExceeded");
  assert.equal(completed + refused.length, 32, JSON.stringify(outcomes));
  assert.ok(spent <= parseUsd("0.04"), `${formatUsd(spent)} of 0.04 USD`);
  assert.equal(spent, BigInt(completed) * parseUsd(COST));
  assert.ok(completed >= 8, `only ${completed} of 17 that fit were let through`);
  for (const session of refused) assert.match(messageOf(session), /budget\.costUSDPerDay/);
  const { body } = await gateway.get(`/v1/namespaces/${namespace}/usage?by=environment&environment=shared`, token);
  const [row] = (JSON.parse(body) as UsagePage).rows;
  assert.deepEqual([row?.costUSD, row?.reservedUSD, row?.sessions], [formatUsd(spent), "0", 32]);
});

test("a raised daily budget counts at once, for sessions that are bound as well", async () => {
  await must(["patch", "environment", "shared", "-n", namespace, "--type=merge", "-p", '{"spec":{"budget":{"costUSDPerDay":"5"}}}']);
  await apply(namespace, buildSession("after", "once", { environment: "shared" }));
  assert.equal(reasonOf(await finished(namespace, "after")), "Completed");
});

test("money is limited and the model has no price: the session does not start, says what is missing, and goes on when it is there", async () => {
  await apply(namespace, buildSession("unpriced", "once", { environment: "unpriced" }));
  const waiting = await eventually("PriceUnknown", async () => {
    const session = await get<Session>("session", "unpriced", namespace);
    return session !== undefined && reasonOf(session) === "PriceUnknown" ? session : undefined;
  });
  assert.match(messageOf(waiting), /pricing/);
  await apply(namespace, buildEnvironment("unpriced", { spec: { limits: { costUSD: "1" } } }));
  assert.equal(reasonOf(await finished(namespace, "unpriced")), "Completed");
});

test("the ledger outlives the sessions", async () => {
  const before = (JSON.parse((await gateway.get(`/v1/namespaces/${namespace}/usage?by=agent`, token)).body) as UsagePage).rows;
  await must(["delete", "sessions", "--all", "-n", namespace]);
  await eventually("no session", async () => (await list("sessions", namespace, "")).length === 0);
  const rows = (JSON.parse((await gateway.get(`/v1/namespaces/${namespace}/usage?by=agent`, token)).body) as UsagePage).rows;
  assert.deepEqual(rows, before);
  assert.equal(rows[0]?.agent, "agent");
});

test("the log of a refused request says which limit, what is used and what is allowed", async () => {
  const { status } = await gateway.get(`/v1/namespaces/${namespace}/sessions/poor/events`, token);
  assert.equal(status, 200);
  const events = await readLog(gateway, namespace, "poor", token);
  const exceeded = events.find(({ type }) => type === "budget.exceeded");
  assert.ok(exceeded?.type === "budget.exceeded");
  assert.deepEqual([exceeded.role, exceeded.data.limit, exceeded.data.allowed], ["gateway", "costUSD", "0.008"]);
});
