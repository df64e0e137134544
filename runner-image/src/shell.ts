import type { Logger } from "pino";
import { deadlineAt } from "@paddock/api/log/state";
import type { Assignment } from "@paddock/api/wire/runner";
import { delayMsOf } from "@paddock/api/backoff";
import { createAppend, Detached, Refused } from "./append.ts";
import { isEgressAllowed } from "./egress/gate.ts";
import { messageOf } from "./fault.ts";
import { followLog } from "./follow.ts";
import type { Gateway } from "./gateway.ts";
import { createIntake } from "./intake.ts";
import type { Intake } from "./intake.ts";
import { keyOf, next } from "./next.ts";
import type { Here, Step } from "./next.ts";
import { stopsOf } from "./next-end.ts";
import type { FinalRefusal, Stops } from "./next-end.ts";
import { createOutward, readText } from "./outward.ts";
import type { NetworkSettings, Outward } from "./outward.ts";
import { perform } from "./perform.ts";
import type { Effects } from "./perform.ts";
import type { Redactor } from "./redaction.ts";
import { createHands } from "./sandbox/hands.ts";
import type { LinkTimes } from "./sandbox/link.ts";
import { createPulse } from "./signal.ts";
import type { Pulse } from "./signal.ts";
import { createTranscript } from "./transcript.ts";
import type { Transcript } from "./transcript.ts";
import type { ModelLimits } from "./model/transport.ts";

/** The world that the shell works on. */
export interface ShellPorts {
  readonly gateway: Gateway;
  readonly podName: string;
  readonly podUid: string;
  readonly credentialFile: (name: string) => string;
  readonly sandboxPort: number;
  /** How long a sandbox may take to answer, and its pings; absent means the usual times. */
  readonly linkTimes?: LinkTimes;
  readonly network: NetworkSettings;
  readonly limits: ModelLimits;
  /** Of the process, which holds one session's secrets: its log has them replaced, too. */
  readonly redactor: Redactor;
  readonly logger: Logger;
  readonly now: () => number;
  /** 0 ≤ x < 1. */
  readonly random: () => number;
}

/** `finished`: the run is over. `fenced`: another runner has the session. `stopped`: `stop` was aborted. */
export type Ending = "finished" | "fenced" | "stopped";

/** How long calls may go on after a stop, and how long their results may then take to be recorded; together less than the pod's grace. */
const CALL_GRACE_MS = 6000;
const RECORD_GRACE_MS = 2000;

/**
 * A refusal for now is asked about again after this time, even when this log does not move: what others have reserved of a shared budget is
 * freed in theirs, and a clock goes on.
 */
const ASK_AGAIN = { firstMs: 1000, mostMs: 15_000 } as const;

/** Refusals of one step that cannot be, while the log stands as it was decided by, before they are believed. */
const MOST_DOUBTS = 3;

const LONGEST_TIMER_MS = 2 ** 31 - 1;

interface Session {
  readonly assignment: Assignment;
  readonly transcript: Transcript;
  readonly intake: Intake;
  readonly outward: Outward;
  readonly effects: Effects;
}

/** A step that the log refused for now: it is tried again when the log has moved, or after a while. */
interface Held {
  /** The newest event of the view that it was decided by. */
  readonly lastSeq: number;
  /** Refusals in a row while the log did not move. */
  readonly times: number;
  over: boolean;
}

interface Shell {
  readonly ports: ShellPorts;
  readonly pulse: Pulse;
  readonly underWay: Set<string>;
  /** By key. */
  readonly held: Map<string, Held>;
  /** Aborted when what is under way has to stop (stopsOf, or the process ends); what comes after gets new ones. */
  model: AbortController;
  calls: AbortController;
  /** Ends appends that get no answer, at the very end of a stop. */
  readonly detached: AbortController;
  /** Whether the gateway refuses to serve this pod. */
  isRefused: boolean;
  refusal: FinalRefusal | undefined;
  failure: Error | undefined;
  ending: Ending | undefined;
}

