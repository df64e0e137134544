// Constants of the session log, without the schemas: the runner loads them at its start.

/** Version of the event schemas, `v` in the envelope. */
export const LOG_VERSION = 1;

/** Limits of the log; an append beyond them is refused with a sentence, results keep HEADROOM. */
export const LOG_LIMITS = { eventBytes: 1_048_576, logBytes: 64 * 1024 * 1024, events: 100_000, headroomEvents: 64, headroomBytes: 4 * 1024 * 1024 } as const;

/** The run every session starts with. */
export const ROOT_RUN = "root";
