import type { EnvironmentSpec } from "@paddock/api/environment";
import { LABELS, MANAGED_BY, POD_SERVICE_ACCOUNT, ownerReference, shorten, workspaceClaimName } from "@paddock/api/names";
import type { Session } from "@paddock/api/session";
import type { RecordView } from "@paddock/api/wire/records";
import { type Settings, isPropagable } from "../settings.ts";

/** What a session's pods are built from: its own bundle, so that the next pod is made like the first whatever was edited meanwhile. */
export interface PodParts {
  readonly session: Session;
  readonly bundle: RecordView["bundle"];
  /** When the session's time is over, RFC 3339; absent while it does not count. */
  readonly deadline?: string | undefined;
  readonly settings: Settings;
}

/** What the spec of a pod follows from, whoever the pod is for. */
export interface PodSpecParts {
  readonly environment: EnvironmentSpec;
  readonly settings: Settings;
  /** Name of the claim for the workspace, where the Environment keeps that. */
  readonly workspaceClaim: string;
  /** Seconds after which the kubelet ends the pod whatever else happens; at least 1. */
  readonly activeDeadlineSeconds: number;
}

/** The last net behind the session's deadline, which the gateway and the operator hold. Waiting for people does not count towards that, and pods stay for a while. */
const NET_SECONDS = 86_400;

/** The net of a Conversation, whose time begins anew with each message: the longest that a session's time can be. */
const CONVERSATION_SECONDS = 604_800;

/** Labels by which policies, people and the operator find the pod; the owner lets drain accept it and the garbage collector take it. */
export function buildPodMeta({ session, bundle, settings }: PodParts, component: "runner" | "sandbox", { name, isEvictable }: { readonly name: string; readonly isEvictable: boolean }) {
  const given = session.metadata.labels ?? {};
  const schedule = given[LABELS.schedule];
  return {
    name,
    namespace: session.metadata.namespace,
    labels: {
      ...propagated(given, settings.propagatedLabels),
      [LABELS.managedBy]: MANAGED_BY,
      [LABELS.component]: component,
      [LABELS.session]: shorten(session.metadata.name),
      [LABELS.sessionUid]: session.metadata.uid,
      [LABELS.agent]: shorten(session.spec.agentRef.name),
      [LABELS.environment]: shorten(bundle.environment.name),
      ...(schedule === undefined ? {} : { [LABELS.schedule]: schedule }),
    },
    annotations: { "cluster-autoscaler.kubernetes.io/safe-to-evict": String(isEvictable) },
    ownerReferences: [ownerReference(session)],
  };
}

/** The labels of people's choice that an administrator lets through to pods; absent ones are left out. */
function propagated(given: Readonly<Record<string, string>>, keys: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(keys.filter(isPropagable).flatMap((key) => (given[key] === undefined ? [] : [[key, given[key]]])));
}

/** A session's pods live a day longer than the session may. */
export function podSpecParts({ session, bundle, settings, deadline }: PodParts, now: Date): PodSpecParts {
  const left = deadline === undefined ? bundle.limits.timeoutSeconds : Math.max(0, Math.ceil((Date.parse(deadline) - now.getTime()) / 1000));
  const net = session.spec.mode === "Conversation" ? CONVERSATION_SECONDS : left + NET_SECONDS;
  return { environment: bundle.environment.spec, settings, workspaceClaim: workspaceClaimName(session.metadata.name), activeDeadlineSeconds: net };
}

/** Members of the spec that runner and sandbox share: an account without rights and without a token, no second life, and where the Environment puts them. */
export function buildSharedSpec({ environment: { imagePullSecrets = [], scheduling = {} }, activeDeadlineSeconds }: PodSpecParts) {
  const { nodeSelector, tolerations, priorityClassName } = scheduling;
  return {
    serviceAccountName: POD_SERVICE_ACCOUNT,
    ...(imagePullSecrets.length === 0 ? {} : { imagePullSecrets }),
    ...(nodeSelector === undefined ? {} : { nodeSelector }),
    ...(tolerations === undefined ? {} : { tolerations }),
    ...(priorityClassName === undefined ? {} : { priorityClassName }),
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    restartPolicy: "Never",
    activeDeadlineSeconds,
  };
}
