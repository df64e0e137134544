import { LABELS, MANAGED_BY, POD_SERVICE_ACCOUNT } from "@paddock/api/names";

/** The account of runner and sandbox pods: no rights, no token unless a pod asks for one. Without owner: every Environment of the namespace uses it. */
export function buildServiceAccount(namespace: string) {
  return {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name: POD_SERVICE_ACCOUNT, namespace, labels: { [LABELS.managedBy]: MANAGED_BY } },
    automountServiceAccountToken: false,
  };
}
