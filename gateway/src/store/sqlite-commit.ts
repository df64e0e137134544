import type { Connection } from "./sqlite-connection.ts";
import type { Change } from "./store.ts";

/** Calls that share one commit at most: the process serves nobody else meanwhile. */
const GROUP_CALLS = 128;

/** What a call inside a transaction leaves: its result, and what to tell listeners of once it is durable. */
export interface Committed<T> {
  readonly result: T;
  readonly changes?: readonly Change[];
}

export interface Committer {
  /** Runs `work` in a transaction that it may share with others; rejects with what it throws, and then it changed nothing. */
  commit<T>(work: () => Committed<T>): Promise<T>;
  /** Resolves once everything that was asked for is over; nothing is taken after that. */
  close(): Promise<void>;
}

interface Call {
  /** Inside the transaction. Throws what the call is rejected with. */
  run(): void;
  /** After the commit. */
  settle(): void;
  reject(error: unknown): void;
}

export interface CommitterOptions {
  readonly connection: Connection;
  /** Must not throw. */
  publish(change: Change): void;
  /** Told when something was undone, before anything else is done: what was read meanwhile may not be so. */
  undone(): void;
  /** Told after each commit how many calls shared it. Must not throw. */
  committed?(calls: number): void;
}

/**
 * Group commit: what comes within one turn of the event loop is made durable by one COMMIT. Each call has a savepoint of its own, so that one
 * that throws takes no other with it. Calls settle in the order in which they came.
 */
export function createCommitter(options: CommitterOptions): Committer {
  const { publish } = options;
  const waiting: Call[] = [];
  let isClosed = false;
  let isScheduled = false;
  let drained = Promise.withResolvers<void>();
  drained.resolve();

  const drain = (): void => {
    isScheduled = false;
    commitGroup(options, waiting.splice(0, GROUP_CALLS));
    if (waiting.length > 0) schedule();
    else drained.resolve();
  };
  const schedule = (): void => {
    if (isScheduled) return;
    isScheduled = true;
    // After the requests that are readable by now have been read, so that they are in the same commit.
    setImmediate(drain);
  };

  return {
    commit: <T>(work: () => Committed<T>) => {
      if (isClosed) return Promise.reject(new Error("the store is closed"));
      const { promise, resolve, reject } = Promise.withResolvers<T>();
      let done: Committed<T> | undefined;
      const call: Call = {
        run: () => {
          done = work();
        },
        settle: () => {
          if (done === undefined) return;
          for (const change of done.changes ?? []) publish(change);
          resolve(done.result);
        },
        reject,
      };
      if (waiting.length === 0) drained = Promise.withResolvers();
      waiting.push(call);
      schedule();
      return promise;
    },
    close: async () => {
      isClosed = true;
      await drained.promise;
    },
  };
}

/** One transaction over these calls; every one of them is settled or rejected after it. */
function commitGroup({ connection, undone, committed }: CommitterOptions, calls: readonly Call[]): void {
  const { db, run } = connection;
  const done: Call[] = [];
  try {
    run("BEGIN IMMEDIATE");
    for (const call of calls) {
      if (runAlone(connection, call)) done.push(call);
      else undone();
    }
    run("COMMIT");
  } catch (error) {
    if (db.isTransaction) run("ROLLBACK");
    undone();
    // Those that failed by themselves are rejected already, and rejecting twice does nothing.
    for (const call of calls) call.reject(error);
    return;
  }
  if (done.length > 0) committed?.(done.length);
  for (const call of done) call.settle();
}

/** Whether the call's work is part of the transaction. Throws when the transaction itself is over (disk full, I/O error). */
function runAlone({ db, run }: Connection, call: Call): boolean {
  run("SAVEPOINT call");
  try {
    call.run();
    run("RELEASE call");
    return true;
  } catch (error) {
    if (!db.isTransaction) throw error;
    run("ROLLBACK TO call");
    run("RELEASE call");
    call.reject(error);
    return false;
  }
}
