import type { LogEvent } from "@paddock/api/log/events";
import { spanIdOf } from "./ids.ts";
import type { Step } from "./steps.ts";

/** Steps under way that are remembered; the oldest are forgotten first, and read from the log when they end. */
const REMEMBERED = 16_384;

export interface Starts {
  see(uid: string, event: LogEvent): void;
  /** When the step began, in epoch milliseconds, and forgets it; undefined when this process does not know. */
  take(uid: string, step: Step): number | undefined;
}

interface Start {
  readonly ms: number;
  /** Of a call: that it started, and not only was decided. */
  readonly isStart: boolean;
}

/** When what is under way began, as far as this process has seen it. */
export function createStarts(): Starts {
  const starts = new Map<string, Start>();
  const remember = (id: string, start: Start): void => {
    starts.set(id, start);
    const [oldest] = starts.keys();
    if (starts.size > REMEMBERED && oldest !== undefined) starts.delete(oldest);
  };
  const forget = (id: string): Start | undefined => {
    const start = starts.get(id);
    starts.delete(id);
    return start;
  };
  return {
    see: (uid, event) => {
      const begun = beginningOf(uid, event);
      if (begun !== undefined) remember(begun.id, { ms: Date.parse(event.at), isStart: begun.isStart });
    },
    take: (uid, step) => {
      switch (step.kind) {
        case "run":
          return forget(spanIdOf(uid, ["run"]))?.ms;
        case "model":
          return forget(spanIdOf(uid, ["model", step.request.turn, step.request.attempt]))?.ms;
        case "approval":
          return Date.parse(step.approval.requestedAt);
        case "tool": {
          // Another gateway of the same store may have seen it start.
          const start = forget(spanIdOf(uid, ["tool", step.call.call]));
          return start?.isStart === (step.call.attempts > 0) ? start?.ms : undefined;
        }
      }
    },
  };
}

/** The span that an event begins. Of a call's attempts only the first. */
function beginningOf(uid: string, event: LogEvent): { readonly id: string; readonly isStart: boolean } | undefined {
  switch (event.type) {
    case "session.bound":
      return { id: spanIdOf(uid, ["run"]), isStart: true };
    case "model.requested":
      return { id: spanIdOf(uid, ["model", event.data.turn, event.data.attempt]), isStart: true };
    case "tool.decided":
      return { id: spanIdOf(uid, ["tool", event.data.call]), isStart: false };
    case "tool.started":
      return event.data.attempt === 1 ? { id: spanIdOf(uid, ["tool", event.data.call]), isStart: true } : undefined;
    default:
      return undefined;
  }
}
