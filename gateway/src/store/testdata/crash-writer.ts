import { sha256 } from "@paddock/api/log/canonical";
import { event, toolFinishedEvent } from "../../../../test/fakes/session.ts";
import { AT, append, create } from "./cases-scene.ts";
import { openSqliteStore } from "../sqlite.ts";

/** Sessions that are written to at the same time. */
export const CRASH_UIDS = ["a", "b", "c", "d", "e", "f", "g", "h"] as const;
export const CRASH_DAY = "2026-01-01";

/** What is told of each append once the store has acknowledged it. */
export interface Acknowledged {
  readonly uid: string;
  readonly seq: number;
}

/** Appends to a store until the process is killed; each append counts once in the ledger, and now and then has a payload of its own. */
export async function appendForEver(folder: string, tell: (acknowledged: Acknowledged) => void): Promise<void> {
  const store = openSqliteStore(folder, () => new Date(AT));
  await Promise.all(
    CRASH_UIDS.map(async (uid) => {
      await create(store, uid);
      for (;;) {
        const seq = ((await store.record(uid))?.state.lastSeq ?? 0) + 1;
        const text = `payload ${seq} of ${uid} `.repeat(500);
        const blob = { text, ref: { sha256: sha256(text), bytes: text.length, mediaType: "text/plain" as const } };
        const hasPayload = seq % 5 === 0;
        const added = hasPayload ? toolFinishedEvent("root/1/0", { content: "", blob: blob.ref }) : event("session.cancelled", { reason: `${seq}` });
        await append(store, uid, [added], { ledger: [{ day: CRASH_DAY, requests: 1 }], ...(hasPayload ? { blobs: [blob] } : {}) });
        tell({ uid, seq });
      }
    }),
  );
}
