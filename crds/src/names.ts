import { createHash } from "node:crypto";
import { GROUP } from "./group.ts";
import { ROOT_RUN } from "./log/limits.ts";
import type { OwnerReference } from "./object.ts";

/** Every label and annotation Paddock sets. The prefix is the operator's own: nobody else writes it. */
export const LABELS = {
  managedBy: "app.kubernetes.io/managed-by",
  component: `${GROUP}/component`,
  session: `${GROUP}/session`,
  sessionUid: `${GROUP}/session-uid`,
  agent: `${GROUP}/agent`,
  environment: `${GROUP}/environment`,
  schedule: `${GROUP}/schedule`,
} as const;

/** Annotations with a meaning of Paddock's. */
export const ANNOTATIONS = {
  /** User name of who created a Session, or last changed the spec of a Schedule: stamped by admission. */
  createdBy: `${GROUP}/created-by`,
  /** Groups of that user, with commas between them: stamped by admission. */
  createdByGroups: `${GROUP}/created-by-groups`,
  /** On a Schedule, by people: any new value makes it fire once now. */
  trigger: `${GROUP}/trigger`,
  /** On a Session that a Schedule made: what fired it, a UTC minute as yyyymmddhhmm or t and a digest of the trigger's value. */
  scheduledAt: `${GROUP}/scheduled-at`,
} as const;

/** Value of `app.kubernetes.io/managed-by` on every object we make. */
export const MANAGED_BY = "paddock";

export type Component = "runner" | "sandbox" | "policy";

/** Service account of runner and sandbox pods: no rights, made by the operator in each namespace with an Environment. */
export const POD_SERVICE_ACCOUNT = "paddock-pod";

/** The operator's own service account and Lease, in the release namespace. */
export const OPERATOR_NAME = "paddock-operator";

/** Audience of the tokens by which pods and operator prove themselves to the gateway. */
export const GATEWAY_AUDIENCE = "paddock-gateway";

/** ConfigMap in the release namespace where the gateway publishes its CA certificate, and the key in it. */
export const GATEWAY_CA = { configMap: "paddock-gateway-ca", key: "ca.crt" } as const;

/** The tool server's port in sandbox pods. */
export const SANDBOX_PORT = 8080;

/** Where a credential called NAME is a file in the runner pod. */
export function credentialPath(name: string): string {
  return `/run/paddock/credentials/${name}/value`;
}

/** Name of the credential that holds the API key of model NAME of an Environment. */
export function modelCredential(model: string): string {
  return `model-${model}`;
}

/** Name of the credential that holds the value of spec.credentials[NAME] of an Environment. */
export function egressCredential(name: string): string {
  return `egress-${name}`;
}
/** Where the authorities of an Environment's network.caBundle are a file in the runner pod. */
export const CA_BUNDLE_PATH = "/run/paddock/ca/ca.crt";
/** Where the tool server keeps the certificates that programs trust, in a volume of its own: the image's system store points there. */
export const SANDBOX_TRUST_DIRECTORY = "/run/paddock/trust";

/** Subject of the problem CredentialMissing that a runner reports, and by which an Environment finds its Secret again. */
export function credentialSubject({ name, key }: { readonly name: string; readonly key: string }): string {
  return `secret ${name}, key ${key}`;
}

/**
 * A name or label value of at most `max` characters: unchanged when it fits, else its start and a hash of the whole,
 * so that different long names stay different. Pure.
 */
export function shorten(value: string, max = 63): string {
  if (value.length <= max) return value;
  const hash = createHash("sha256").update(value).digest("hex").slice(0, 10);
  return `${value.slice(0, max - hash.length - 1).replace(/[^A-Za-z0-9]+$/, "")}-${hash}`;
}

/** The first `length` hexadecimal digits of a text's SHA-256, for names that follow from what they stand for. Pure. */
export function nameHash(text: string, length: number): string {
  return createHash("sha256").update(text).digest("hex").slice(0, length);
}

/** Pod name of a session's runner: `<session>-r<attempt>`, attempts count from 1. */
export function runnerPodName(session: string, attempt: number): string {
  return suffixed(session, `-r${attempt}`);
}

/** Pod name of a session's sandbox: `<session>-s<n>`, n counts from 1. */
export function sandboxPodName(session: string, n: number): string {
  return suffixed(session, `-s${n}`);
}

/** Name of the claim for a session's workspace where its Environment keeps it: `<session>-w`. */
export function workspaceClaimName(session: string): string {
  return suffixed(session, "-w");
}

/** Name of the Approval for a call `<run>/<turn>/<index>` of a session: `<session>-a<turn>-<index>`. */
export function approvalName(session: string, call: string): string {
  const [run = "", turn = "", index = ""] = call.split("/");
  const suffix = run === ROOT_RUN ? `-a${turn}-${index}` : `-a${turn}-${index}-${nameHash(run, 6)}`;
  return suffixed(session, suffix);
}

function suffixed(name: string, suffix: string): string {
  // 63: the pod's name becomes its host name, a DNS label. Session names may hold dots, which a label may not.
  return `${shorten(name.replaceAll(".", "-") === name ? name : `${name.replaceAll(".", "-")}-${dotHash(name)}`, 63 - suffix.length)}${suffix}`;
}

// "a.b" and "a-b" are two sessions: the one whose dots were replaced carries a hash of its true name.
function dotHash(name: string): string {
  return createHash("sha256").update(name).digest("hex").slice(0, 6);
}

/** Names of the static network policies of an Environment, and of the namespace's default-deny baseline. */
export const BASELINE_POLICY = "paddock-baseline";
export function environmentPolicyName(environment: string, component: "runner" | "sandbox"): string {
  return shorten(`paddock-${environment}-${component}`, 253);
}

/** The owner reference of a child: `controller` so that drain accepts its pods, no `blockOwnerDeletion` (it needs finalizer rights). */
export function ownerReference(owner: { apiVersion: string; kind: string; metadata: { name: string; uid: string } }): OwnerReference {
  return { apiVersion: owner.apiVersion, kind: owner.kind, name: owner.metadata.name, uid: owner.metadata.uid, controller: true };
}

/** Trace id of a session, 32 hex digits: derived from its UID, so that every process knows it without asking. */
export function traceIdOf(sessionUid: string): string {
  return createHash("sha256").update(`paddock trace ${sessionUid}`).digest("hex").slice(0, 32);
}
