import type { Duty } from "../kernel/bare.ts";
import type { Key, Read } from "../kernel/kind.ts";
import { LABELS } from "@paddock/api/names";
import { type PodView, pods, sessions } from "../sources.ts";

/** A pod whose Session is gone, as far as the caches show. */
export interface Stray {
  readonly pod: PodView;
  readonly session: Key;
  readonly uid: string;
}

/** Until a cache that was late has caught up, or the pod is gone. */
const AGAIN_MS = 2_000;
/** As of every runner that has to go at once. */
const RUNNER_GRACE_SECONDS = 5;

/**
 * Pods of a Session that was deleted go at once: the garbage collector takes them too, in its own time, and what it leaves to a finalizer or to a control
 * plane that is behind goes on working until then. A live read confirms first that the Session is gone.
 */
export function strays(read: Read): Duty<Stray> {
  return { observe: (key) => observeStray(read, key), decide: decideStray };
}

function observeStray(read: Read, key: Key): Stray | undefined {
  const pod = read.get(pods, key);
  const owner = pod?.metadata.ownerReferences?.find(({ kind, controller }) => kind === "Session" && controller === true);
  if (pod === undefined || owner === undefined) return undefined;
  const session = { namespace: key.namespace, name: owner.name };
  return read.get(sessions, session)?.metadata.uid === owner.uid ? undefined : { pod, session, uid: owner.uid };
}

/** Pure. */
export function decideStray({ pod, session, uid }: Stray): ReturnType<Duty<Stray>["decide"]> {
  const { namespace, name, uid: podUid, labels, deletionTimestamp } = pod.metadata;
  if (deletionTimestamp !== undefined) return { actions: [] };
  const grace = labels?.[LABELS.component] === "sandbox" ? {} : { graceSeconds: RUNNER_GRACE_SECONDS };
  return { actions: [{ verb: "delete", resource: "Pod", key: { namespace, name }, uid: podUid, ...grace, unless: { session, uid } }], requeueAfterMs: AGAIN_MS };
}