/**
 * Runs the session this pod is assigned to, from the log as it stands to its end: takes the next steps, performs them, waits for news.
 * Aborting `stop` ends it early: nothing new is started, what runs has a few seconds. Rejects only on a fault that a new runner may not
 * have; the log is whole in any case.
 */
export async function runRunner(ports: ShellPorts, stop: AbortSignal): Promise<Ending> {
  const shell: Shell = {
    ports,
    pulse: createPulse(),
    underWay: new Set(),
    held: new Map(),
    model: new AbortController(),
    calls: new AbortController(),
    detached: new AbortController(),
    isRefused: false,
    refusal: undefined,
    failure: undefined,
    ending: undefined,
  };
  const following = new AbortController();
  const endStop = onStop(shell, stop);
  let session: Session | undefined;
  const followed = followLog({
    gateway: ports.gateway,
    signal: following.signal,
    logger: ports.logger,
    random: ports.random,
    lastSeq: () => session?.transcript.view().state.lastSeq ?? 0,
    take: (events) => {
      // Nothing that leaves waits for payloads of events before it.
      if (events.some(({ type }) => type === "session.cancelled" || type === "run.finished")) session?.outward.gate.shut();
      session?.intake.take(events);
    },
    assigned: (assignment) => {
      session ??= tryOpening(shell, assignment, following.signal);
      shell.pulse.beat();
    },
    refused: (isRefused) => {
      shell.isRefused = isRefused;
      shell.pulse.beat();
    },
  }).catch((error: unknown) => {
    ports.logger.warn({ error: messageOf(error) }, "fenced: another runner goes on");
    shell.ending ??= "fenced";
    shell.pulse.beat();
  });
  try {
    const ending = await turnUntilEnd(shell, stop, () => session);
    if (ending === "stopped") await session?.outward.end();
    return ending;
  } finally {
    endStop();
    session?.outward.gate.shut();
    session?.outward.ledger.close();
    for (const controller of [shell.model, shell.calls, shell.detached, following]) controller.abort();
    session?.effects.hands.close();
    await followed;
  }
}

/** One beat of the loop per change: of the log, of a step under way, of the time. */
async function turnUntilEnd(shell: Shell, stop: AbortSignal, session: () => Session | undefined): Promise<Ending> {
  const alarm = createAlarm(shell);
  try {
    for (;;) {
      const now = session();
      if (now !== undefined) alarm.set(deadlineOf(now));
      if (now !== undefined) takeSteps(shell, now, stop.aborted);
      if (shell.failure !== undefined) throw shell.failure;
      if (shell.ending !== undefined) return shell.ending;
      if (stop.aborted && shell.underWay.size === 0) return "stopped";
      await shell.pulse.next();
    }
  } finally {
    alarm.set(undefined);
  }
}

/** What cannot be opened ends this process with its reason: the stream would only bring the same again. */
function tryOpening(shell: Shell, assignment: Assignment, signal: AbortSignal): Session | undefined {
  try {
    return openSession(shell, assignment, signal);
  } catch (error) {
    shell.failure ??= error instanceof Error ? error : new Error(String(error));
    return undefined;
  }
}

