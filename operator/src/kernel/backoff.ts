import type { Backoff } from "@paddock/api/backoff";

/** A queue's back-off: quick at first, because most failures are a lost race or a short outage. */
export const QUEUE_BACKOFF: Backoff = { firstMs: 50, mostMs: 60_000 };

/** Back-off of long-lived connections. */
export const STREAM_BACKOFF: Backoff = { firstMs: 100, mostMs: 10_000 };
