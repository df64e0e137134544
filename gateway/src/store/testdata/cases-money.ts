import assert from "node:assert/strict";
import { EMPTY_STATE } from "@paddock/api/log/state";
import { boundEvents, buildTestBundle, event, runFinishedEvent } from "../../../../test/fakes/session.ts";
import { append, create, newRecord, write } from "./cases-scene.ts";
import type { Check } from "./cases-scene.ts";
import type { Change, LedgerChange, NewRecord, SharedBudget, Store, UsageQuery } from "../store.ts";

const DAY = "2026-01-01";
/** More than 2^53, and odd. */
const LARGE = 9_007_199_254_740_993n;
const NOTHING = { sessions: 0, requests: 0, inputTokens: 0, cachedInputTokens: 0, outputTokens: 0, costNanoUSD: 0n, uncertainNanoUSD: 0n, reservedNanoUSD: 0n };

async function account(store: Store, uid: string, ...ledger: readonly LedgerChange[]): Promise<void> {
  await append(store, uid, [event("session.cancelled", { reason: "" })], { ledger });
}

async function budgetOf(store: Store, uid: string, day = DAY): Promise<SharedBudget | undefined> {
  return store.change(uid, ({ budget }) => ({ result: budget }), { day });
}

/** A record of another agent or environment. */
function recordOf(uid: string, { agent = "agent", environment = "environment", ...change }: Partial<NewRecord> & { readonly agent?: string; readonly environment?: string }): NewRecord {
  const bundle = buildTestBundle(uid);
  const named = { ...bundle, agent: { ...bundle.agent, name: agent }, environment: { ...bundle.environment, name: environment, uid: `${environment}-uid` } };
  return newRecord(uid, { bundle: named, ...change });
}

async function createOf(store: Store, uid: string, change: Parameters<typeof recordOf>[1] = {}): Promise<void> {
  const record = recordOf(uid, change);
  await store.create(record, { ...write(EMPTY_STATE, boundEvents(record.bundle)), ledger: [{ day: DAY, sessions: 1 }] });
}

const usage = (store: Store, query: Partial<UsageQuery> = {}) => store.usage({ namespace: "team", from: DAY, to: DAY, by: [], ...query });

