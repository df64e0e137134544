import type { Blob } from "@paddock/api/log/blobs";
import type { Bundle } from "@paddock/api/log/bundle";
import type { EventType, NewEvent } from "@paddock/api/log/events";
import type { SessionState } from "@paddock/api/log/state";
import type { ProblemType } from "@paddock/api/wire/problem";
import type { SharedBudget } from "../store/store.ts";

/** Whose append it is. A runner's pod is what TokenReview says, `newestPodUid` what the operator registered last. */
export type Appender =
  | { readonly role: "operator" }
  | { readonly role: "gateway" }
  | { readonly role: "person"; readonly username: string }
  | { readonly role: "runner"; readonly podUid: string; readonly epoch: number; readonly newestPodUid: string | undefined };

/** `final`: asking again cannot help. `wait`: it may once the log has moved. `detail` says what to do. */
export interface Refusal {
  readonly kind: "refuse";
  readonly problem: ProblemType;
  readonly refusal: "final" | "wait";
  readonly detail: string;
  /** The event that was refused, when it was one. */
  readonly type?: EventType;
  /** What the gateway appends in its own name, because it refused. */
  readonly instead?: NewEvent;
}

/** What becomes of an event: stored as `event`, or it is there already, by number or as the newest of its type, or refused. */
export type Admission =
  | {
      readonly kind: "accept";
      readonly event: NewEvent;
      /** The payload that `event` references. */
      readonly blob?: Blob;
      /** What the gateway appends right behind it, in the same commit. */
      readonly followed?: NewEvent;
    }
  | { readonly kind: "known"; readonly seq: number }
  | { readonly kind: "known"; readonly newest: EventType }
  | Refusal;

/** What a rule looks at. */
export interface Question {
  readonly state: SessionState;
  readonly bundle: Bundle;
  readonly who: Appender;
  readonly now: Date;
  /** The shared budget of the day that a request is charged to; there for model.requested. */
  readonly budget?: SharedBudget | undefined;
}

export function refuse(problem: ProblemType, refusal: Refusal["refusal"], detail: string): Refusal {
  return { kind: "refuse", problem, refusal, detail };
}
