import type { Claim, ScheduleCondition, ScheduleReason } from "@paddock/api/conditions";
import { startOf } from "@paddock/api/cut";
import type { Condition } from "@paddock/api/object";
import type { Schedule, ScheduleStatus } from "@paddock/api/schedule";
import type { Fault } from "../kernel/kind.ts";
import type { ScheduleWorld } from "./observe.ts";

export type ScheduleClaim = Claim<ScheduleCondition, ScheduleReason>;

/** Valid and able to fire. Suspended counts as such: an application that rests a schedule is not broken. */
export function claimReady(reason: "Available" | "Suspended", message: string): readonly ScheduleClaim[] {
  return [{ type: "Ready", status: "True", reason, message }];
}

/** Something only people can cure. Stalled tells the same to tools that wait for an object to settle. */
export function claimStalled(reason: "InvalidSchedule" | "NeverFires" | "Forbidden" | "NameConflict" | "Invalid", message: string): readonly ScheduleClaim[] {
  const cut = startOf(message, 2048);
  return [
    { type: "Ready", status: "False", reason, message: cut },
    { type: "Stalled", status: "True", reason, message: cut },
  ];
}

const OF_A_RUN: readonly string[] = ["Forbidden", "NameConflict", "Invalid"] satisfies readonly ScheduleReason[];

/** What the newest attempt to fire came to, while it was a refusal and spec is the same: it holds until a run is accepted. */
export function keptRefusal({ status, metadata }: Schedule): readonly ScheduleClaim[] | undefined {
  const ready = conditionOf(status, "Ready");
  if (ready?.status !== "False" || !OF_A_RUN.includes(ready.reason) || ready.observedGeneration !== metadata.generation) return undefined;
  return claimStalled(ready.reason as "Forbidden", ready.message);
}

export function conditionOf(status: ScheduleStatus | undefined, type: ScheduleCondition): Condition | undefined {
  return status?.conditions?.find((condition) => condition.type === type);
}

/** What a failed action says to the Schedule's readers; nothing for what passes by itself. */
export function explainFault(_world: ScheduleWorld, { kind, message }: Fault): readonly ScheduleClaim[] {
  switch (kind) {
    case "access-denied":
    case "forbidden":
      return claimStalled("Forbidden", message);
    case "name-conflict":
      return claimStalled("NameConflict", message);
    case "invalid":
      return claimStalled("Invalid", `The API server refuses the Session that spec.sessionTemplate makes: ${message}`);
    default:
      return [];
  }
}
