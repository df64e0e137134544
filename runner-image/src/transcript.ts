import type { Bundle } from "@paddock/api/log/bundle";
import type { LogEvent } from "@paddock/api/log/events";
import { foldEvent } from "@paddock/api/log/fold";
import { EMPTY_STATE } from "@paddock/api/log/state";
import type { SessionState } from "@paddock/api/log/state";

/** What every decision is made from: the log as far as it has been read, and the bundle that the session is bound to. */
export interface View {
  readonly bundle: Bundle;
  readonly state: SessionState;
  /** All events so far; `events[n]` has the sequence number n + 1. */
  readonly events: readonly LogEvent[];
}

/**
 * The log as this process has read it, from two sources that overlap: the stream and the replies to appends. Events are taken once and
 * in order, whichever source is first.
 */
export interface Transcript {
  view(): View;
  /** Takes events in any order; calls `onChange` once when the view has moved. */
  take(events: readonly LogEvent[]): void;
  /** Resolves when the view includes event `seq`. */
  reached(seq: number): Promise<void>;
}

export function createTranscript(bundle: Bundle, onChange: () => void): Transcript {
  const events: LogEvent[] = [];
  const early = new Map<number, LogEvent>();
  let waiting: readonly { readonly seq: number; readonly resolve: () => void }[] = [];
  let view: View = { bundle, state: EMPTY_STATE, events };
  return {
    view: () => view,
    take(more) {
      for (const event of more) if (event.seq > view.state.lastSeq) early.set(event.seq, event);
      let { state } = view;
      for (let next = early.get(state.lastSeq + 1); next !== undefined; next = early.get(state.lastSeq + 1)) {
        early.delete(next.seq);
        state = foldEvent(state, next);
        events.push(next);
      }
      if (state === view.state) return;
      view = { bundle, state, events };
      const due = waiting.filter(({ seq }) => seq <= state.lastSeq);
      waiting = waiting.filter(({ seq }) => seq > state.lastSeq);
      for (const { resolve } of due) resolve();
      onChange();
    },
    reached(seq) {
      if (seq <= view.state.lastSeq) return Promise.resolve();
      return new Promise((resolve) => {
        waiting = [...waiting, { seq, resolve }];
      });
    },
  };
}
