import type { Logger } from "pino";
import { sha256 } from "@paddock/api/log/canonical";
import type { NewEvent } from "@paddock/api/log/events";
import type { ModelEndpoint } from "@paddock/api/environment";
import { Refused } from "../append.ts";
import type { Append } from "../append.ts";
import { delayMsOf } from "@paddock/api/backoff";
import { buildInstructions } from "../context/instructions.ts";
import { buildMessages } from "../context/messages.ts";
import { turnOf } from "../context/turn.ts";
import type { Step } from "../next.ts";
import { redactShapes } from "../redaction.ts";
import { pause } from "../signal.ts";
import type { View } from "../transcript.ts";
import { completeOnce } from "./completion.ts";
import type { Answer } from "./answer.ts";
import { readCredential } from "./credential.ts";
import type { Credential, CredentialSource } from "./credential.ts";
import { createDeltaSender } from "./deltas.ts";
import type { DeltaPorts } from "./deltas.ts";
import { ModelFailure } from "./failure.ts";
import { askedOutputTokens, buildRequest, endpointOf } from "./request.ts";
import { retryDelayMs } from "./retry.ts";
import type { ModelLimits } from "./transport.ts";

export interface ModelPorts {
  view(): View;
  readonly append: Append;
  readonly credentials: CredentialSource;
  /** PEM of the Environment's own authorities as they are now; undefined when there are none. */
  readonly authorities: () => Promise<string | undefined>;
  readonly deltas: DeltaPorts;
  readonly limits: ModelLimits;
  readonly logger: Logger;
  readonly random: () => number;
}

type AskStep = Extract<Step, { kind: "askModel" }>;

const CREDENTIAL_POLL = { firstMs: 250, mostMs: 2000 } as const;
const MESSAGE_CHARS = 2000;

/**
 * Makes one attempt to get the next answer: waits out the delay and for the credential, asks the log, then the endpoint, and records
 * the answer or why there is none. Resolves without an event when `signal` aborts before the request; rejects with Refused when the log
 * does not take the request.
 */
export async function askModel(step: AskStep, ports: ModelPorts, signal: AbortSignal): Promise<void> {
  await pause(step.delaySeconds * 1000, signal);
  const endpoint = endpointOf(ports.view().bundle);
  const credential = await awaitCredential(endpoint, ports, signal);
  if (credential === undefined) return;
  const ca = await ports.authorities();
  const body = await requestAnswer(step, ports, endpoint.name);

  const deltas = createDeltaSender(ports.deltas, step);
  const apiKey = credential.kind === "key" ? credential.value : undefined;
  const startedAt = performance.now();
  try {
    const answer = await completeOnce({ baseURL: endpoint.baseURL, apiKey, ca, body, limits: ports.limits, signal, onText: deltas.push });
    await recordAnswer(answer, step, ports, (performance.now() - startedAt) / 1000);
    deltas.settle();
  } catch (error) {
    deltas.discard();
    if (!(error instanceof ModelFailure)) throw error;
    await recordFailure(error, { step, endpoint, apiKey }, ports);
  }
}

/**
 * Asks the log for the request and resolves with what to send: what was asked, with as many output tokens as were granted. The digest in the
 * log is that of the request as it was asked.
 */
async function requestAnswer({ turn, attempt }: AskStep, ports: ModelPorts, model: string): Promise<string> {
  const view = ports.view();
  const { bundle, events, state } = view;
  const messages = buildMessages(buildInstructions(bundle), events);
  const asked = askedOutputTokens(bundle);
  const body = buildRequest(bundle, messages, asked);
  const most = asked === undefined ? {} : { maxOutputTokens: asked };
  const data = { turn, attempt, model, requestDigest: sha256(body), through: state.lastSeq, inputTokens: inputTokensOf(view, body), ...most };
  const [requested] = await ports.append([{ type: "model.requested", data }]);
  const granted = requested?.type === "model.requested" ? (requested.data.grant?.outputTokens ?? asked) : asked;
  return granted === asked ? body : buildRequest(bundle, messages, granted);
}

/** What the endpoint counted last and came since; until it has counted once, at most a token for each byte. Pure. */
export function inputTokensOf({ state }: Pick<View, "state">, body: string): number {
  const hasCounted = state.totals.inputTokens > 0;
  return hasCounted && state.contextTokens !== undefined ? state.contextTokens : Buffer.byteLength(body);
}

