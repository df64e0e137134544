// Constants of the session log, without the schemas: the runner loads them at its start.

/** Version of the event schemas, `v` in the envelope. */
export const LOG_VERSION = 1;

/**
 * Limits of the log, of events as they are stored and their payloads; an append beyond them is refused with a sentence. The results of what was
 * accepted below them have room for so many more events, of any size: there are at most as many as calls of one answer.
 */
export const LOG_LIMITS = { eventBytes: 65_536, logBytes: 64 * 1024 * 1024, events: 100_000, headroomEvents: 512 } as const;

/** Payloads larger than `inlineBytes` of UTF-8 are blobs, of which `startBytes` stay in the event; none is larger than `blobBytes`. */
export const BLOB_LIMITS = { inlineBytes: 16_384, startBytes: 2048, blobBytes: 8 * 1024 * 1024 } as const;

/** Events egress.decided of one session within a minute: three runners' worth, for one may follow another. */
export const EGRESS_EVENTS_PER_MINUTE = 96;

/** People and other authors whom one session remembers: none of them may approve its calls, unless its Environment says so. */
export const MAX_AUTHORS = 32;

/** How long a call of a custom tool waits for its result when the tool does not say. */
export const DEFAULT_CUSTOM_TOOL_SECONDS = 600;

/** The run every session starts with. */
export const ROOT_RUN = "root";
