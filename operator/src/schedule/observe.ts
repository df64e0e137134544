import type { Schedule } from "@paddock/api/schedule";
import type { Session } from "@paddock/api/session";
import type { RecordView } from "@paddock/api/wire/records";
import type { Key, Read } from "../kernel/kind.ts";
import { BY_SCHEDULE, BY_UID, records, schedules, sessions } from "../sources.ts";
import { generationOf } from "./names.ts";

/** The newest session of a Schedule's conversation and what the gateway shows of it. */
export interface Conversation {
  readonly session: Session;
  readonly generation: number;
  readonly record: RecordView | undefined;
}

/** What a decision about a Schedule reads. */
export interface ScheduleWorld {
  readonly self: Schedule;
  /** Sessions that this Schedule owns, by UID; those of others are none of its business. */
  readonly sessions: readonly Session[];
  readonly conversation: Conversation | undefined;
}

export function observeSchedule(read: Read, key: Key): ScheduleWorld | undefined {
  const self = read.get(schedules, key);
  if (self === undefined) return undefined;
  const owned = read.list(sessions, BY_SCHEDULE, self.metadata.uid).filter(({ metadata }) => metadata.namespace === key.namespace);
  return { self, sessions: owned, conversation: newestConversation(self, owned, read) };
}

function newestConversation(self: Schedule, owned: readonly Session[], read: Read): Conversation | undefined {
  const [newest] = owned
    .map((session) => ({ session, generation: generationOf(self, session.metadata.name) }))
    .filter(({ generation }) => generation > 0)
    .sort((a, b) => b.generation - a.generation);
  return newest === undefined ? undefined : { ...newest, record: read.list(records, BY_UID, newest.session.metadata.uid)[0] };
}

/** Schedules that a record concerns: those whose conversation it is. */
export function schedulesOfRecord({ namespace, name }: RecordView, read: Read): readonly Key[] {
  const owner = read.get(sessions, { namespace, name })?.metadata.ownerReferences?.find(({ kind, controller }) => kind === "Schedule" && controller === true);
  if (owner === undefined) return [];
  const key = { namespace, name: owner.name };
  return read.get(schedules, key)?.spec.sessionMode === "Resume" ? [key] : [];
}
