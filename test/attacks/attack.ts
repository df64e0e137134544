import type { Stage } from "./stage.ts";

// What an attack is and how it is judged.

export const AREAS = ["network", "runner", "ingress", "proxy", "credentials", "deputy", "approvals", "gateway", "escape", "exhaustion", "harness", "text", "races"] as const;
export type Area = (typeof AREAS)[number];

/** How one try went. `how`: a few words for the line, e.g. "reached", "no answer", "403 HostNotAllowed". */
export interface Outcome {
  readonly succeeded: boolean;
  readonly how: string;
}

export interface Attack {
  readonly area: Area;
  /** For people, e.g. "metadata address from a sandbox". */
  readonly name: string;
  /** What not every cluster has: the sink, and the pods' processes on this machine. */
  readonly needs?: "the sink" | "the node";
  /** Against Paddock as it is: must not succeed. */
  attempt(stage: Stage): Promise<Outcome>;
  /** The same where the one control is off: must succeed, or the attempt proves nothing. */
  control(stage: Stage): Promise<Outcome>;
}

export type Verdict = "refused" | "SUCCEEDED" | "UNPROVEN" | "skipped";

export interface Judged {
  readonly attack: Attack;
  readonly verdict: Verdict;
  readonly attempt: string;
  readonly control: string;
  readonly controlled: boolean;
}

/** Refused only if the attempt failed and its control did not. Pure. */
export function judge(attack: Attack, attempt: Outcome, control: Outcome): Judged {
  const verdict = attempt.succeeded ? "SUCCEEDED" : control.succeeded ? "refused" : "UNPROVEN";
  return { attack, verdict, attempt: attempt.how, control: control.how, controlled: control.succeeded };
}

/** A try that ended in an error proves nothing, whichever it was. */
export function judgeError(attack: Attack, error: unknown): Judged {
  return { attack, verdict: "UNPROVEN", attempt: error instanceof Error ? error.message : String(error), control: "not known", controlled: false };
}

const oneLine = (text: string, most: number): string => text.replace(/[^ -~]+/g, " ").trim().slice(0, most);

/** `refused    network      metadata address from a sandbox          (control: reached)`. Pure. */
export function describeJudged({ attack, verdict, attempt, control }: Judged): string {
  const line = `${verdict.padEnd(10)} ${attack.area.padEnd(12)} ${attack.name.padEnd(64)} `;
  if (verdict === "skipped") return `${line}(${attempt})`;
  if (verdict === "refused") return `${line}(control: ${oneLine(control, 60)})`;
  return verdict === "SUCCEEDED" ? `${line}(${oneLine(attempt, 600)})` : `${line}(control did not succeed: ${oneLine(control, 600)}; attempt: ${oneLine(attempt, 600)})`;
}

/** What the whole came to, besides the attacks. */
export interface Aftermath {
  /** Arrivals at the sink from anybody but controls; undefined where there is no sink. */
  readonly strayArrivals: readonly string[] | undefined;
  /** Planted secrets found; undefined when nothing was scanned. */
  readonly findings: readonly string[] | undefined;
}

/** `70 attacks, 70 refused, 70 controls succeeded, sinks silent, canary scan clean`. Pure. */
export function describeSummary(all: readonly Judged[], { strayArrivals, findings }: Aftermath): string {
  const count = (...verdicts: readonly Verdict[]): number => all.filter(({ verdict }) => verdicts.includes(verdict)).length;
  const skipped = count("skipped");
  const controls = all.filter(({ controlled }) => controlled).length;
  return [
    `${all.length - skipped} attacks`, `${count("refused")} refused`, `${controls} controls succeeded`, ...(skipped > 0 ? [`${skipped} skipped`] : []),
    strayArrivals === undefined ? "no sink" : strayArrivals.length === 0 ? "sinks silent" : `SINKS SAW ${strayArrivals.length}`,
    findings === undefined ? "no canary scan" : findings.length === 0 ? "canary scan clean" : `CANARY SCAN FOUND ${findings.length}`,
  ].join(", ");
}

/** Whether every promise held. Pure. */
export function isGood(all: readonly Judged[], { strayArrivals, findings }: Aftermath): boolean {
  return all.length > 0 && all.every(({ verdict }) => verdict === "refused" || verdict === "skipped") && (strayArrivals?.length ?? 0) === 0 && (findings?.length ?? 0) === 0;
}
