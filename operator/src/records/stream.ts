import type { IncomingMessage } from "node:http";
import { isDeepStrictEqual } from "node:util";
import { setTimeout as sleep } from "node:timers/promises";
import { delayMsOf } from "@paddock/api/backoff";
import { type ServerEvent, createEventParser } from "@paddock/api/wire/event-stream";
import type { BudgetView, RecordView } from "@paddock/api/wire/records";
import { type Store, createStore } from "../cluster/store.ts";
import { STREAM_BACKOFF } from "../kernel/backoff.ts";
import type { Key } from "../kernel/kind.ts";
import type { Feed } from "../kernel/manager.ts";
import { BY_CLEAN_PROBE, BY_ENVIRONMENT_OPEN, BY_MISSING_CREDENTIAL, BY_OPEN_PROBE, BY_UID, budgetKey, probeOf } from "../sources.ts";
import type { GatewayClient } from "./client.ts";
import { createSpecPool } from "./spec-pool.ts";

export const BY_KEY = "namespace/name";

/** The gateway's records as an observed source. */
export interface RecordStream {
  /** Keys of the feed are `<namespace>/<uid>`: a Session's name may stand for several records, of earlier Sessions. */
  readonly feed: Feed<RecordView>;
  byUid(uid: string): RecordView | undefined;
  /** Shared budgets, by budgetKey; complete once the records are synced. */
  readonly budgets: Feed<BudgetView>;
  budgetOf(environmentUid: string): BudgetView | undefined;
  start(): void;
  /**
   * Connects anew, and is not synced before the gateway has told everything up to then. For whoever begins to lead: what the leader before has written to
   * status followed from a stream that may have been ahead of ours, and a record that is behind its status would be taken for a lost log.
   */
  renew(): void;
  stop(): Promise<void>;
  /** How long there has been no stream; 0 while there is one. */
  blindMs(): number;
}

export interface RecordStreamOptions {
  readonly client: Pick<GatewayClient, "follow">;
  readonly onRestart?: () => void;
  readonly onTrouble?: (error: unknown, failuresInARow: number) => void;
  /** A stream without a byte for so long is given up; the gateway sends comments while nothing happens. */
  readonly silenceMs?: number;
}

