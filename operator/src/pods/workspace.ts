import type { EnvironmentSpec } from "@paddock/api/environment";
import { LABELS, MANAGED_BY, ownerReference, shorten, workspaceClaimName } from "@paddock/api/names";
import type { Session } from "@paddock/api/session";

const SIZE = "1Gi";

/** How much a session's commands may store in their directory, and whether that is a volume that outlives their pod. Pure. */
export function workspaceOf({ sandbox }: Pick<EnvironmentSpec, "sandbox">): { readonly size: string; readonly isKept: boolean; readonly storageClassName?: string | undefined } {
  const { size = SIZE, persistence, storageClassName } = sandbox?.workspace ?? {};
  return { size: String(size), isKept: persistence === "Session", storageClassName };
}

/** What a session's workspace is kept in: one pod at a time has it, and it goes when the Session goes. Pure. */
export function buildWorkspaceClaim(session: Session, environment: { readonly name: string; readonly spec: EnvironmentSpec }) {
  const { metadata, spec } = session;
  const { size, storageClassName } = workspaceOf(environment.spec);
  return {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: {
      name: workspaceClaimName(metadata.name),
      namespace: metadata.namespace,
      labels: {
        [LABELS.managedBy]: MANAGED_BY,
        [LABELS.session]: shorten(metadata.name),
        [LABELS.sessionUid]: metadata.uid,
        [LABELS.agent]: shorten(spec.agentRef.name),
        [LABELS.environment]: shorten(environment.name),
      },
      ownerReferences: [ownerReference(session)],
    },
    spec: {
      accessModes: ["ReadWriteOnce"],
      ...(storageClassName === undefined ? {} : { storageClassName }),
      resources: { requests: { storage: size } },
    },
  };
}
