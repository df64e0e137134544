import { ProblemError } from "./problem.ts";

/** Streams that one person may have open, over all sessions: each holds a connection and asks for its rights again and again. */
export const STREAMS_PER_PERSON = 64;

export interface Seats {
  /** Takes one of the person's streams; returns how to give it back. Throws ProblemError when all are taken. */
  take(username: string): () => void;
}

export function createSeats(): Seats {
  const taken = new Map<string, number>();
  const change = (username: string, by: number): void => {
    const count = (taken.get(username) ?? 0) + by;
    if (count > 0) taken.set(username, count);
    else taken.delete(username);
  };
  return {
    take: (username) => {
      if ((taken.get(username) ?? 0) >= STREAMS_PER_PERSON) {
        throw new ProblemError("too-many", `${username} has ${STREAMS_PER_PERSON} event streams open, which is the most: close one, or read pages of events without Accept: text/event-stream`, { retryAfterMs: 5000 });
      }
      change(username, 1);
      return () => change(username, -1);
    },
  };
}
