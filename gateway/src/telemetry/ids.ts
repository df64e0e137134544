import { createHash } from "node:crypto";

export type SpanKey = readonly [kind: "run"] | readonly [kind: "model", turn: number, attempt: number] | readonly [kind: "tool" | "approval", call: string];

const NO_SPAN = "0".repeat(16);

/**
 * The id of a session's span, the same in every process: whoever ends a step, after whatever restarts, gives its span the same id, and its
 * children name it before it is sent.
 */
export function spanIdOf(uid: string, key: SpanKey): string {
  const id = createHash("sha256").update([uid, ...key].join("\n")).digest("hex").slice(0, 16);
  // All zeros means no span.
  return id === NO_SPAN ? "1".padStart(16, "0") : id;
}
