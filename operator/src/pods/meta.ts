import type { EnvironmentSpec } from "@paddock/api/environment";
import { deadlineAt } from "@paddock/api/log/state";
import { LABELS, MANAGED_BY, ownerReference, shorten } from "@paddock/api/names";
import type { Session } from "@paddock/api/session";
import type { RecordView } from "@paddock/api/wire/records";
import type { Settings } from "../settings.ts";

/** What a session's pods are built from: its own bundle, so that the next pod is made like the first whatever was edited meanwhile. */
export interface PodParts {
  readonly session: Session;
  readonly bundle: RecordView["bundle"];
  readonly settings: Settings;
}

/** What the spec of a pod follows from, whoever the pod is for. */
export interface PodSpecParts {
  readonly environment: EnvironmentSpec;
  readonly settings: Settings;
  /** Seconds after which the kubelet ends the pod whatever else happens; at least 1. */
  readonly activeDeadlineSeconds: number;
}

/** The last net behind the session's deadline, which the gateway and the operator hold. */
const NET_SECONDS = 60;

/** Labels by which policies, people and the operator find the pod; the owner lets drain accept it and the garbage collector take it. */
export function buildPodMeta({ session, bundle }: PodParts, component: "runner" | "sandbox", { name, isEvictable }: { readonly name: string; readonly isEvictable: boolean }) {
  return {
    name,
    namespace: session.metadata.namespace,
    labels: {
      [LABELS.managedBy]: MANAGED_BY,
      [LABELS.component]: component,
      [LABELS.session]: shorten(session.metadata.name),
      [LABELS.sessionUid]: session.metadata.uid,
      [LABELS.agent]: shorten(session.spec.agentRef.name),
      [LABELS.environment]: shorten(bundle.environment.name),
    },
    annotations: { "cluster-autoscaler.kubernetes.io/safe-to-evict": String(isEvictable) },
    ownerReferences: [ownerReference(session)],
  };
}

/** A session's pods live a minute longer than the session may. */
export function podSpecParts({ bundle, settings }: PodParts, now: Date): PodSpecParts {
  const activeDeadlineSeconds = Math.max(1, Math.ceil((deadlineAt(bundle) - now.getTime()) / 1000) + NET_SECONDS);
  return { environment: bundle.environment.spec, settings, activeDeadlineSeconds };
}
