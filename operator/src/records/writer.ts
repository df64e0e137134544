import type { NewEvent } from "@paddock/api/log/events";
import { isSameUsd } from "@paddock/api/log/money";
import type { BudgetView, RecordView } from "@paddock/api/wire/records";
import type { Receipt } from "../kernel/expectations.ts";
import type { Action, Key } from "../kernel/kind.ts";
import type { GatewayClient } from "./client.ts";
import { completeRecord, type ReadTextMap } from "./texts.ts";

/** The actions that go to the gateway. */
export type LogAction = Extract<Action, { verb: "bind" | "register" | "append" | "acknowledge" | "abandon" | "budget" }>;

export interface LogWriterOptions {
  readonly gateway: Pick<GatewayClient, "putRecord" | "putPod" | "putBudget" | "append" | "acknowledge">;
  /** The record as the stream has shown it. */
  byUid(uid: string): RecordView | undefined;
  /** The same of an Environment's shared budget. */
  budgetOf(environmentUid: string): BudgetView | undefined;
  /** Live reads at the API server. */
  readNamespaceUid(namespace: string): Promise<string>;
  /** UID of the Session of that name; undefined when there is none. */
  readSessionUid(key: Key): Promise<string | undefined>;
  readonly readTextMap: ReadTextMap;
}

/** Everything the operator writes to the gateway. Throws what gateway and live reads throw. */
export function createLogWriter({ gateway, byUid, budgetOf, readNamespaceUid, readSessionUid, readTextMap }: LogWriterOptions): (action: LogAction) => Promise<Receipt | undefined> {
  const append = async (uid: string, events: readonly NewEvent[], patienceMs?: number): Promise<Receipt> => {
    const stored = await gateway.append(uid, events, patienceMs);
    const seq = Math.max(0, ...stored.map((event) => event.seq));
    return { reached: () => (byUid(uid)?.lastSeq ?? seq) >= seq };
  };

  const acknowledge = async (uid: string): Promise<Receipt> => {
    await gateway.acknowledge(uid);
    return { reached: () => byUid(uid) === undefined };
  };

  const abandon = async (uid: string, key: Key): Promise<Receipt | undefined> => {
    const record = byUid(uid);
    // The cache said that the Session is gone; a cache can be late, and a session once cancelled stays so.
    if (record === undefined || (await readSessionUid(key)) === uid) return undefined;
    return record.activity.kind === "Finished" ? acknowledge(uid) : append(uid, farewell(record));
  };

  return async (action) => {
    switch (action.verb) {
      case "bind": {
        const namespaceUid = await readNamespaceUid(action.record.bundle.session.namespace);
        const record = await completeRecord(action.record, readTextMap);
        // A repeated try may find other texts than the one that was stored; then the stored record is the answer, and it counts.
        const { version } = await gateway.putRecord(action.uid, { ...record, namespaceUid });
        return { reached: () => (byUid(action.uid)?.version ?? 0) >= version };
      }
      case "register":
        await gateway.putPod(action.podUid, action.registration);
        return undefined;
      case "budget": {
        const { environmentUid, budget } = action;
        await gateway.putBudget(environmentUid, budget);
        return { reached: () => isSameUsd(budgetOf(environmentUid)?.costUSDPerDay, budget.costUSDPerDay) };
      }
      case "append":
        return append(action.uid, action.events, action.patienceMs);
      case "acknowledge":
        return acknowledge(action.uid);
      case "abandon":
        return abandon(action.uid, action.key);
    }
  };
}

/**
 * The last events of a record whose Session is gone. A runner that is still connected is first only told, so that it can record what it
 * has under way; who asks a second time wants it finished. Pure.
 */
function farewell(record: RecordView): readonly NewEvent[] {
  const reason = "The Session was deleted.";
  const cancelled: NewEvent = { type: "session.cancelled", data: { reason } };
  const finished: NewEvent = { type: "run.finished", data: { outcome: "Cancelled", text: "", reason, through: record.lastSeq } };
  if (record.cancelled) return [finished];
  return record.runner.connected ? [cancelled] : [cancelled, finished];
}
