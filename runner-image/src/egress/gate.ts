import { deadlineAt } from "@paddock/api/log/state";
import type { View } from "../transcript.ts";
import type { EgressGate } from "./policy.ts";

/** The gate with the hand that moves it. */
export interface MovableGate extends EgressGate {
  /** Opens or closes; closing ends everything under way at once. */
  set(open: boolean): void;
  /** Closes for the life of this process. */
  shut(): void;
}

/** Closed at first. */
export function createGate(): MovableGate {
  let controller = new AbortController();
  controller.abort();
  let isShut = false;
  const set = (open: boolean): void => {
    if (!open) controller.abort();
    else if (!isShut && controller.signal.aborted) controller = new AbortController();
  };
  return {
    isOpen: () => !controller.signal.aborted,
    signal: () => controller.signal,
    set,
    shut() {
      isShut = true;
      set(false);
    },
  };
}

/** What this process knows and the log does not. */
export interface GateFacts {
  readonly nowMs: number;
  /** The epoch this process has. */
  readonly epoch: number;
  /** The process has been asked to end, or may write no more. */
  readonly isEnding: boolean;
  /** What was decided could not be told to the log for too long. */
  readonly isBehind: boolean;
  /** Keys of the steps that are being done. */
  readonly underWay: ReadonlySet<string>;
}

/**
 * Whether anything may leave the sandbox as the log stands. Not when the session is cancelled, past its deadline, over or another runner's; not while
 * it is suspended and no call runs; not while what would be decided cannot be recorded. An interrupt ends calls and with them their processes; what earlier
 * calls left running may go on, as it may between two calls and while the session waits for people. Pure.
 *
 * A gateway that cannot be reached closes the gate after five minutes in which something was decided: nothing new is started
 * meanwhile, but nobody could tell this process of a cancellation either, and the operator's deletion of the pods does not need the gateway.
 */
export function isEgressAllowed({ state }: Pick<View, "state">, { nowMs, epoch, isEnding, isBehind, underWay }: GateFacts): boolean {
  if (isEnding || isBehind || underWay.has("finish")) return false;
  if (state.cancelled || state.finished !== undefined || state.epoch !== epoch) return false;
  if (state.waiting === undefined && nowMs >= deadlineAt(state)) return false;
  return state.suspended !== true || state.calls.some(({ call, attempts, finished }) => finished === undefined && attempts > 0 && underWay.has(call));
}
