import { TRACE_ID_PLACEHOLDER } from "@paddock/api/environment";
import { sandboxPodName } from "@paddock/api/names";
import type { SessionStatus } from "@paddock/api/session";
import type { RecordView } from "@paddock/api/wire/records";

/** A Session's status without what the kernel writes. */
export type StatusFields = Omit<SessionStatus, "conditions" | "observedGeneration">;

/**
 * Whether the log has got on since status last told its counters: an answer or a tool's result. Starting, asking and failing again is
 * no progress.
 */
export function hasProgressed(record: RecordView, before: SessionStatus | undefined): boolean {
  return record.turns > (before?.turns ?? 0) || record.toolCalls > (before?.toolCalls ?? 0);
}

/** Status as a projection of the record; the runner's attempts are the operator's own count and are kept. Pure. */
export function buildStatus(record: RecordView, before: SessionStatus | undefined): StatusFields {
  const { bundle, sandbox, name } = record;
  return {
    agentRevision: bundle.agentDigest,
    environmentRevision: bundle.environment.digest,
    startTime: bundle.startTime,
    trace: traceOf(record),
    limits: bundle.limits,
    // Whoever writes newer counters has to forget the failures before them: the next failure is compared with these counters.
    runner: before?.runner === undefined || !hasProgressed(record, before) ? before?.runner : { ...before.runner, failuresInARow: undefined, disruptionsInARow: undefined },
    sandbox: sandbox.requested === 0 ? undefined : { podName: sandboxPodName(name, sandbox.requested) },
    answer: answerOf(record),
    turns: record.turns,
    toolCalls: record.toolCalls,
    lastEventSeq: record.lastSeq,
    usage: record.turns === 0 && record.usage.uncertainCostUSD === undefined ? undefined : record.usage,
    recentSteps: record.recentSteps.length === 0 ? undefined : [...record.recentSteps],
  };
}

function traceOf({ bundle: { traceId, environment } }: RecordView): StatusFields["trace"] {
  return { id: traceId, url: environment.spec.telemetry?.traceURLTemplate?.replaceAll(TRACE_ID_PLACEHOLDER, traceId) };
}

/** Only while the Conversation waits: afterwards it answers a message that nobody sees beside it. */
function answerOf({ activity, answer }: RecordView): StatusFields["answer"] {
  if (answer === undefined || activity.kind !== "Waiting" || activity.for !== "input") return undefined;
  return { text: answer.text, truncated: answer.truncated ? true : undefined };
}
