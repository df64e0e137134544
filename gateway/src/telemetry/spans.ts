import type { Attributes } from "@opentelemetry/api";
import type { Bundle } from "@paddock/api/log/bundle";
import { decisionOf, modelResultOf } from "./counts.ts";
import { NAME, OPERATION, providerOf } from "./genai.ts";
import { spanIdOf } from "./ids.ts";
import { answerMessages, cutContent, textMessages } from "./content.ts";
import type { ApprovalStep, ModelStep, RunStep, Step, ToolStep } from "./steps.ts";

/** A span as it is sent: times in epoch milliseconds, `error` is its error.type. */
export interface SpanData {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: "internal" | "client";
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Attributes;
  readonly error?: string;
  /** What happened in the endpoint's words: content, like messages. */
  readonly message?: string;
}

/** What spans tell of their session: a bundle's small part, so that a waiting span does not keep the whole. */
export interface Subject {
  readonly uid: string;
  readonly traceId: string;
  readonly agent: string;
  readonly agentUid: string;
  readonly models: Bundle["environment"]["spec"]["models"];
  readonly startTime: string;
  /** Whether messages, arguments, results and people may be told. */
  readonly content: boolean;
  readonly attributes: Attributes;
}

export function subjectOf({ session, agent, environment, startTime, traceId }: Bundle): Subject {
  return {
    uid: session.uid,
    traceId,
    agent: agent.name,
    agentUid: agent.uid,
    models: environment.spec.models,
    startTime,
    content: environment.spec.telemetry?.content === "Recorded",
    attributes: {
      [NAME.namespace]: session.namespace,
      [NAME.session]: session.uid,
      [NAME.conversation]: session.uid,
      [NAME.agent]: agent.name,
      [NAME.sessionUid]: session.uid,
      [NAME.sessionName]: session.name,
      [NAME.environment]: environment.name,
    },
  };
}

/** Statuses of a call that mean that it did not do what it should. What people and policy decided is no failure. */
const FAILED_CALLS: ReadonlySet<string> = new Set(["error", "timeout", "indeterminate", "unfinished"]);
const NANO = 1e9;

/** What a step's own events tell of its span; its start is the best guess until it is looked up. Pure. */
export function buildSpan(subject: Subject, step: Step): SpanData {
  switch (step.kind) {
    case "run":
      return buildRun(subject, step);
    case "model":
      return buildModel(subject, step);
    case "tool":
      return buildTool(subject, step);
    case "approval":
      return buildApproval(subject, step);
  }
}

function buildRun(subject: Subject, { event }: RunStep): SpanData {
  const { uid, traceId, agent, agentUid, startTime, content } = subject;
  const { outcome, text } = event.data;
  return {
    traceId,
    spanId: spanIdOf(uid, ["run"]),
    name: `${OPERATION.run} ${agent}`,
    kind: "internal",
    startMs: Date.parse(startTime),
    endMs: Date.parse(event.at),
    attributes: {
      ...subject.attributes,
      [NAME.operation]: OPERATION.run,
      [NAME.agentId]: agentUid,
      [NAME.outcome]: outcome,
      ...(content ? { [NAME.outputMessages]: textMessages("assistant", text) } : {}),
    },
    // Somebody wanted it to end.
    ...(outcome === "Completed" || outcome === "Cancelled" ? {} : { error: outcome }),
  };
}

