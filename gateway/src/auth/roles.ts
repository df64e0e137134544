import { POD_SERVICE_ACCOUNT } from "@paddock/api/names";
import type { Identity } from "./review.ts";

/** What a caller is to the gateway. */
export type Caller =
  | { readonly role: "operator" }
  /** A pod of ours by its service account; whether it serves a session is the operator's registration. */
  | { readonly role: "runner"; readonly namespace: string; readonly podUid: string; readonly podName: string }
  | { readonly role: "person"; readonly identity: Identity };

const POD_USER = new RegExp(`^system:serviceaccount:([^:]+):${POD_SERVICE_ACCOUNT}$`);
const POD_NAME = "authentication.kubernetes.io/pod-name";
const POD_UID = "authentication.kubernetes.io/pod-uid";

/**
 * The caller's role. Operator and runner need a token for the gateway's audience, a runner one that is bound to its pod;
 * everybody else is a person with the rights Kubernetes gives them. Pure.
 */
export function decideCaller(identity: Identity, operatorUser: string): Caller {
  if (!identity.forGateway) return { role: "person", identity };
  if (identity.username === operatorUser) return { role: "operator" };
  const namespace = POD_USER.exec(identity.username)?.[1];
  const podUid = identity.extra[POD_UID]?.[0];
  const podName = identity.extra[POD_NAME]?.[0];
  if (namespace === undefined || podUid === undefined || podName === undefined) return { role: "person", identity };
  return { role: "runner", namespace, podUid, podName };
}
