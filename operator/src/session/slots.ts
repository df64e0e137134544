import type { Environment } from "@paddock/api/environment";
import { ANNOTATIONS } from "@paddock/api/names";
import type { Session } from "@paddock/api/session";
import type { RecordView } from "@paddock/api/wire/records";
import type { Key, Read } from "../kernel/kind.ts";
import { BY_ENVIRONMENT_LIVE, BY_ENVIRONMENT_OPEN, BY_UID, agents, environments, records, sessions } from "../sources.ts";
import { conditionOf, isFinished } from "./claim.ts";
import { findAgentFault } from "./ground.ts";
import { type Contender, admitted, orderFairly } from "./queue.ts";

/** A session that has to wait for a slot of its Environment. */
export interface Queued {
  readonly limit: number;
  /** Where it stands, from 1, among how many; absent when it has told so already, or when the line is too long to be gone through for each one in it. */
  readonly turn?: { readonly place: number; readonly count: number };
}

/**
 * Where a session stands towards the slots of its Environment:
 *
 *   Wants ──bind──▶ Holds ──waits or suspended, pods given up──▶ Aside ──goes on──▶ Wants
 *
 * and Aside for good once its record has finished. Its pods may still be ending then: a slot is a session's, not a pod's.
 */
export type Standing = "Wants" | "Holds" | "Aside";

export function standingOf(self: Session, record: RecordView | undefined): Standing {
  const wants = isOut(self) ? "Aside" : "Wants";
  // Bound and without a record: its log is lost while its pods may run, and nothing tells before the session has ended.
  if (record === undefined) return self.status?.startTime === undefined ? wants : "Holds";
  if (record.activity.kind === "Finished") return "Aside";
  if (!isReleased(self.status)) return "Holds";
  return record.activity.kind === "Waiting" || record.cancelled || record.suspended ? "Aside" : wants;
}

/** It is leaving, or would begin nothing. */
function isOut({ spec, metadata }: Session): boolean {
  return spec.cancel === true || spec.suspend === true || metadata.deletionTimestamp !== undefined;
}

/** Status says that the session has given up its runner: one that waits or is suspended, or has just been woken. */
export function isReleased(status: Session["status"]): boolean {
  return status?.runner !== undefined && status.runner.podName === undefined;
}

/**
 * Who was let in, until the caches show it. A ranking alone is not enough: between a session's binding and its record in the cache a newcomer may
 * get ahead of it and be let in too. With this memory one operator never exceeds a limit; a restarted one begins with complete caches.
 */
export interface Slots {
  /** Takes a slot for `self`, which wants one and lacks nothing else; undefined when it has got one or there is no limit. */
  claim(read: Read, self: Session, environment: Environment): Queued | undefined;
  /** Its bind was refused for certain: nothing is stored. A bind without an answer may be, and keeps the slot. */
  release(self: Session): void;
}

export function createSlots(): Slots {
  const grants = new Map<string, Set<string>>();
  return {
    release: ({ metadata, spec }) => void grants.get(`${metadata.namespace}/${spec.environmentRef.name}`)?.delete(metadata.uid),
    claim: (read, self, environment) => {
      const { namespace, name } = environment.metadata;
      const key = `${namespace}/${name}`;
      const limit = environment.spec.budget?.maxConcurrentSessions;
      if (limit === undefined) return void grants.delete(key);
      const { uid } = self.metadata;
      if (grants.get(key)?.has(uid) !== true && isFull(read, { namespace, name }, limit) && isPatient(read, self, key)) return { limit };
      const { holders, contenders } = lineUp(read, { namespace, name });
      const isGranted = (contender: Contender): boolean => grants.get(key)?.has(contender.uid) === true;
      const granted = contenders.filter(isGranted);
      const rest = { limit, holders: [...holders, ...granted.map(({ creator }) => creator)], contenders: contenders.filter((contender) => !isGranted(contender)) };
      const isAdmitted = [...granted, ...admitted(rest)].some((contender) => contender.uid === uid);
      grants.set(key, new Set([...granted.map((contender) => contender.uid), ...(isAdmitted ? [uid] : [])]));
      if (isAdmitted) return undefined;
      return { limit, turn: { place: orderFairly(rest).findIndex((contender) => contender.uid === uid) + 1, count: rest.contenders.length } };
    },
  };
}