/** The ledger and the budgets: exact, in the append's own transaction, and longer-lived than sessions. */
export function moneyCases(check: Check): void {
  check("adds to the ledger exactly, beyond what a double holds", async ({ store, reopen }) => {
    await createOf(store, "a");
    await account(store, "a", { day: DAY, requests: 1, inputTokens: 7, reservedNanoUSD: LARGE });
    await account(store, "a", { day: DAY, requests: 1, outputTokens: 5, cachedInputTokens: 3, costNanoUSD: LARGE * LARGE, reservedNanoUSD: -LARGE + 1n, uncertainNanoUSD: 1n });
    await account(store, "a", { day: DAY, costNanoUSD: 1n });
    const sum = { ...NOTHING, sessions: 1, requests: 2, inputTokens: 7, cachedInputTokens: 3, outputTokens: 5, costNanoUSD: LARGE * LARGE + 1n, uncertainNanoUSD: 1n, reservedNanoUSD: 1n };
    assert.deepEqual(await usage(store), [sum]);
    assert.deepEqual(await usage(await reopen()), [sum]);
  });

  check("sums usage by day, agent and environment, of one namespace and of the days asked for", async ({ store }) => {
    await createOf(store, "a");
    await createOf(store, "b", { agent: "other" });
    await createOf(store, "c", { environment: "sealed" });
    await createOf(store, "d", { namespace: "elsewhere" });
    for (const [uid, day, cost] of [["a", DAY, 1n], ["a", "2026-01-02", 10n], ["b", DAY, 100n], ["c", DAY, 1000n], ["d", DAY, 10_000n], ["a", "2026-01-03", 100_000n]] as const) {
      await account(store, uid, { day, costNanoUSD: cost });
    }
    const costs = async (query: Partial<UsageQuery>) =>
      (await usage(store, query)).map(({ day, agent, environment, costNanoUSD }) => [day, agent, environment, costNanoUSD].filter((member) => member !== undefined));
    const both = { to: "2026-01-02" };
    assert.deepEqual(await costs({ ...both, by: [] }), [[1111n]]);
    assert.deepEqual(await costs({ ...both, by: ["day"] }), [[DAY, 1101n], ["2026-01-02", 10n]]);
    assert.deepEqual(await costs({ ...both, by: ["agent"] }), [["agent", 1011n], ["other", 100n]]);
    assert.deepEqual(await costs({ ...both, by: ["environment", "day"] }), [[DAY, "environment", 101n], ["2026-01-02", "environment", 10n], [DAY, "sealed", 1000n]]);
    assert.deepEqual(await costs({ ...both, by: [], agent: "agent" }), [[1011n]]);
    assert.deepEqual(await costs({ ...both, by: [], agent: "agent", environment: "sealed" }), [[1000n]]);
    assert.deepEqual(await costs({ by: ["day"], from: "2026-01-02", to: "2026-01-02" }), [["2026-01-02", 10n]]);
    assert.deepEqual(await costs({ by: [], namespace: "nowhere" }), []);
    assert.equal((await usage(store))[0]?.sessions, 3);
  });

  check("shows a decision what the sessions of its Environment share that day, whatever their namespace", async ({ store }) => {
    await createOf(store, "a");
    await createOf(store, "b", { namespace: "elsewhere" });
    await createOf(store, "c", { environment: "sealed" });
    assert.deepEqual(await budgetOf(store, "a"), { day: DAY, limitNanoUSD: undefined, usedNanoUSD: 0n, reservedNanoUSD: 0n });
    await account(store, "a", { day: DAY, costNanoUSD: LARGE, uncertainNanoUSD: 1n, reservedNanoUSD: 5n });
    await account(store, "b", { day: DAY, costNanoUSD: LARGE, reservedNanoUSD: 7n }, { day: "2026-01-02", costNanoUSD: 3n });
    await account(store, "c", { day: DAY, costNanoUSD: 1n });
    assert.deepEqual(await budgetOf(store, "a"), { day: DAY, limitNanoUSD: undefined, usedNanoUSD: 2n * LARGE + 1n, reservedNanoUSD: 12n });
    assert.deepEqual(await budgetOf(store, "a", "2026-01-02"), { day: "2026-01-02", limitNanoUSD: undefined, usedNanoUSD: 3n, reservedNanoUSD: 0n });
    assert.equal(await store.change("a", ({ budget }) => ({ result: budget === undefined })), true);
  });

  check("keeps the live limit of each Environment, and tells of a change only", async ({ store, reopen }) => {
    await createOf(store, "a");
    const told: Change[] = [];
    store.subscribe((change) => told.push(change));
    await store.putBudget({ environmentUid: "environment-uid", costUSDPerDay: "0.000000001" });
    await store.putBudget({ environmentUid: "environment-uid", costUSDPerDay: "0.000000001" });
    assert.equal((await budgetOf(store, "a"))?.limitNanoUSD, 1n);
    await store.putBudget({ environmentUid: "environment-uid" });
    await store.putBudget({ environmentUid: "environment-uid" });
    assert.equal((await budgetOf(store, "a"))?.limitNanoUSD, null);
    await store.putBudget({ environmentUid: "another", costUSDPerDay: "12.5" });
    const budgets = [{ environmentUid: "another", costUSDPerDay: "12.5" }, { environmentUid: "environment-uid" }];
    assert.deepEqual(told, [
      { kind: "budget", budget: { environmentUid: "environment-uid", costUSDPerDay: "0.000000001" } },
      { kind: "budget", budget: { environmentUid: "environment-uid" } },
      { kind: "budget", budget: budgets[0] },
    ]);
    const again = await reopen();
    assert.deepEqual([...(await again.budgets())].sort((x, y) => (x.environmentUid < y.environmentUid ? -1 : 1)), budgets);
    assert.equal((await budgetOf(again, "a"))?.limitNanoUSD, null);
  });

  check("lets 32 sessions at once reserve no more than the day's budget", async ({ store }) => {
    const uids = Array.from({ length: 32 }, (_, n) => `s${n}`);
    for (const uid of uids) await createOf(store, uid);
    await store.putBudget({ environmentUid: "environment-uid", costUSDPerDay: "0.000000105" });
    const taken = await Promise.all(
      uids.map((uid) =>
        store.change<boolean>(
          uid,
          ({ record, budget }) => {
            assert.ok(budget !== undefined && typeof budget.limitNanoUSD === "bigint");
            if (budget.usedNanoUSD + budget.reservedNanoUSD + 10n > budget.limitNanoUSD) return { result: false };
            const ledger = [{ day: DAY, requests: 1, reservedNanoUSD: 10n }];
            return { write: { ...write(record.state, [event("session.cancelled", { reason: "" })]), ledger }, result: true };
          },
          { day: DAY },
        ),
      ),
    );
    assert.equal(taken.filter((one) => one === true).length, 10);
    assert.equal((await budgetOf(store, "s0"))?.reservedNanoUSD, 100n);
  });

  check("writes nothing to the ledger of an append that fails", async ({ store }) => {
    await createOf(store, "a");
    const twice = write(EMPTY_STATE, boundEvents(buildTestBundle("a")));
    await assert.rejects(store.change("a", () => ({ write: { ...twice, ledger: [{ day: DAY, costNanoUSD: 1n }] }, result: undefined })));
    assert.equal((await usage(store))[0]?.costNanoUSD, 0n);
  });

  check("keeps the ledger of sessions that are gone", async ({ store }) => {
    await createOf(store, "a");
    await append(store, "a", [runFinishedEvent()], { ledger: [{ day: DAY, costNanoUSD: 3n }] });
    await store.acknowledge("a");
    assert.equal(await store.expire("2027-01-01T00:00:00.000Z", 10), 1);
    assert.equal((await usage(store))[0]?.costNanoUSD, 3n);
    await create(store, "b");
    assert.equal((await budgetOf(store, "b"))?.usedNanoUSD, 3n);
  });
}