/** The credential, once it is there; undefined when `signal` aborts first. A missing one is reported to the log once. */
async function awaitCredential(endpoint: ModelEndpoint, ports: ModelPorts, signal: AbortSignal): Promise<Exclude<Credential, { kind: "missing" }> | undefined> {
  for (let retry = 0; !signal.aborted; retry += 1) {
    const credential = await readCredential(endpoint, ports.credentials);
    if (credential.kind !== "missing") return credential;
    const { subject, message } = credential;
    if (retry === 0) ports.logger.warn({ subject }, message);
    if (!isReported(ports.view(), subject)) await ports.append([{ type: "runner.reported", data: { problem: "CredentialMissing", subject, message } }]);
    await pause(delayMsOf(CREDENTIAL_POLL, retry, ports.random), signal);
  }
  return undefined;
}

function isReported({ events }: View, subject: string): boolean {
  return turnOf(events).since.some((event) => event.type === "runner.reported" && event.data.subject === subject);
}

async function recordAnswer(answer: Answer, { turn, attempt }: AskStep, { append }: ModelPorts, seconds: number): Promise<void> {
  try {
    await append([{ type: "model.responded", data: { turn, attempt, ...answer, seconds } }]);
  } catch (error) {
    if (!(error instanceof Refused) || (error.problem !== "too-large" && error.problem !== "malformed")) throw error;
    throw new ModelFailure("invalid", `the answer cannot be recorded: ${error.message}`);
  }
}

interface FailedAttempt {
  readonly step: AskStep;
  readonly endpoint: ModelEndpoint;
  readonly apiKey: string | undefined;
}

async function recordFailure(failure: ModelFailure, attempt: FailedAttempt, ports: ModelPorts): Promise<void> {
  const { step, endpoint } = attempt;
  const delayMs = (await isReplacedKey(failure, attempt, ports)) ? 0 : retryDelayMs(failure, step.failures, ports.random);
  const message = clean(explain(failure, attempt, { view: ports.view(), final: delayMs === undefined }), ports);
  ports.logger[failure.class === "cancelled" ? "info" : "warn"]({ class: failure.class, status: failure.status, turn: step.turn, attempt: step.attempt, delayMs }, message);
  const failed: NewEvent = {
    type: "model.failed",
    data: {
      turn: step.turn,
      attempt: step.attempt,
      class: failure.class,
      message,
      ...(failure.status === undefined ? {} : { status: failure.status }),
      ...(delayMs === undefined ? {} : { delaySeconds: delayMs / 1000 }),
    },
  };
  const subject = `model ${endpoint.name} at ${endpoint.baseURL}`;
  const unreachable = failure.class === "network" && step.failures >= 1 && !isReported(ports.view(), subject);
  const reported: readonly NewEvent[] = unreachable ? [{ type: "runner.reported", data: { problem: "EndpointUnreachable", subject: subject.slice(0, 512), message } }] : [];
  await ports.append([failed, ...reported]);
}

/** A key refused while its file already holds another one was rotated in the meantime: that one is worth a try at once. */
async function isReplacedKey(failure: ModelFailure, { step, endpoint, apiKey }: FailedAttempt, { credentials }: ModelPorts): Promise<boolean> {
  if (failure.class !== "auth" || step.failures > 0) return false;
  const now = await readCredential(endpoint, credentials);
  return now.kind === "key" && now.value !== apiKey;
}

/** What happened, and what a person can do about it when it is not tried again. */
function explain({ message, class: failureClass }: ModelFailure, { step, endpoint }: FailedAttempt, { view, final }: { readonly view: View; readonly final: boolean }): string {
  if (!final || failureClass === "cancelled") return message;
  const entry = `spec.models[${endpoint.name}] of Environment ${view.bundle.environment.name}`;
  const tries = step.failures > 0 ? ` Given up after ${step.failures + 1} attempts.` : "";
  return `${message.replace(/\.?$/, ".")}${tries} ${adviceFor(failureClass, entry, endpoint)}`;
}

function adviceFor(failureClass: ModelFailure["class"], entry: string, { apiKey, model }: ModelEndpoint): string {
  switch (failureClass) {
    case "auth":
      if (apiKey === undefined) return `${entry} names no apiKey: add a secretKeyRef.`;
      return `Check key ${apiKey.secretKeyRef.key} of Secret ${apiKey.secretKeyRef.name}, named by apiKey in ${entry}, and its rights at the endpoint.`;
    case "overflow":
      return `The conversation is longer than the context of ${model}: give the session less to read, or name a model with a larger context in ${entry}.`;
    case "refused":
      return `Check model (${model}) and baseURL in ${entry}, and the Agent's model settings.`;
    case "rate_limited":
      return `Raise the quota behind the key of ${entry}, or run fewer sessions at once.`;
    default:
      return `Check baseURL in ${entry}, that its network allows the address, and that the endpoint is up.`;
  }
}

function clean(message: string, { credentials }: ModelPorts): string {
  return redactShapes(credentials.redactor.text(message)).slice(0, MESSAGE_CHARS);
}