/** Keys of the sessions that could be let in now: whoever gives up a slot of the Environment wakes them and nobody else. */
export function nextInLine(read: Read, key: Key): readonly Key[] {
  const limit = read.get(environments, key)?.spec.budget?.maxConcurrentSessions;
  if (limit === undefined || !read.isSynced(records) || isFull(read, key, limit)) return [];
  return admitted({ limit, ...lineUp(read, key) }).map(({ name }) => ({ namespace: key.namespace, name }));
}

/** Keys to wake when this Session, or its older version, has given up a slot or left the line. Who joins it or holds a slot lets nobody else in. */
export function nextAfterSession(self: Session, read: Read): readonly Key[] {
  const { namespace, name, uid } = self.metadata;
  const isThere = read.get(sessions, { namespace, name })?.metadata.uid === uid && !isFinished(self) && !isHindered(self);
  const isIn = isThere && standingOf(self, read.list(records, BY_UID, uid)[0]) !== "Aside";
  return isIn ? [] : nextInLine(read, { namespace, name: self.spec.environmentRef.name });
}

/** Keys to wake when the record of a session has ended or waits. */
export function nextAfterRecord({ activity, namespace, bundle }: RecordView, read: Read): readonly Key[] {
  return activity.kind === "Finished" ? nextInLine(read, { namespace, name: bundle.environment.name }) : [];
}

/**
 * Whether all slots are held for sure, by what is bound alone. A session is looked at once a minute while it waits, and whenever it or its Environment
 * changes: going through the whole line each time would be too much from some thousand on. False proves nothing.
 */
function isFull(read: Read, { namespace, name }: Key, limit: number): boolean {
  const holders = read.list(records, BY_ENVIRONMENT_OPEN, `${namespace}/${name}`).filter((record) => {
    const self = read.get(sessions, { namespace, name: record.name });
    return self?.metadata.uid === record.uid && !isFinished(self) && standingOf(self, record) === "Holds";
  });
  return holders.length >= limit;
}

/** A line as long as this is not ranked for each one who joins it. */
const RANKED_AT_MOST = 500;

function isPatient(read: Read, self: Session, environment: string): boolean {
  return conditionOf(self, "Succeeded")?.reason === "Queued" || read.list(sessions, BY_ENVIRONMENT_LIVE, environment).length > RANKED_AT_MOST;
}

type NamedContender = Contender & { readonly name: string };

function lineUp(read: Read, { namespace, name }: Key): { readonly holders: readonly string[]; readonly contenders: readonly NamedContender[] } {
  const environment = read.get(environments, { namespace, name });
  const holders: string[] = [];
  const contenders: NamedContender[] = [];
  for (const session of read.list(sessions, BY_ENVIRONMENT_LIVE, `${namespace}/${name}`)) {
    const [record] = read.list(records, BY_UID, session.metadata.uid);
    const standing = isFinished(session) ? "Aside" : standingOf(session, record);
    if (standing === "Holds") holders.push(creatorOf(session));
    // Who waits for something else than a slot keeps nobody from one.
    if (standing === "Wants" && (record !== undefined || canRun(read, session, environment))) contenders.push(contenderOf(session, record));
  }
  return { holders, contenders };
}

function canRun(read: Read, self: Session, environment: Environment | undefined): boolean {
  const agent = read.get(agents, { namespace: self.metadata.namespace, name: self.spec.agentRef.name });
  return agent !== undefined && environment !== undefined && findAgentFault({ self, agent, environment }) === undefined;
}

function contenderOf(session: Session, record: RecordView | undefined): NamedContender {
  const { uid, name, creationTimestamp } = session.metadata;
  return { uid, name, creator: creatorOf(session), createdAt: creationTimestamp, isHindered: record === undefined && isHindered(session) };
}

function isHindered(self: Session): boolean {
  return HINDRANCES.has(conditionOf(self, "Succeeded")?.reason ?? "");
}

/** What a binding that was tried in vain has told. */
const HINDRANCES: ReadonlySet<string> = new Set(["ConfigMapNotFound", "Invalid"]);

function creatorOf({ metadata }: Session): string {
  return metadata.annotations?.[ANNOTATIONS.createdBy] ?? "";
}