function buildModel(subject: Subject, step: ModelStep): SpanData {
  const { uid, traceId, models, content } = subject;
  const { request, event } = step;
  const endpoint = models.find(({ name }) => name === request.model);
  const model = endpoint?.model ?? request.model;
  const result = modelResultOf(step);
  const endMs = Date.parse(event.at);
  return {
    traceId,
    spanId: spanIdOf(uid, ["model", request.turn, request.attempt]),
    parentSpanId: spanIdOf(uid, ["run"]),
    name: `${OPERATION.model} ${model}`,
    kind: "client",
    startMs: endMs - (event.type === "model.responded" ? event.data.seconds * 1000 : 0),
    endMs,
    attributes: {
      ...subject.attributes,
      [NAME.operation]: OPERATION.model,
      [NAME.model]: model,
      ...(endpoint === undefined ? {} : serverAttributes(endpoint.baseURL)),
      [NAME.turn]: request.turn,
      [NAME.attempt]: request.attempt,
      ...(request.grant?.outputTokens === undefined ? {} : { [NAME.maxTokens]: request.grant.outputTokens }),
      ...answerAttributes(step, content),
    },
    ...(result === "answered" ? {} : { error: result }),
    ...(event.type === "model.failed" && content ? { message: cutContent(event.data.message) } : {}),
  };
}

function serverAttributes(baseURL: string): Attributes {
  const { hostname, port, protocol } = new URL(baseURL);
  const standard = protocol === "https:" ? 443 : 80;
  return { [NAME.provider]: providerOf(hostname), [NAME.serverAddress]: hostname, [NAME.serverPort]: port === "" ? standard : Number(port) };
}

function answerAttributes({ event }: ModelStep, content: boolean): Attributes {
  if (event.type === "model.failed") return event.data.status === undefined ? {} : { [NAME.httpStatus]: event.data.status };
  if (event.type !== "model.responded") return {};
  const { usage, finishReason, costNanoUSD, message } = event.data;
  return {
    [NAME.finishReasons]: [finishReason],
    ...(usage === undefined ? {} : { [NAME.inputTokens]: usage.inputTokens, [NAME.cachedTokens]: usage.cachedInputTokens, [NAME.outputTokens]: usage.outputTokens }),
    ...(costNanoUSD === undefined ? {} : { [NAME.cost]: Number(costNanoUSD) / NANO }),
    ...(content ? { [NAME.outputMessages]: answerMessages(message, finishReason) } : {}),
  };
}

function buildTool(subject: Subject, { call, event }: ToolStep): SpanData {
  const { uid, traceId, content } = subject;
  const { status, seconds } = event.type === "tool.finished" ? event.data : { status: "unfinished" as const, seconds: 0 };
  const endMs = Date.parse(event.at);
  return {
    traceId,
    spanId: spanIdOf(uid, ["tool", call.call]),
    parentSpanId: spanIdOf(uid, ["run"]),
    name: `${OPERATION.tool} ${call.name}`,
    kind: "internal",
    startMs: endMs - seconds * 1000,
    endMs,
    attributes: {
      ...subject.attributes,
      [NAME.operation]: OPERATION.tool,
      [NAME.tool]: call.name,
      [NAME.toolType]: "function",
      [NAME.toolCall]: call.call,
      [NAME.attempts]: call.attempts,
      [NAME.status]: status,
      ...(content && event.type === "tool.finished" ? { [NAME.result]: cutContent(event.data.content) } : {}),
    },
    ...(FAILED_CALLS.has(status) ? { error: status } : {}),
  };
}

function buildApproval(subject: Subject, step: ApprovalStep): SpanData {
  const { uid, traceId, content } = subject;
  const { approval, event } = step;
  const resolution = event.type === "approval.resolved" ? event.data : undefined;
  return {
    traceId,
    spanId: spanIdOf(uid, ["approval", approval.call]),
    parentSpanId: spanIdOf(uid, ["tool", approval.call]),
    name: `approval ${approval.tool}`,
    kind: "internal",
    startMs: Date.parse(approval.requestedAt),
    endMs: Date.parse(event.at),
    attributes: {
      ...subject.attributes,
      [NAME.tool]: approval.tool,
      [NAME.toolCall]: approval.call,
      [NAME.decision]: decisionOf(step),
      ...(resolution === undefined ? {} : { [NAME.scope]: resolution.scope }),
      ...(content && resolution?.by !== undefined ? { [NAME.user]: resolution.by } : {}),
      ...(content && resolution?.reason !== undefined ? { [NAME.reason]: resolution.reason } : {}),
    },
  };
}
