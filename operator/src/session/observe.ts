import type { Agent } from "@paddock/api/agent";
import { type Approval, isGenuine } from "@paddock/api/approval";
import type { Environment } from "@paddock/api/environment";
import { LABELS, runnerPodName, sandboxPodName, workspaceClaimName } from "@paddock/api/names";
import type { Session } from "@paddock/api/session";
import type { BudgetView, RecordView } from "@paddock/api/wire/records";
import type { Key, Read } from "../kernel/kind.ts";
import type { Settings } from "../settings.ts";
import { BY_SESSION_UID, BY_UID, type ClaimView, type PodView, agents, approvals, budgetKey, budgets, environments, pods, records, sessions, workspaceClaims } from "../sources.ts";
import { findObstacle } from "./binding.ts";
import { isFinished } from "./claim.ts";
import { type Queued, type Slots, standingOf } from "./slots.ts";

/** What a decision about a Session reads. */
export interface SessionWorld {
  readonly self: Session;
  readonly settings: Settings;
  /** False until all of the gateway's records are known: before that a missing one proves nothing. */
  readonly isRecordsSynced: boolean;
  readonly record: RecordView | undefined;
  readonly agent: Agent | undefined;
  readonly environment: Environment | undefined;
  /** The Environment's shared budget as the gateway has it; known once the records are. */
  readonly budget: BudgetView | undefined;
  /** Approvals of this Session that do not say yet how they ended. */
  readonly approvals: readonly Approval[];
  /** The session wants a slot of its Environment, lacks nothing else and has to wait for one. */
  readonly queued?: Queued | undefined;
  /** Pods of this Session: owned by it, labelled as its own and named as the operator names them. */
  readonly pods: readonly PodView[];
  /** What this Session's workspace is kept in, if it has that; somebody else's claim of that name is none. */
  readonly claim?: ClaimView | undefined;
  /** Other pods under the names that this Session's newest pods have. */
  readonly strangers: readonly PodView[];
}

/** What an observation needs besides the caches. */
export interface Surroundings {
  readonly settings: Settings;
  readonly slots: Slots;
}

export function observeSession(read: Read, key: Key, { settings, slots }: Surroundings): SessionWorld | undefined {
  const self = read.get(sessions, key);
  if (self === undefined) return undefined;
  const { namespace } = key;
  const [record] = read.list(records, BY_UID, self.metadata.uid);
  const environment = read.get(environments, { namespace, name: self.spec.environmentRef.name });
  const isOurs = (pod: PodView): boolean => isPodOf(self, pod);
  const world: SessionWorld = {
    self,
    settings,
    isRecordsSynced: read.isSynced(records),
    record,
    agent: read.get(agents, { namespace, name: self.spec.agentRef.name }),
    environment,
    budget: environment === undefined ? undefined : read.get(budgets, budgetKey(environment.metadata.uid)),
    approvals: read.list(approvals, BY_SESSION_UID, self.metadata.uid).filter(isGenuine),
    pods: read.list(pods, BY_SESSION_UID, self.metadata.uid).filter(isOurs),
    claim: observeClaim(self, read),
    strangers: podNames(self, record).flatMap((name) => read.get(pods, { namespace, name }) ?? []).filter((pod) => !isOurs(pod)),
  };
  return { ...world, queued: observeQueue(world, read, slots) };
}

function observeQueue(world: SessionWorld, read: Read, slots: Slots): Queued | undefined {
  const { self, record, environment, isRecordsSynced } = world;
  if (!isRecordsSynced || environment === undefined || isFinished(self) || standingOf(self, record) !== "Wants") return undefined;
  return findObstacle(world) === undefined ? slots.claim(read, self, environment) : undefined;
}

function observeClaim({ metadata: { name, namespace, uid } }: Session, read: Read): ClaimView | undefined {
  const claim = read.get(workspaceClaims, { namespace, name: workspaceClaimName(name) });
  return claim?.metadata.ownerReferences?.some((owner) => owner.uid === uid) === true ? claim : undefined;
}

const POD_NAMES: ReadonlyMap<string, (session: string, n: number) => string> = new Map([["runner", runnerPodName], ["sandbox", sandboxPodName]]);

/** A pod that merely names this Session as its owner is not taken for one of its pods. */
function isPodOf({ metadata: { name, namespace, uid } }: Session, { metadata }: PodView): boolean {
  const { labels = {}, ownerReferences = [] } = metadata;
  const isOwned = metadata.namespace === namespace && labels[LABELS.sessionUid] === uid && ownerReferences.some((owner) => owner.uid === uid);
  const nameOf = POD_NAMES.get(labels[LABELS.component] ?? "");
  const n = Number(/[1-9][0-9]*$/.exec(metadata.name)?.[0]);
  return isOwned && metadata.name === nameOf?.(name, n);
}

function podNames({ metadata: { name }, status }: Session, record: RecordView | undefined): readonly string[] {
  const attempt = status?.runner?.podName === undefined ? 0 : (status.runner.attempts ?? 0);
  const sandbox = record?.sandbox.pending === true ? record.sandbox.requested : 0;
  return [...(attempt > 0 ? [runnerPodName(name, attempt)] : []), ...(sandbox > 0 ? [sandboxPodName(name, sandbox)] : [])];
}
