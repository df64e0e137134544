import type { Counter, Histogram } from "prom-client";
import { refusalOf } from "@paddock/api/egress";
import { payloadRef } from "@paddock/api/log/blobs";
import type { EventDataOf, Grant, LogEvent } from "@paddock/api/log/events";
import { isFreeFailure } from "@paddock/api/log/fold";
import type { Labels } from "./labels.ts";
import type { ApprovalStep, Commit, ModelStep, Step } from "./steps.ts";

/** What is counted of sessions' logs. */
export interface Counters {
  readonly runs: Counter<"outcome">;
  readonly requests: Counter<"result">;
  readonly tokens: Counter<"type">;
  readonly cost: Counter;
  readonly uncertainCost: Counter;
  readonly tools: Counter<"status">;
  readonly approvals: Counter<"decision">;
  readonly approvalWait: Histogram;
  readonly blobBytes: Counter;
  readonly egress: Counter<"reason">;
  readonly egressBytes: Counter<"direction">;
  readonly isolation: Counter<"result">;
}

const NANO = 1e9;

/** Counts a commit and the steps it ended. */
export function countSteps(counters: Counters, { events }: Pick<Commit, "events">, steps: readonly Step[]): void {
  for (const event of events) countEvent(counters, event);
  for (const step of steps) countStep(counters, step);
}

function countEvent(counters: Counters, event: LogEvent): void {
  counters.blobBytes.inc(payloadRef(event)?.bytes ?? 0);
  if (event.type === "egress.decided") countEgress(counters, event.data);
  if (event.type === "isolation.reported") counters.isolation.inc({ result: event.data.open.length === 0 ? "closed" : "open" });
}

function countEgress({ egress, egressBytes }: Counters, { decision, rule, count, bytesSent, bytesReceived }: EventDataOf<"egress.decided">): void {
  // The rule that allows is a name of people's; admission has seen that a denial's is one of ours.
  egress.inc({ reason: decision === "Allow" ? "Allowed" : (refusalOf(rule) ?? "Malformed") }, count);
  egressBytes.inc({ direction: "sent" }, bytesSent);
  egressBytes.inc({ direction: "received" }, bytesReceived);
}

function countStep(counters: Counters, step: Step): void {
  switch (step.kind) {
    case "model":
      counters.requests.inc({ result: modelResultOf(step) });
      return countUsage(counters, step);
    case "tool":
      return counters.tools.inc({ status: step.event.type === "tool.finished" ? step.event.data.status : "unfinished" });
    case "approval":
      counters.approvals.inc({ decision: decisionOf(step) });
      return counters.approvalWait.observe(Math.max(0, Date.parse(step.event.at) - Date.parse(step.approval.requestedAt)) / 1000);
    case "run":
      return counters.runs.inc({ outcome: step.event.data.outcome });
  }
}

/** How a model request ended, in one word. */
export function modelResultOf({ event }: ModelStep): Labels["modelResult"] {
  if (event.type === "model.responded") return "answered";
  return event.type === "model.failed" ? event.data.class : "lost";
}

export function decisionOf({ event }: ApprovalStep): Labels["approvalDecision"] {
  return event.type === "approval.resolved" ? event.data.decision : "Withdrawn";
}

/** By the rules of the fold: what an answer does not account for may have cost what was reserved. */
function countUsage({ tokens, cost, uncertainCost }: Counters, { request, event }: ModelStep): void {
  if (event.type === "model.failed" && isFreeFailure(event.data.class)) return;
  if (event.type !== "model.responded" || event.data.usage === undefined) {
    uncertainCost.inc(reservedOf(request.grant));
    return;
  }
  const { usage, costNanoUSD = "0" } = event.data;
  // An endpoint may count more as cached than as input.
  tokens.inc({ type: "input" }, Math.max(0, usage.inputTokens - usage.cachedInputTokens));
  tokens.inc({ type: "cached" }, usage.cachedInputTokens);
  tokens.inc({ type: "output" }, usage.outputTokens);
  cost.inc(Number(costNanoUSD) / NANO);
}

function reservedOf(grant: Grant | undefined): number {
  return Number(grant?.reservedNanoUSD ?? "0") / NANO;
}