function openSession(shell: Shell, assignment: Assignment, signal: AbortSignal): Session {
  const { ports, pulse } = shell;
  const { podName, podUid, credentialFile, limits, redactor, random, now, gateway, network } = ports;
  const { bundle, epoch, lastBatch, bindKey } = assignment;
  const logger = ports.logger.child({ session: `${bundle.session.namespace}/${bundle.session.name}`, epoch });
  logger.info({ uid: bundle.session.uid, sinceStartMs: Math.round(performance.now()) }, "assigned");
  const transcript = createTranscript(bundle, pulse.beat);
  // The sandbox is told this key and could print it; it is of no use elsewhere, and does not belong into the log.
  redactor.add(bindKey);
  const onFault = (error: Error): void => {
    shell.failure ??= error;
    pulse.beat();
  };
  const intake = createIntake({ gateway: ports.gateway, transcript, logger, random: ports.random, signal, onFault });
  const append = createAppend({ gateway: ports.gateway, transcript, intake, redactor, logger, random: ports.random, signal: shell.detached.signal, epoch, lastBatch });
  const outward = createOutward({ assignment, network, gateway, credentialFile, redactor, append, logger, now, onChange: pulse.beat });
  const { probe, trust, serve } = outward;
  const onLinkClosed = (): void => {
    void outward.ledger.flush();
    pulse.beat();
  };
  const hands = createHands({ assignment, port: ports.sandboxPort, link: { ...ports.linkTimes, random, probe, trust, serve }, logger, onChange: onLinkClosed });
  const effects: Effects = {
    view: transcript.view,
    append,
    hands,
    runner: { epoch, podName, podUid },
    model: { view: transcript.view, append, credentials: { credentialFile, redactor }, authorities: () => readText(network.caBundleFile), deltas: { gateway: ports.gateway, redactor }, limits, logger, random },
    tools: { view: transcript.view, append, link: hands.link, refusals: outward.listen, now, logger },
    endEgress: outward.end,
    signals: () => ({ model: shell.model.signal, calls: shell.calls.signal }),
  };
  return { assignment, transcript, intake, outward, effects };
}

function takeSteps(shell: Shell, session: Session, stopping: boolean): void {
  const view = session.transcript.view();
  // Before the first event there is nothing to decide by.
  if (view.state.lastSeq === 0) return;
  const nowMs = shell.ports.now();
  setSignals(shell, stopsOf(view, nowMs), stopping);
  setGate(shell, session, { nowMs, stopping });
  const { hands } = session.effects;
  hands.keepOnly(view.state.sandbox.bound?.podUid);
  const held = hands.state();
  const here: Here = {
    epoch: session.assignment.epoch,
    nowMs,
    stopping,
    underWay: shell.underWay,
    ...(shell.refusal === undefined ? {} : { refusal: shell.refusal }),
    ...(held === undefined ? {} : { sandbox: held }),
  };
  for (const step of next(view, here)) {
    if (step.kind === "exit") shell.ending = step.why;
    else if (!isHeld(shell, keyOf(step), view.state.lastSeq)) launch(shell, session, step);
  }
}

function launch(shell: Shell, { effects }: Session, step: Exclude<Step, { kind: "exit" }>): void {
  const key = keyOf(step);
  const { lastSeq } = effects.view().state;
  shell.underWay.add(key);
  void perform(step, effects)
    .then(
      () => void shell.held.delete(key),
      (error: unknown) => onError(shell, error, { key, lastSeq }),
    )
    .finally(() => {
      shell.underWay.delete(key);
      shell.pulse.beat();
    });
}

interface Decided {
  readonly key: string;
  /** The newest event of the view that the step was decided by. */
  readonly lastSeq: number;
}

/** A refusal is an answer; anything else that a step did not handle ends this process, and the next runner goes on from the log. */
function onError(shell: Shell, error: unknown, decided: Decided): void {
  if (error instanceof Refused) onRefused(shell, error, decided);
  else if (error instanceof Detached) shell.ending ??= error.why;
  else shell.failure ??= error instanceof Error ? error : new Error(String(error));
}

function onRefused(shell: Shell, error: Refused, decided: Decided): void {
  const { problem, refusal, message } = error;
  shell.ports.logger.info({ step: decided.key, problem, refusal }, message);
  const isFinal = refusal === "final" && problem !== "stopped" && problem !== "finished";
  if (isFinal && isEnd(problem, decided.key)) {
    shell.refusal = { problem, detail: message, seq: decided.lastSeq };
    return;
  }
  const times = holdBack(shell, decided);
  // Whoever appends besides us may have been first, and the stream tells it in a moment: a person's result, an interrupt.
  if (isFinal && (!DOUBTFUL.has(problem) || times >= MOST_DOUBTS)) shell.failure ??= error;
}

