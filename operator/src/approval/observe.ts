import type { Approval } from "@paddock/api/approval";
import { ANNOTATIONS } from "@paddock/api/names";
import type { RecordView } from "@paddock/api/wire/records";
import type { Key, Read } from "../kernel/kind.ts";
import { ADMISSION_KEY, type AdmissionView, BY_UID, admission, approvals, records, sessions } from "../sources.ts";

/** What a decision about an Approval reads. */
export interface ApprovalWorld {
  readonly self: Approval;
  /** False until all of the gateway's records are known: before that a missing one proves nothing. */
  readonly isRecordsSynced: boolean;
  readonly record: RecordView | undefined;
  /** Who created the Session; absent when nobody knows. */
  readonly creator: string | undefined;
  /** undefined until it was looked at. */
  readonly admission: AdmissionView | undefined;
}

export function observeApproval(read: Read, key: Key): ApprovalWorld | undefined {
  const self = read.get(approvals, key);
  if (self === undefined) return undefined;
  const { name, uid } = self.spec.sessionRef;
  const session = read.get(sessions, { namespace: key.namespace, name });
  const [record] = read.list(records, BY_UID, uid);
  return {
    self,
    isRecordsSynced: read.isSynced(records),
    record,
    creator: session?.metadata.uid === uid ? session.metadata.annotations?.[ANNOTATIONS.createdBy] : undefined,
    admission: read.get(admission, ADMISSION_KEY),
  };
}
