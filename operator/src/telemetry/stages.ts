import type { Session } from "@paddock/api/session";
import type { RecordView } from "@paddock/api/wire/records";
import type { Action } from "../kernel/kind.ts";

/** Where a session is on its way. Creation is not among them: the API server tells it in whole seconds. */
export type Stage = "bound" | "dispatched" | "connected" | "finished" | "terminal";

/** Times the stages of Sessions that begin while we watch. */
export interface StageTrace {
  onSession(session: Session): void;
  onRecord(record: RecordView): void;
  /** An action was accepted. */
  onAction(action: Action): void;
  /** A status of a Session was accepted. */
  onStatus(uid: string, isFinished: boolean): void;
}

export interface StageTraceOptions {
  onStage(stage: Stage, seconds: number): void;
  /** Monotonic, in milliseconds. */
  nowMs(): number;
}

// A session may run for days, and nobody knows which ones never end: the oldest is forgotten.
const MEMORY = 4096;

/** Only what this process has seen from the beginning is timed: after a restart the first sight of a Session says nothing about it. */
export function createStageTrace({ onStage, nowMs }: StageTraceOptions): StageTrace {
  const traces = new Map<string, { readonly seenAtMs: number; readonly passed: Set<Stage> }>();

  const pass = (uid: string, stage: Stage): void => {
    const trace = traces.get(uid);
    if (trace === undefined || trace.passed.has(stage)) return;
    trace.passed.add(stage);
    onStage(stage, (nowMs() - trace.seenAtMs) / 1000);
    if (stage === "terminal") traces.delete(uid);
  };
  const begin = (uid: string): void => {
    if (traces.has(uid)) return;
    traces.set(uid, { seenAtMs: nowMs(), passed: new Set() });
    const oldest = traces.size > MEMORY ? traces.keys().next().value : undefined;
    if (oldest !== undefined) traces.delete(oldest);
  };

  return {
    onSession: ({ metadata, status }) => {
      if (metadata.deletionTimestamp !== undefined) traces.delete(metadata.uid);
      else if (status === undefined) begin(metadata.uid);
    },
    onRecord: ({ uid, runner, activity }) => {
      if (runner.connected) pass(uid, "connected");
      if (activity.kind === "Finished") pass(uid, "finished");
    },
    onAction: (action) => {
      if (action.verb === "bind") pass(action.uid, "bound");
      if (action.verb !== "create" || action.object.kind !== "Pod") return;
      for (const { uid } of action.object.metadata.ownerReferences ?? []) pass(uid, "dispatched");
    },
    onStatus: (uid, isFinished) => {
      if (isFinished) pass(uid, "terminal");
    },
  };
}
