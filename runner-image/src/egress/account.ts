import type { Logger } from "pino";
import type { EventDataOf, NewEvent } from "@paddock/api/log/events";
import { Detached, Refused } from "../append.ts";
import type { Append } from "../append.ts";
import { messageOf } from "../fault.ts";
import type { EgressAccount, EgressNote } from "./policy.ts";

// One minute of decisions becomes at most 32 events: those that are new are told at once, the rest when the minute is over. What a program
// can make up without an end, names above all, ends in two lines that stand for all others.
//
//   note → tally → (first of its kind | the minute is over | flush) → under way → told

const MINUTE_MS = 60_000;
/** Kinds that are told at once, and kinds that are kept apart until the minute is over; with the two that stand for others 32 in all. */
const MOST_AT_ONCE = 15;
const MOST_APART = 15;
/** Kinds that are known to have been told; then all count as new again. */
const MOST_TOLD = 512;
/** An append that takes so long means a log that nobody can read: what is decided now might never be told. */
const BEHIND_MS = 300_000;

/** Stands for the hosts of a minute that are not told one by one. */
const OTHERS = "(others)";

type Decided = EventDataOf<"egress.decided">;

/** The account of one session. */
export interface Ledger extends EgressAccount {
  /** Tells what is not told yet; resolves when it is, or when it never can be. Never rejects. */
  flush(): Promise<void>;
  /** True while what was decided five minutes ago could not be told, and for good when the log is full: then nothing may leave. */
  isBehind(): boolean;
  /** Ends the timers; what is not told yet is not told. */
  close(): void;
}

export interface LedgerPorts {
  readonly append: Append;
  readonly logger: Logger;
  /** Told when isBehind has changed. */
  onChange(): void;
  /** What is left out has its usual value. */
  readonly times?: { readonly minuteMs?: number; readonly behindMs?: number };
}

/** Where numbers of one kind gather until they are told. */
interface Tally {
  readonly note: EgressNote;
  count: number;
  sent: number;
  received: number;
}

/**
 * Counts decisions and tells the log. An append that is refused or never answered ends neither the session nor what is being carried: one that is
 * refused for now is told later, the numbers of one that is refused for good are only in this process's own log, and while one has no answer, numbers
 * gather in at most 17 lines.
 */
export function createLedger({ append, logger, onChange, times }: LedgerPorts): Ledger {
  const minuteMs = times?.minuteMs ?? MINUTE_MS;
  const tallies = new Map<string, Tally>();
  const told = new Set<string>();
  let atOnce = 0;
  let minute: NodeJS.Timeout | undefined;
  let underWay: Promise<void> | undefined;
  let behind = false;
  let full = false;
  let closed = false;

  const tallyOf = (key: string, note: EgressNote): Tally => {
    const known = tallies.get(key);
    if (known !== undefined) return known;
    const isApart = tallies.size < MOST_APART;
    const made: Tally = tallies.get(isApart ? key : othersKey(note)) ?? { note: isApart ? note : { ...note, host: OTHERS }, count: 0, sent: 0, received: 0 };
    tallies.set(isApart ? key : othersKey(note), made);
    return made;
  };
  /** The log has had enough for now: what it did not take is told with what comes. */
  const putBack = (taken: readonly Tally[]): void => {
    for (const { note, count, sent, received } of taken) {
      const tally = tallyOf(keyOf(note), note);
      tally.count += count;
      tally.sent += sent;
      tally.received += received;
    }
    startMinute();
  };
  const send = async (taken: readonly Tally[]): Promise<void> => {
    const late = setTimeout(() => change(() => (behind = true)), times?.behindMs ?? BEHIND_MS).unref();
    try {
      await append(taken.map(eventOf));
    } catch (error) {
      if (error instanceof Refused && error.refusal === "wait") {
        putBack(taken);
        return;
      }
      if (error instanceof Refused && error.problem === "limit") change(() => (full = true));
      const lost = taken.map(({ note, count }) => ({ host: note.host, port: note.port, decision: note.decision, count }));
      if (!(error instanceof Detached)) logger.warn({ error: messageOf(error), lost }, "decisions of the egress proxy could not be told to the log");
    } finally {
      clearTimeout(late);
      if (behind) change(() => (behind = false));
    }
  };
  const change = (apply: () => void): void => {
    apply();
    onChange();
  };
  /** One append at a time: while the log does not answer, numbers gather here and not in its queue. */
  const tell = (keys: readonly string[]): Promise<void> => {
    if (underWay !== undefined) return underWay;
    const taken = keys.map((key) => tallies.get(key)).filter((tally) => tally !== undefined && !isEmpty(tally)) as readonly Tally[];
    for (const key of keys) tallies.delete(key);
    if (taken.length === 0) return Promise.resolve();
    underWay = send(taken).finally(() => (underWay = undefined));
    return underWay;
  };
  const startMinute = (): void => {
    if (minute !== undefined || closed) return;
    minute = setTimeout(() => {
      minute = undefined;
      atOnce = 0;
      void tell([...tallies.keys()]).then(() => {
        if (tallies.size > 0) startMinute();
      });
    }, minuteMs).unref();
  };
  const isNew = (key: string): boolean => {
    if (told.has(key) || atOnce >= MOST_AT_ONCE || underWay !== undefined) return false;
    if (told.size >= MOST_TOLD) told.clear();
    told.add(key);
    atOnce += 1;
    return true;
  };
  return {
    note(raw) {
      const note = bounded(raw);
      const key = keyOf(note);
      const tally = tallyOf(key, note);
      tally.count += 1;
      startMinute();
      if (tallies.get(key) === tally && isNew(key)) void tell([key]);
      return (sent, received) => {
        const now = tallyOf(key, note);
        now.sent += sent;
        now.received += received;
        startMinute();
      };
    },
    async flush() {
      // What gathered while an append was under way is told after it.
      await underWay;
      await tell([...tallies.keys()]);
    },
    isBehind: () => behind || full,
    close() {
      closed = true;
      clearTimeout(minute);
      minute = undefined;
    },
  };
}

/** As the event takes it: names come from a program that may be hostile. */
function bounded({ host, port, decision, rule, method, credential }: EgressNote): EgressNote {
  return {
    host: host.slice(0, 253),
    port: Number.isInteger(port) && port >= 1 && port <= 65_535 ? port : 1,
    decision,
    rule: rule.slice(0, 512),
    ...(method === undefined ? {} : { method: method.slice(0, 32) }),
    ...(credential === undefined ? {} : { credential: credential.slice(0, 63) }),
  };
}

function keyOf({ host, port, decision, rule, method, credential }: EgressNote): string {
  return JSON.stringify([host, port, decision, rule, method, credential]);
}

function othersKey({ decision }: EgressNote): string {
  return `${OTHERS} ${decision}`;
}

function isEmpty({ count, sent, received }: Tally): boolean {
  return count === 0 && sent === 0 && received === 0;
}

function eventOf({ note, count, sent, received }: Tally): NewEvent {
  const data: Decided = { ...note, count, bytesSent: sent, bytesReceived: received };
  return { type: "egress.decided", data };
}
