import type { Bundle } from "@paddock/api/log/bundle";
import type { EventType, LogEvent, LogEventOf } from "@paddock/api/log/events";
import { ROOT_RUN } from "@paddock/api/log/limits";
import type { ApprovalState, CallState, SessionState } from "@paddock/api/log/state";
import type { StoredRecord } from "../store/store.ts";

/** What was committed to one record: the record as it was before (undefined for a new one), its bundle, and the events as stored. */
export interface Commit {
  readonly before: StoredRecord | undefined;
  readonly bundle: Bundle;
  readonly events: readonly LogEvent[];
}

type Request = Pick<NonNullable<SessionState["request"]>, "seq" | "turn" | "attempt" | "model" | "grant" | "through">;

/** A model request that has its answer, or will have none: the runner was replaced or the run ended. */
export interface ModelStep {
  readonly kind: "model";
  readonly request: Request;
  readonly event: LogEventOf<"model.responded"> | LogEventOf<"model.failed"> | LogEventOf<"runner.started"> | LogEventOf<"run.finished">;
  /** The last event the model was shown before: what it is shown now for the first time comes after it. */
  readonly after: number;
}

/** A call that has its result, or was begun when the run ended. */
export interface ToolStep {
  readonly kind: "tool";
  readonly call: CallState;
  readonly event: LogEventOf<"tool.finished"> | LogEventOf<"run.finished">;
  /** The last event the model was shown when it asked for the call: all of the call's own come after it. */
  readonly after: number;
}

/** An approval that was decided, expired, or lost its call. */
export interface ApprovalStep {
  readonly kind: "approval";
  readonly approval: Pick<ApprovalState, "call" | "tool" | "requestedAt">;
  readonly event: LogEventOf<"approval.resolved"> | LogEventOf<"tool.finished"> | LogEventOf<"run.finished">;
}

export interface RunStep {
  readonly kind: "run";
  readonly event: LogEventOf<"run.finished">;
}

/** Something that a commit brought to its end. */
export type Step = ModelStep | ToolStep | ApprovalStep | RunStep;

/** What is under way, as far as steps need it: the fold's members, without what only the log itself needs. */
interface Cursor {
  readonly request: Request | undefined;
  readonly calls: readonly CallState[];
  readonly approvals: readonly ApprovalStep["approval"][];
  readonly after: number;
}

interface Moved {
  readonly cursor: Cursor;
  readonly steps: readonly Step[];
}

type Movers = { readonly [T in EventType]?: (cursor: Cursor, event: LogEventOf<T>) => Moved };

const movers: Movers = {
  "model.requested": (cursor, { seq, data: { turn, attempt, model, through, grant } }) => move({ ...cursor, request: { seq, turn, attempt, model, through, ...(grant === undefined ? {} : { grant }) } }),
  "model.failed": (cursor, event) => ({ cursor: { ...cursor, request: undefined }, steps: endRequest(cursor, event) }),
  "model.responded": (cursor, event) => ({
    cursor: { ...cursor, request: undefined, calls: event.data.message.toolCalls.map(({ name }, index) => ({ call: `${ROOT_RUN}/${event.data.turn}/${index}`, name, attempts: 0 })), after: cursor.request?.through ?? cursor.after },
    steps: endRequest(cursor, event),
  }),
  "runner.started": (cursor, event) => ({ cursor: { ...cursor, request: undefined }, steps: endRequest(cursor, event) }),
  "tool.decided": (cursor, { data: { call, decision, fingerprint, effect } }) => move(changeCall(cursor, call, { decision: { decision, fingerprint, effect } })),
  "tool.started": (cursor, { data: { call, attempt } }) => move(changeCall(cursor, call, { attempts: attempt })),
  "tool.finished": finishTool,
  "approval.requested": (cursor, { data: { call, tool }, at }) => move({ ...cursor, approvals: [...cursor.approvals, { call, tool, requestedAt: at }] }),
  "approval.resolved": (cursor, event) => endApprovals(cursor, event, ({ call }) => call === event.data.call),
  "run.finished": finishRun,
};

/**
 * What a commit brought to its end, in the log's order. Pure, and bounded by the commit's events and the open turn's calls: nothing is
 * folded again.
 */
export function stepsOf({ before, events }: Pick<Commit, "before" | "events">): readonly Step[] {
  let cursor = openCursor(before?.state);
  const steps: Step[] = [];
  for (const event of events) {
    const mover = movers[event.type] as ((cursor: Cursor, event: LogEvent) => Moved) | undefined;
    if (mover === undefined) continue;
    const moved = mover(cursor, event);
    cursor = moved.cursor;
    steps.push(...moved.steps);
  }
  return steps;
}

function openCursor(state: SessionState | undefined): Cursor {
  const { request, calls = [], approvals = [], answeredThrough = 0 } = state ?? {};
  return { request, calls, approvals: approvals.filter(({ resolution }) => resolution === undefined), after: answeredThrough };
}

function move(cursor: Cursor): Moved {
  return { cursor, steps: [] };
}

function changeCall(cursor: Cursor, call: string, change: Partial<CallState>): Cursor {
  return { ...cursor, calls: cursor.calls.map((candidate) => (candidate.call === call ? { ...candidate, ...change } : candidate)) };
}

function endRequest({ request, after }: Cursor, event: ModelStep["event"]): readonly Step[] {
  return request === undefined ? [] : [{ kind: "model", request, event, after }];
}

function endApprovals(cursor: Cursor, event: ApprovalStep["event"], isIt: (approval: ApprovalStep["approval"]) => boolean): Moved {
  return {
    cursor: { ...cursor, approvals: cursor.approvals.filter((approval) => !isIt(approval)) },
    steps: cursor.approvals.filter(isIt).map((approval) => ({ kind: "approval", approval, event })),
  };
}

function finishTool(cursor: Cursor, event: LogEventOf<"tool.finished">): Moved {
  const { call: id } = event.data;
  const ended = endApprovals(cursor, event, ({ call }) => call === id);
  const call = cursor.calls.find((candidate) => candidate.call === id) ?? { call: id, name: "", attempts: 0 };
  return {
    cursor: { ...ended.cursor, calls: cursor.calls.filter((candidate) => candidate.call !== id) },
    steps: [...ended.steps, { kind: "tool", call, event, after: cursor.after }],
  };
}

/** Nobody will end what is still open: an operator finishes a run whose runner is gone. */
function finishRun(cursor: Cursor, event: LogEventOf<"run.finished">): Moved {
  const left = cursor.calls.filter(({ finished, decision }) => finished === undefined && decision !== undefined);
  return {
    cursor: { ...cursor, request: undefined, calls: [], approvals: [] },
    steps: [
      ...endRequest(cursor, event),
      ...endApprovals(cursor, event, () => true).steps,
      ...left.map((call): Step => ({ kind: "tool", call, event, after: cursor.after })),
      { kind: "run", event },
    ],
  };
}
