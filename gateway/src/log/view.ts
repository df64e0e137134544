import { startOfBytes } from "@paddock/api/cut";
import { formatUsd } from "@paddock/api/log/money";
import { deadlineAt } from "@paddock/api/log/state";
import type { SessionState, Totals } from "@paddock/api/log/state";
import type { RecordView } from "@paddock/api/wire/records";
import { canonicalJson } from "@paddock/api/log/canonical";
import type { StoredRecord } from "../store/store.ts";

/** Bytes of a result's or an answer's text that status may hold. */
const RESULT_BYTES = 4096;

/** A record as the operator sees it. Pure. */
export function buildView({ uid, namespace, name, version, bundle, bundleDigest, state, runner }: StoredRecord): RecordView {
  const { agent, environment, limits, startTime, traceId } = bundle;
  const { finished, waiting, sandbox, cancelled, suspended, approvals = [], authors = [], lastSeq, turns, toolCalls, recentSteps } = state;
  return {
    uid,
    namespace,
    name,
    version,
    activity: activityOf(state),
    bundle: { digest: bundleDigest, agentDigest: agent.digest, environment, limits, startTime, traceId },
    runner: { ...(runner.podUid === undefined ? {} : { podUid: runner.podUid }), epoch: state.epoch, connected: runner.connected, since: runner.since },
    sandbox,
    cancelled,
    suspended: suspended === true,
    approvals: approvals.map(({ seq: _, ...approval }) => approval),
    authors,
    lastSeq,
    turns,
    toolCalls,
    usage: buildUsage(state.totals),
    recentSteps,
    ...underWay(state),
    ...(waiting === undefined || finished !== undefined ? {} : { answer: startOfText(waiting.text) }),
    ...(finished === undefined ? {} : { result: buildResult(finished) }),
  };
}

function activityOf({ finished, waiting }: SessionState): RecordView["activity"] {
  if (finished !== undefined) return { kind: "Finished", outcome: finished.outcome, at: finished.at };
  return waiting === undefined ? { kind: "Active" } : { kind: "Waiting", for: waiting.for, since: waiting.since };
}

/** What only means something while an input is under way. */
function underWay(state: SessionState): Pick<RecordView, "deadline" | "problem"> {
  const { finished, waiting, problem } = state;
  if (finished !== undefined || waiting !== undefined) return {};
  const deadline = deadlineAt(state);
  return { ...(deadline === Infinity ? {} : { deadline: new Date(deadline).toISOString() }), ...(problem === undefined ? {} : { problem }) };
}

/** The part of a view whose change the operator acts on: it is sent at once, the rest may wait for more. Pure. */
export function urgentPartOf({ activity, runner, sandbox, cancelled, suspended, approvals, authors, deadline, problem, answer, result }: RecordView): string {
  return canonicalJson({ activity, runner, sandbox, cancelled, suspended, approvals, authors, deadline, problem, answer, result });
}

function buildUsage({ inputTokens, cachedInputTokens, outputTokens, costNanoUSD, uncertainNanoUSD = "0" }: Totals): RecordView["usage"] {
  return {
    inputTokens,
    cachedInputTokens,
    outputTokens,
    totalTokens: inputTokens + outputTokens,
    ...(costNanoUSD === undefined ? {} : { costUSD: formatUsd(BigInt(costNanoUSD)) }),
    ...(uncertainNanoUSD === "0" ? {} : { uncertainCostUSD: formatUsd(BigInt(uncertainNanoUSD)) }),
  };
}

function buildResult({ outcome, text, reason, blob }: NonNullable<SessionState["finished"]>): NonNullable<RecordView["result"]> {
  const start = startOfText(text);
  // Of a text that is beside its event only the start came here.
  return { outcome, ...start, truncated: start.truncated || blob !== undefined, message: shownOf(reason) };
}

/** What a terminal obeys, and what turns the direction of writing or is not seen; joiners and selectors of emoji and scripts stay. */
const ACTIVE = /(?![\n\t])\p{Cc}|[\u{ad}\u{61c}\u{200b}\u{200e}\u{200f}\u{2028}-\u{202e}\u{2060}-\u{206f}\u{feff}\u{e0000}-\u{e007f}]/gu;

const shownOf = (text: string): string => text.replaceAll("\r\n", "\n").replace(ACTIVE, (active) => `\\u{${(active.codePointAt(0) ?? 0).toString(16)}}`);

/** For people's terminals: `kubectl describe` shows status as it is. The log has every character. */
function startOfText(text: string): { readonly text: string; readonly truncated: boolean } {
  const whole = startOfBytes(text, RESULT_BYTES);
  const shown = shownOf(whole);
  const start = startOfBytes(shown, RESULT_BYTES);
  return { text: start, truncated: whole.length < text.length || start.length < shown.length };
}
