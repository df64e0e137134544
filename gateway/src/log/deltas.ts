import { z } from "zod";
import { deltaSchema } from "@paddock/api/schema/people";
import type { Store } from "../store/store.ts";
import type { Followers } from "./follow.ts";

const shownSchema = z.object({ uid: z.string(), after: z.int().min(0), delta: deltaSchema });

/** Part of an answer as the model streams it; `after` is the newest event that it follows. */
export type ShownDelta = z.infer<typeof shownSchema>;

/** Shows what models stream to everybody who reads the log, at whichever gateway. */
export interface Deltas {
  show(delta: ShownDelta): void;
  close(): void;
}

export function createDeltas(store: Pick<Store, "broadcast" | "onBroadcast">, followers: Followers): Deltas {
  const showHere = ({ uid, after, delta }: ShownDelta): void => followers.show(uid, after, delta);
  const close = store.onBroadcast((text) => {
    const shown = parseShown(text);
    if (shown !== undefined) showHere(shown);
  });
  return {
    show: (delta) => {
      showHere(delta);
      void store.broadcast(JSON.stringify(delta));
    },
    close,
  };
}

/** Undefined for what a gateway of another release may say. */
function parseShown(text: string): ShownDelta | undefined {
  try {
    return shownSchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
