import type { Agent } from "@paddock/api/agent";
import type { Environment } from "@paddock/api/environment";
import { runnerPodName, sandboxPodName } from "@paddock/api/names";
import type { Session } from "@paddock/api/session";
import type { RecordView } from "@paddock/api/wire/records";
import type { Key, Read } from "../kernel/kind.ts";
import type { Settings } from "../settings.ts";
import { BY_SESSION_UID, BY_UID, type PodView, agents, environments, pods, records, sessions } from "../sources.ts";

/** What a decision about a Session reads. */
export interface SessionWorld {
  readonly self: Session;
  readonly settings: Settings;
  /** False until all of the gateway's records are known: before that a missing one proves nothing. */
  readonly isRecordsSynced: boolean;
  readonly record: RecordView | undefined;
  readonly agent: Agent | undefined;
  readonly environment: Environment | undefined;
  /** Pods that this Session owns. */
  readonly pods: readonly PodView[];
  /** Pods of others under the names that this Session's newest pods have. */
  readonly strangers: readonly PodView[];
}

export function observeSession(read: Read, key: Key, settings: Settings): SessionWorld | undefined {
  const self = read.get(sessions, key);
  if (self === undefined) return undefined;
  const { namespace } = key;
  const { uid } = self.metadata;
  const isOwned = ({ metadata }: PodView): boolean => metadata.namespace === namespace && (metadata.ownerReferences ?? []).some((owner) => owner.uid === uid);
  const [record] = read.list(records, BY_UID, uid);
  return {
    self,
    settings,
    isRecordsSynced: read.isSynced(records),
    record,
    agent: read.get(agents, { namespace, name: self.spec.agentRef.name }),
    environment: read.get(environments, { namespace, name: self.spec.environmentRef.name }),
    pods: read.list(pods, BY_SESSION_UID, uid).filter(isOwned),
    strangers: podNames(self, record).flatMap((name) => read.get(pods, { namespace, name }) ?? []).filter((pod) => !isOwned(pod)),
  };
}

function podNames({ metadata: { name }, status }: Session, record: RecordView | undefined): readonly string[] {
  const attempt = status?.runner?.attempts ?? 0;
  const sandbox = record?.sandbox.pending === true ? record.sandbox.requested : 0;
  return [...(attempt > 0 ? [runnerPodName(name, attempt)] : []), ...(sandbox > 0 ? [sandboxPodName(name, sandbox)] : [])];
}