export function createRecordStream({ client, onRestart = () => undefined, onTrouble = () => undefined, silenceMs = 60_000 }: RecordStreamOptions): RecordStream {
  const store = createStore<RecordView>({
    keyOf: ({ namespace, uid }) => ({ namespace, name: uid }),
    indexes: {
      [BY_UID]: ({ uid }) => uid,
      [BY_KEY]: ({ namespace, name }) => `${namespace}/${name}`,
      [BY_ENVIRONMENT_OPEN]: ({ activity, namespace, bundle }) => (activity.kind === "Finished" ? undefined : `${namespace}/${bundle.environment.name}`),
      [BY_OPEN_PROBE]: (record) => (probeOf(record) === "Open" ? record.bundle.environment.uid : undefined),
      [BY_CLEAN_PROBE]: (record) => (probeOf(record) === "Clean" ? record.bundle.environment.uid : undefined),
      [BY_MISSING_CREDENTIAL]: ({ activity, problem, bundle }) => (activity.kind !== "Finished" && problem?.problem === "CredentialMissing" ? bundle.environment.uid : undefined),
    },
  });
  const budgets = createStore<BudgetView>({ keyOf: ({ environmentUid }) => budgetKey(environmentUid), indexes: {}, isSame: isDeepStrictEqual });
  // Connections that began before the newest `renew` prove nothing.
  let wanted = 0;
  let known = -1;
  const take = createTaker(store, budgets);
  const stopping = new AbortController();
  let body: IncomingMessage | undefined;
  let lostAt: number | undefined = performance.now();
  let running: Promise<void> = Promise.resolve();

  const followOnce = async (): Promise<void> => {
    const number = wanted;
    body = await client.follow(take.begin());
    if (stopping.signal.aborted || number !== wanted) body.destroy();
    lostAt = undefined;
    await drain(body, silenceMs, (event) => {
      if (event.event === "synced") known = number;
      take.event(event);
    });
  };

  const run = async (): Promise<void> => {
    let failures = 0;
    while (!stopping.signal.aborted) {
      const [before, number] = [take.lastEventId(), wanted];
      const error = await followOnce().then(() => new Error("the gateway ended the stream"), (thrown: unknown) => thrown);
      lostAt ??= performance.now();
      if (stopping.signal.aborted) return;
      if (number !== wanted) continue;
      failures = take.lastEventId() === before ? failures + 1 : 1;
      onRestart();
      onTrouble(error, failures);
      await sleep(delayMsOf(STREAM_BACKOFF, failures - 1, Math.random), undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  };

  const newest = (views: readonly RecordView[]): RecordView | undefined => views.reduce<RecordView | undefined>((a, b) => (a === undefined || b.version > a.version ? b : a), undefined);

  return {
    // By a Session's own name the newest of its records is found.
    feed: { ...store, isSynced: () => store.isSynced() && known === wanted, get: (key: Key) => newest(store.list(BY_KEY, `${key.namespace}/${key.name}`)) },
    byUid: (uid) => store.list(BY_UID, uid)[0],
    budgets,
    budgetOf: (environmentUid) => budgets.get(budgetKey(environmentUid)),
    start: () => {
      running = run();
    },
    renew: () => {
      wanted += 1;
      body?.destroy();
    },
    stop: () => {
      stopping.abort();
      body?.destroy();
      return running;
    },
    blindMs: () => (lostAt === undefined ? 0 : performance.now() - lostAt),
  };
}

interface Taker {
  event(event: ServerEvent): void;
  lastEventId(): string | undefined;
  /** A connection begins; returns the id to go on from. A list that the last connection cut short starts again. */
  begin(): string | undefined;
}

// Before the first `synced`, and from a `reset` to its `synced`, views are collected aside and replace the store as one: a half list would say that
// records are missing which are only not sent yet.
function createTaker(store: Store<RecordView>, budgets: Store<BudgetView>): Taker {
  let collecting: Map<string, RecordView> | undefined = new Map();
  // Told anew with each connection, and with no place in the records' order: collected up to each `synced`.
  let told = new Map<string, BudgetView>();
  let isTelling = true;
  let lastId: string | undefined;
  const shared = createSpecPool();

  const applyView = (view: RecordView): void => {
    if (collecting !== undefined) collecting.set(view.uid, view);
    else store.set(view);
  };
  const applyGone = (uid: string): void => {
    if (collecting !== undefined) collecting.delete(uid);
    const [view] = store.list(BY_UID, uid);
    if (view !== undefined && collecting === undefined) store.remove({ namespace: view.namespace, name: uid });
  };
  const applyBudget = (view: BudgetView): void => {
    if (isTelling) told.set(view.environmentUid, view);
    else if (!isDeepStrictEqual(budgets.get(budgetKey(view.environmentUid)), view)) budgets.set(view);
  };
  const finishList = (): void => {
    // Before the records: a session whose record is known to be missing is not to be bound on a budget that is not known.
    if (isTelling) budgets.replace([...told.values()], () => true);
    told = new Map();
    isTelling = false;
    if (!budgets.isSynced()) budgets.markSynced();
    if (collecting !== undefined) {
      const views = [...collecting.values()];
      collecting = undefined;
      store.replace(views, () => true);
    }
    // Also after each reconnection: what failed while the gateway was away is to be tried again now, not when its back-off ends.
    store.markSynced();
  };

  return {
    event: ({ event: type, data, id }) => {
      if (type === "record") applyView(shared(JSON.parse(data) as RecordView));
      else if (type === "budget") applyBudget(JSON.parse(data) as BudgetView);
      else if (type === "gone") applyGone((JSON.parse(data) as { readonly uid: string }).uid);
      else if (type === "reset") collecting = new Map();
      else if (type === "synced") finishList();
      // While a list is being collected its ids are not a place to go on from: what came before them would be missing.
      if (id !== "" && collecting === undefined) lastId = id;
    },
    lastEventId: () => lastId,
    begin: () => {
      told = new Map();
      isTelling = true;
      if (collecting !== undefined) lastId = undefined;
      if (lastId === undefined) collecting = new Map();
      return lastId;
    },
  };
}

function drain(body: IncomingMessage, silenceMs: number, take: (event: ServerEvent) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const parse = createEventParser();
    body.setEncoding("utf8");
    let heardAt = performance.now();
    const silence = setInterval(() => {
      if (performance.now() - heardAt >= silenceMs) body.destroy(new Error(`nothing heard from the gateway for ${silenceMs / 1000} s`));
    }, silenceMs / 4);
    let fault: Error | undefined;
    const fail = (error: unknown): void => {
      fault ??= error instanceof Error ? error : new Error(String(error));
      body.destroy();
    };
    body.on("data", (text: string) => {
      heardAt = performance.now();
      try {
        for (const event of parse(text)) take(event);
      } catch (error) {
        fail(error);
      }
    });
    body.on("error", fail);
    body.once("close", () => {
      clearInterval(silence);
      if (fault === undefined) resolve();
      else reject(fault);
    });
  });
}
