import type { Queryable } from "./postgres-connection.ts";
import { integer } from "./postgres-connection.ts";
import { readBudgets } from "./postgres-ledger.ts";
import { isReadable } from "./postgres-rows.ts";
import type { PlacedChange, Records } from "./postgres-rows.ts";
import type { Change } from "./store.ts";

/** A position that two reads have not found is not there: the server was put back to an older state. One more for what nobody thought of. */
const MOST_READS = 3;

/** Records that are read at once, at most. */
const PAGE = 50;

/**
 * Tells listeners of every change once, in the order of positions, whichever replica made it. Positions have no gap, so that what this process committed is
 * told at once when it is the next; otherwise what lies between is read first, and a record that changed twice meanwhile is told as it is now.
 */
export interface Publisher {
  subscribe(listener: (change: Change) => void): () => void;
  /** After a commit of this process. Resolves when listeners know of it, or cannot yet because the server is away. Never rejects. */
  committed(changes: readonly PlacedChange[]): Promise<void>;
  /** Tells what was committed up to this position, or by now. Rejects when it cannot be read. */
  catchUp(position?: number): Promise<void>;
}

export interface PublisherOptions {
  readonly on: Queryable;
  readonly records: Records;
  /** The position that nobody has to be told of. */
  readonly from: number;
  /** Told of a listener that throws. */
  report(error: unknown): void;
}

export function openPublisher({ on, records, from, report }: PublisherOptions): Publisher {
  const listeners = new Set<(change: Change) => void>();
  let told = from;
  let reading: Promise<void> | undefined;

  const tell = ({ position, change }: PlacedChange): void => {
    if (position <= told) return;
    told = position;
    for (const listener of listeners) {
      try {
        listener(change);
      } catch (error) {
        report(error);
      }
    }
  };

  const read = async (): Promise<void> => {
    const newest = await readPosition(on);
    // Nobody listens, or the database was put back to an older state.
    if (listeners.size === 0 || newest < told) told = newest;
    while (told < newest) {
      const since = told;
      const found = await records.select(on, "FROM records WHERE position > $1 ORDER BY position LIMIT $2", [since, PAGE]);
      // Everything up to here was visible when the records were read, as positions become visible in their order; budgets that come later have their turn.
      const last = found.at(-1)?.position ?? newest;
      const end = found.length < PAGE ? Math.max(last, newest) : last;
      const budgets = (await readBudgets(on, since)).filter(({ position }) => position <= end);
      const changes: PlacedChange[] = [
        ...budgets.map(({ position, budget }): PlacedChange => ({ position, change: { kind: "budget", budget } })),
        ...found.filter(isReadable).map(({ position, record }): PlacedChange => ({ position, change: { kind: "record", record } })),
      ];
      for (const change of changes.sort((one, other) => one.position - other.position)) tell(change);
      told = Math.max(told, end);
    }
  };

  const catchUp = async (position?: number): Promise<void> => {
    // What is being read may have begun before that position was committed: then it is read once more.
    if (position === undefined) await (reading ?? Promise.resolve());
    for (let reads = 0; reads === 0 || (position !== undefined && told < position && reads < MOST_READS); reads += 1) {
      reading ??= read().finally(() => (reading = undefined));
      await reading;
    }
  };

  return {
    subscribe: (listener) => {
      // A wrapper, so that the same function subscribed twice is two listeners.
      const own = (change: Change): void => listener(change);
      listeners.add(own);
      return () => void listeners.delete(own);
    },
    committed: async (changes) => {
      for (const change of changes) {
        if (change.position === told + 1) tell(change);
        else if (change.position > told) await catchUp(change.position).catch(() => undefined);
      }
    },
    catchUp,
  };
}

/** The newest position; what was committed before the question is told by what is read after it. */
export async function readPosition(on: Queryable): Promise<number> {
  const [row] = await on.query("SELECT position FROM counter");
  return integer(row, "position");
}
