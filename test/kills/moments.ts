import type { LogEvent, NewEvent } from "@paddock/api/log/events";
import type { Component } from "./kubelet.ts";

/** What is killed. Runners and sandboxes are a session's own. */
export type Victim = Component | "operator" | "gateway";

/**
 * When. `event`: it is seen on the log's stream. `before`, `after`: the runner is about to append it, or has had the answer and done nothing since. `asked`:
 * the model has the request of that step and has not answered. `effect`: a command has left its mark and still runs. `decided`: a person's decision on the
 * call is at the API server. `made`: the pod is at the API server (`r1`, `s2`, …). `time`: so many milliseconds after the session was made.
 */
export type Moment =
  | { readonly kind: "event" | "before" | "after"; readonly key: string }
  | { readonly kind: "asked"; readonly step: number }
  | { readonly kind: "effect"; readonly mark: string }
  | { readonly kind: "decided"; readonly call: string }
  | { readonly kind: "made"; readonly pod: string }
  | { readonly kind: "time"; readonly ms: number };

export interface Kill {
  readonly victim: Victim;
  readonly moment: Moment;
}

export function describeKill({ victim, moment }: Kill): string {
  return `${victim} at ${moment.kind} ${Object.entries(moment).flatMap(([name, value]) => (name === "kind" ? [] : [String(value)])).join()}`;
}

/** What tells an event of the story from the others of its type. */
function subjectOf({ type, data }: Pick<NewEvent, "type" | "data">): string {
  const { call, turn, attempt, for: waitsFor } = data as { call?: string; turn?: number; attempt?: number; for?: string };
  const which = [call, turn, waitsFor].find((part) => part !== undefined);
  return [type, ...(which === undefined ? [] : [which]), ...(attempt === undefined ? [] : [`(${attempt})`])].join(" ");
}

/** Names events of one session, in the order of its log: the n-th of the same subject has `~n`. */
export function createNaming(): { name(event: Pick<NewEvent, "type" | "data">): string; /** The name it will have, if it comes next. */ next(event: Pick<NewEvent, "type" | "data">): string } {
  const counts = new Map<string, number>();
  const nameAs = (subject: string, n: number): string => (n === 1 ? subject : `${subject} ~${n}`);
  return {
    name: (event) => {
      const subject = subjectOf(event);
      const n = (counts.get(subject) ?? 0) + 1;
      counts.set(subject, n);
      return nameAs(subject, n);
    },
    next: (event) => {
      const subject = subjectOf(event);
      return nameAs(subject, (counts.get(subject) ?? 0) + 1);
    },
  };
}

/** What an undisturbed run shows, from which kills are planned. */
export interface Baseline {
  readonly log: readonly LogEvent[];
  /** Steps that the model was asked for. */
  readonly steps: readonly number[];
  readonly marks: readonly string[];
  /** Calls that a person decided on. */
  readonly decided: readonly string[];
  /** Pods by their suffix. */
  readonly pods: readonly string[];
  readonly milliseconds: number;
}

/** Every boundary of the baseline for one victim. Pure. */
export function planKills(baseline: Baseline, victim: Victim): readonly Kill[] {
  const naming = createNaming();
  const named = baseline.log.map((event) => ({ event, key: naming.name(event) }));
  const isHeld = isSandboxHeld(baseline.log);
  const wanted = named.filter((_, index) => victim !== "sandbox" || isHeld[index] === true);
  const moments: Moment[] = wanted.flatMap(({ event, key }): Moment[] => {
    const isRunners = event.role === "runner";
    if (victim === "operator") return [{ kind: "event", key }];
    if (victim === "sandbox") return [{ kind: "event", key }, ...(event.type === "tool.finished" && isRunners ? [{ kind: "before", key } as const] : [])];
    if (victim === "runner") return isRunners ? [{ kind: "before", key }, { kind: "after", key }] : [{ kind: "event", key }];
    return [{ kind: "event", key }, ...(isRunners ? [{ kind: "before", key } as const] : [])];
  });
  return [...moments, ...besides(baseline, victim)].map((moment) => ({ victim, moment }));
}

/** Moments between an effect and its event. */
function besides({ steps, marks, decided, pods }: Baseline, victim: Victim): readonly Moment[] {
  const effects = marks.map((mark): Moment => ({ kind: "effect", mark }));
  const asked = steps.map((step): Moment => ({ kind: "asked", step }));
  const decisions = decided.map((call): Moment => ({ kind: "decided", call }));
  const made = pods.map((pod): Moment => ({ kind: "made", pod }));
  switch (victim) {
    case "runner":
      return [...asked, ...effects];
    case "sandbox":
      return effects;
    case "operator":
      return [...decisions, ...made];
    case "gateway":
      return [...asked, ...effects, ...decisions, ...made];
  }
}

/** After which events a sandbox is bound, or a pod for it is on its way. */
function isSandboxHeld(log: readonly LogEvent[]): readonly boolean[] {
  let held = false;
  return log.map(({ type }) => {
    if (type === "sandbox.bound") held = true;
    if (type === "sandbox.lost" || type === "run.waiting" || type === "run.finished") held = false;
    return held;
  });
}

/** Numbers in [0, 1) by a seed; mulberry32, public domain. */
export function randomBy(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const VICTIMS: readonly Victim[] = ["runner", "sandbox", "operator", "gateway"];

/** Of the baseline's length: with everything warm a session takes less, and a kill after its end is none. */
const STRUCK_SHARE = 0.75;

/** Kills of anything at any time, the same for the same seed and length. Pure. */
export function planRandom({ milliseconds }: Pick<Baseline, "milliseconds">, { count, seed }: { readonly count: number; readonly seed: number }): readonly Kill[] {
  const random = randomBy(seed);
  return Array.from({ length: count }, () => {
    const victim = VICTIMS[Math.floor(random() * VICTIMS.length)] ?? "runner";
    return { victim, moment: { kind: "time", ms: Math.floor(random() * milliseconds * STRUCK_SHARE) } };
  });
}
