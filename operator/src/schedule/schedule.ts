import type { ScheduleStatus } from "@paddock/api/schedule";
import type { Kind } from "../kernel/kind.ts";
import { explainFault } from "./claim.ts";
import { decideSchedule } from "./decide.ts";
import { type ScheduleWorld, observeSchedule } from "./observe.ts";

/** A Schedule: creates its Sessions at their times, keeps some of the finished ones and tells when the next is due. */
export function scheduleKind(): Kind<ScheduleWorld, ScheduleStatus> {
  return { name: "Schedule", observe: observeSchedule, decide: decideSchedule, explain: explainFault };
}
