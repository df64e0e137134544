import { nameHash, shorten } from "@paddock/api/names";
import type { Schedule } from "@paddock/api/schedule";

// Names that follow from the Schedule's UID and what fires it: two controllers, or one before and after a crash, make the same one.

/** UTC minute as yyyymmddhhmm. */
export function minuteKey(tick: number): string {
  return new Date(tick).toISOString().slice(0, 16).replace(/[-T:]/g, "");
}

/** Of a value of the annotation paddock.dev/trigger. */
export function triggerKey(value: string): string {
  return `t${nameHash(value, 10)}`;
}

/** Session of one run. */
export function runName(self: Schedule, key: string): string {
  return named(self, key);
}

/** Session of a Schedule's conversation; generations count from 1. */
export function conversationName(self: Schedule, generation: number): string {
  return named(self, `g${generation}`);
}

/** Which generation of the conversation has this name; 0 when it is another session. */
export function generationOf(self: Schedule, name: string): number {
  const generation = Number(/-g([1-9][0-9]{0,8})$/.exec(name)?.[1] ?? 0);
  return generation > 0 && conversationName(self, generation) === name ? generation : 0;
}

// 63 characters, because the name becomes a label and part of pods' names.
function named({ metadata: { name, uid } }: Schedule, last: string): string {
  const suffix = `-${nameHash(uid, 8)}-${last}`;
  return `${shorten(name, 63 - suffix.length)}${suffix}`;
}