const DOUBTFUL: ReadonlySet<Refused["problem"]> = new Set(["unexpected", "conflict", "stale", "paused"]);

/** Whether the run ends with this refusal. Only a model request is denied for all of it: it will never be affordable, or its price is not known. */
function isEnd(problem: Refused["problem"], key: string): problem is FinalRefusal["problem"] {
  return problem === "limit" || (key === "askModel" && (problem === "budget" || problem === "denied"));
}

function isHeld({ held }: Shell, key: string, lastSeq: number): boolean {
  const one = held.get(key);
  return one !== undefined && one.lastSeq === lastSeq && !one.over;
}

/** Until the log has moved, and not for ever. Returns how often in a row that was needed. */
function holdBack({ held, pulse, ports }: Shell, { key, lastSeq }: Decided): number {
  const before = held.get(key);
  const times = before?.lastSeq === lastSeq ? before.times + 1 : 1;
  const one: Held = { lastSeq, times, over: false };
  held.set(key, one);
  setTimeout(() => {
    one.over = true;
    pulse.beat();
  }, delayMsOf(ASK_AGAIN, times, ports.random)).unref();
  return times;
}

/** When the time of what is under way is over; undefined while none passes. */
function deadlineOf({ transcript }: Session): number | undefined {
  const { state } = transcript.view();
  if (state.lastSeq === 0 || state.waiting !== undefined) return undefined;
  const at = deadlineAt(state);
  return at === Infinity ? undefined : at;
}

/** Stops what is under way and has to; what comes after it begins with signals of its own. */
function setSignals(shell: Shell, stops: Stops, stopping: boolean): void {
  for (const kind of ["model", "calls"] as const) {
    if (stops[kind]) shell[kind].abort();
    else if (!stopping && shell[kind].signal.aborted) shell[kind] = new AbortController();
  }
}

/** Before anything else: what may not leave any more ends at once. */
function setGate({ ending, failure, isRefused, underWay }: Shell, { assignment, transcript, outward }: Session, { nowMs, stopping }: { readonly nowMs: number; readonly stopping: boolean }): void {
  const isEnding = stopping || isRefused || ending !== undefined || failure !== undefined;
  outward.gate.set(isEgressAllowed(transcript.view(), { nowMs, epoch: assignment.epoch, isEnding, isBehind: outward.ledger.isBehind(), underWay }));
}

interface Alarm {
  /** Beats at this time instead of the one before; undefined for never. */
  set(at: number | undefined): void;
}

/** Timers run by another clock and may be early: each beat before the time sets the next one. */
function createAlarm({ ports, pulse }: Shell): Alarm {
  let timer: NodeJS.Timeout | undefined;
  let timerAt: number | undefined;
  return {
    set(at) {
      if (at === timerAt) return;
      clearTimeout(timer);
      timerAt = undefined;
      const leftMs = at === undefined ? 0 : at - ports.now();
      if (leftMs <= 0) return;
      timerAt = at;
      const wake = (): void => {
        timerAt = undefined;
        pulse.beat();
      };
      timer = setTimeout(wake, Math.min(LONGEST_TIMER_MS, leftMs));
    },
  };
}

/** On a stop the model is not waited for; calls have their grace, and then their results. Returns how to take the listener back. */
function onStop(shell: Shell, stop: AbortSignal): () => void {
  const timers: NodeJS.Timeout[] = [];
  const begin = (): void => {
    shell.model.abort();
    timers.push(setTimeout(() => shell.calls.abort(), CALL_GRACE_MS), setTimeout(() => shell.detached.abort(), CALL_GRACE_MS + RECORD_GRACE_MS));
    shell.pulse.beat();
  };
  if (stop.aborted) begin();
  else stop.addEventListener("abort", begin, { once: true });
  return () => {
    stop.removeEventListener("abort", begin);
    for (const timer of timers) clearTimeout(timer);
  };
}
