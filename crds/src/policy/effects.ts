/**
 * What running a call a second time may do. Pure: nothing. Idempotent: the same as once, given the same idempotency key.
 * Once: unknown, so a call that may have started is never started again.
 */
export type Effect = "Pure" | "Idempotent" | "Once";
