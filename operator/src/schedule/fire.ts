import type { NewEvent } from "@paddock/api/log/events";
import { ANNOTATIONS } from "@paddock/api/names";
import type { Schedule } from "@paddock/api/schedule";
import type { Session } from "@paddock/api/session";
import type { RecordView } from "@paddock/api/wire/records";
import type { Action } from "../kernel/kind.ts";
import { deleteSession, isFinished } from "./history.ts";
import { conversationName, generationOf, runName } from "./names.ts";
import type { Conversation, ScheduleWorld } from "./observe.ts";
import { accessOf, buildRun } from "./run.ts";

/**
 * What serving a time or a trigger takes.
 * - `fire`: the writes, in order; none when a session shows that it was served before.
 * - `wait`: not now; `reason` tells people what for.
 */
export type Firing = Fire | { readonly verb: "wait"; readonly reason: string };

export interface Fire {
  readonly verb: "fire";
  readonly actions: readonly Action[];
  /** Running sessions that the actions delete. */
  readonly replaced: number;
  /** What status is to tell of the conversation; absent when there is none. */
  readonly conversation?: Conversing;
  /** And when the log refuses the message because that conversation has ended. */
  readonly otherwise?: Conversing;
}

/** `conversation` of status, whole. */
interface Conversing {
  readonly name: string;
  readonly generation: number;
}

/** `key` names what is served: a UTC minute or a trigger. Pure. */
export function fire(world: ScheduleWorld, key: string): Firing {
  return world.self.spec.sessionMode === "Resume" ? resume(world, key) : fireNew(world, key);
}

/** The new session comes first and the one it replaces goes after it: a new one that is refused leaves the older one alone. */
function fireNew({ self, sessions }: ScheduleWorld, key: string): Firing {
  const name = runName(self, key);
  // A conversation from when the schedule resumed one waits for ever: it is no run that another one has to wait for.
  const running = sessions.filter((session) => isRunning(session) && session.metadata.name !== name && generationOf(self, session.metadata.name) === 0);
  const policy = self.spec.concurrencyPolicy ?? "Forbid";
  const served = sessions.find(({ metadata }) => metadata.name === name);
  const replaced = policy === "Replace" ? running.filter((session) => served === undefined || !isNewer(session, served)) : [];
  const ends = replaced.map(deleteSession);
  if (served !== undefined) return { verb: "fire", actions: ends, replaced: replaced.length };
  const [first] = running;
  if (policy === "Forbid" && first !== undefined) return { verb: "wait", reason: waitingFor(first) };
  return { verb: "fire", actions: [create(self, name, key), ...ends], replaced: replaced.length };
}

function isNewer({ metadata }: Session, than: Session): boolean {
  return Date.parse(metadata.creationTimestamp) > Date.parse(than.metadata.creationTimestamp);
}

/**
 * The message goes to the newest conversation, and creating one carries the first message. Whether a conversation that has ended has got it
 * is the log's to say, which knows the ids of all its inputs: it answers "known", or refuses, and then the next generation begins.
 */
function resume({ self, conversation }: ScheduleWorld, key: string): Firing {
  const told = self.status?.conversation?.generation ?? 1;
  // One that was deleted leaves its name to the next.
  if (conversation === undefined || conversation.generation < told) return begin(self, told, key);
  if (conversation.session.metadata.deletionTimestamp !== undefined) return begin(self, conversation.generation + 1, key);
  if (isCreatedFor(conversation.session, key)) return { verb: "fire", actions: [], conversation: nameOf(self, conversation.generation), replaced: 0 };
  const reason = obstacle(self, conversation);
  return reason === undefined ? send(self, conversation, key) : { verb: "wait", reason };
}

/** Why a conversation cannot take a message now. One that has ended is asked all the same. */
function obstacle({ spec }: Schedule, { session, record }: Conversation): string | undefined {
  if (isFinished(session)) return undefined;
  const { name, namespace } = session.metadata;
  if (record === undefined) return `Session ${name} is not bound yet: see kubectl describe session ${name} -n ${namespace}`;
  return isBusy(record) && (spec.concurrencyPolicy ?? "Forbid") === "Forbid" ? waitingFor(session) : undefined;
}

/** Until it has answered: an approval or a tool's result that it waits for is part of its work. */
function isBusy({ activity }: RecordView): boolean {
  return activity.kind === "Active" || (activity.kind === "Waiting" && activity.for !== "input");
}

function send(self: Schedule, { session, generation }: Conversation, key: string): Firing {
  const input: NewEvent = { type: "input.received", data: { id: `${self.metadata.uid}/${key}`, content: self.spec.sessionTemplate.spec.prompt ?? "" } };
  const access = accessOf(self);
  return {
    verb: "fire",
    actions: [{ verb: "append", uid: session.metadata.uid, events: [input], ...(access === undefined ? {} : { access }) }],
    replaced: 0,
    conversation: nameOf(self, generation),
    otherwise: nameOf(self, generation + 1),
  };
}

function nameOf(self: Schedule, generation: number): Conversing {
  return { name: conversationName(self, generation), generation };
}

function begin(self: Schedule, generation: number, key: string): Firing {
  const conversation = nameOf(self, generation);
  return { verb: "fire", actions: [create(self, conversation.name, key)], conversation, replaced: 0 };
}

function create(self: Schedule, name: string, key: string): Action {
  const access = accessOf(self);
  return { verb: "create", object: buildRun(self, name, key), ...(access === undefined ? {} : { access }) };
}

/** Whether a session shows that this was served: by its name, or as the first message of a conversation. */
export function hasServed({ self, sessions }: Pick<ScheduleWorld, "self" | "sessions">, key: string): boolean {
  const name = runName(self, key);
  return sessions.some((session) => session.metadata.name === name || isCreatedFor(session, key));
}

function isCreatedFor({ metadata }: Session, key: string): boolean {
  return metadata.annotations?.[ANNOTATIONS.scheduledAt] === key;
}

function isRunning(session: Session): boolean {
  return !isFinished(session) && session.metadata.deletionTimestamp === undefined;
}

function waitingFor({ metadata: { name } }: Session): string {
  return `Session ${name} still runs and spec.concurrencyPolicy is Forbid: the next run waits for its end, at most for spec.startingDeadlineSeconds. Use Allow to run both, or Replace to end the older one`;
}
