import type { RecordView } from "@paddock/api/wire/records";
import type { Action } from "../kernel/kind.ts";
import { buildWorkspaceClaim, workspaceOf } from "../pods/workspace.ts";
import type { PodView } from "../sources.ts";
import { leftMs } from "./deadline.ts";
import type { SessionWorld } from "./observe.ts";

/** A volume that is made for a pod comes within this time as a rule. */
const SLOW_BIND_MS = 10_000;

/** A claim on its way out can only be made anew when it is gone. */
const LEAVING_RETRY_MS = 2_000;

/** What a sandbox pod needs of its workspace: to be made before it, or to be waited for. */
export interface Workspace {
  readonly actions: readonly Action[];
  /** The claim is going away, and a pod that named it would wait for ever. */
  readonly leaving?: { readonly message: string; readonly retryMs: number };
}

/**
 * The claim for the workspace is made once, when the first sandbox is, and again should somebody have deleted it; never changed or deleted, it goes with its
 * Session. A pod waits for its existence only: many classes make the volume for the pod that uses it. Pure.
 */
export function decideWorkspace({ self, claim }: SessionWorld, { bundle }: RecordView): Workspace {
  if (!workspaceOf(bundle.environment.spec).isKept) return { actions: [] };
  if (claim === undefined) return { actions: [{ verb: "create", object: buildWorkspaceClaim(self, bundle.environment) }] };
  if (claim.metadata.deletionTimestamp === undefined) return { actions: [] };
  const { namespace, name } = claim.metadata;
  const message = `PersistentVolumeClaim ${namespace}/${name}, which holds the session's workspace, is being deleted: the session goes on with an empty workspace when it is gone (kubectl describe pvc ${name} -n ${namespace} says what keeps it)`;
  return { actions: [], leaving: { message, retryMs: LEAVING_RETRY_MS } };
}

/** Why a pod without a node waits for its workspace, and until when that is ordinary; undefined when it does not. */
export type WorkspaceTrouble = { readonly message: string; readonly leftMs?: undefined } | { readonly message?: undefined; readonly leftMs: number };

export function workspaceTroubleOf({ claim }: Pick<SessionWorld, "claim">, { bundle: { environment } }: RecordView, { pod, now }: { readonly pod: PodView; readonly now: Date }): WorkspaceTrouble | undefined {
  const { isKept, storageClassName } = workspaceOf(environment.spec);
  const phase = claim?.status.phase;
  if (!isKept || claim === undefined || phase === "Bound" || pod.spec.nodeName !== undefined) return undefined;
  const left = phase === "Lost" ? 0 : leftMs(Date.parse(pod.metadata.creationTimestamp), SLOW_BIND_MS, now);
  if (left > 0) return { leftMs: left };
  const { namespace, name } = claim.metadata;
  const fact = phase === "Lost" ? "has lost its volume" : `has no volume yet (${storageClassName === undefined ? "the cluster's default storage class" : `storage class ${storageClassName}`})`;
  const fix = `correct spec.sandbox.workspace.storageClassName of Environment ${environment.name} (kubectl get storageclasses shows what there is) and create the Session again`;
  return { message: `Pod ${pod.metadata.name} waits for its workspace: PersistentVolumeClaim ${namespace}/${name} ${fact}. kubectl describe pvc ${name} -n ${namespace} says why; ${fix}, or have the class's provisioner put right` };
}
