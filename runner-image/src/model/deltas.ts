import type { Delta } from "@paddock/api/wire/runner";
import { RUNNER_DELTAS } from "@paddock/api/wire/runner";
import type { Gateway } from "../gateway.ts";
import { redactShapes } from "../redaction.ts";
import type { Redactor } from "../redaction.ts";

/** Text is shown at most this often. */
const COALESCE_MS = 50;

/** Text that waits for a slow gateway; what goes beyond it is not shown: the stored answer has it. */
const MAX_WAITING_CHARS = 16_384;

/** Shows an answer's text to those who watch, while it is streamed. For eyes only: it is never awaited and its errors end here. */
export interface DeltaSender {
  push(text: string): void;
  /** The attempt failed: what was shown of it is void. */
  discard(): void;
  /** The answer is stored: nothing more is shown. */
  settle(): void;
}

export interface DeltaPorts {
  readonly gateway: Gateway;
  readonly redactor: Pick<Redactor, "text" | "openEnd">;
}

export function createDeltaSender({ gateway, redactor }: DeltaPorts, { turn, attempt }: Pick<Delta, "turn" | "attempt">): DeltaSender {
  const of = { turn, attempt };
  let waiting = "";
  let timer: NodeJS.Timeout | undefined;
  let sending: Promise<unknown> | undefined;
  let shown = false;

  const send = (delta: Omit<Delta, "turn" | "attempt">): void => {
    sending = gateway.post(RUNNER_DELTAS, { ...of, ...delta }).then(() => undefined, () => undefined).finally(() => {
      sending = undefined;
      if (waiting !== "") schedule();
    });
  };
  const flush = (): void => {
    timer = undefined;
    // One at a time: the gateway shows them as they come, and they must come in order.
    if (sending !== undefined || waiting === "") return;
    // A secret comes in pieces, too: what could be the start of one waits for what follows, and is not shown when the answer ends with it.
    const clean = redactor.text(waiting);
    const end = redactor.openEnd(clean);
    waiting = clean.slice(end);
    if (end === 0) return;
    const text = redactShapes(clean.slice(0, end));
    shown = true;
    send({ text });
  };
  const schedule = (): void => {
    timer ??= setTimeout(flush, COALESCE_MS);
  };
  const stop = (): void => {
    clearTimeout(timer);
    timer = undefined;
    waiting = "";
  };
  return {
    push(text) {
      waiting = (waiting + text).slice(0, MAX_WAITING_CHARS);
      schedule();
    },
    discard() {
      stop();
      if (!shown) return;
      if (sending === undefined) send({ discarded: true });
      else void sending.then(() => send({ discarded: true }));
    },
    settle: stop,
  };
}
