import { API_VERSION, GROUP } from "@paddock/api/group";
import { ANNOTATIONS, LABELS, MANAGED_BY, shorten } from "@paddock/api/names";
import type { OwnerReference } from "@paddock/api/object";
import type { Schedule } from "@paddock/api/schedule";
import type { SessionSpec } from "@paddock/api/session";
import type { AccessCheck, Manifest } from "../kernel/kind.ts";

/** A Session as a Schedule creates it. */
export interface RunManifest extends Manifest {
  readonly metadata: Manifest["metadata"] & { readonly annotations: Readonly<Record<string, string>> };
  readonly spec: SessionSpec;
}

/** The Session of a run; `key` says what fired it, a UTC minute or a trigger. Pure. */
export function buildRun(self: Schedule, name: string, key: string): RunManifest {
  const { metadata, spec: { sessionTemplate } } = self;
  const owner: OwnerReference = { apiVersion: API_VERSION, kind: "Schedule", name: metadata.name, uid: metadata.uid, controller: true };
  const creator = pick(metadata.annotations ?? {}, [ANNOTATIONS.createdBy, ANNOTATIONS.createdByGroups]);
  return {
    apiVersion: API_VERSION,
    kind: "Session",
    metadata: {
      name,
      namespace: metadata.namespace,
      labels: { ...sessionTemplate.metadata?.labels, [LABELS.managedBy]: MANAGED_BY, [LABELS.schedule]: shorten(metadata.name) },
      annotations: { ...sessionTemplate.metadata?.annotations, ...creator, [ANNOTATIONS.scheduledAt]: key },
      ownerReferences: [owner],
    },
    spec: sessionTemplate.spec,
  };
}

/**
 * Whether whoever changed the Schedule last may use its Environment, asked at each firing: rights can be taken away after the Schedule was
 * made. undefined for an unknown creator, whom admission has not stamped: accepted, as a Session without a creator is. Pure.
 */
export function accessOf({ metadata, spec }: Schedule): AccessCheck | undefined {
  const user = metadata.annotations?.[ANNOTATIONS.createdBy] ?? "";
  if (user === "") return undefined;
  const groups = (metadata.annotations?.[ANNOTATIONS.createdByGroups] ?? "").split(",").filter((group) => group !== "");
  return { user, groups, namespace: metadata.namespace, verb: "use", group: GROUP, resource: "environments", name: spec.sessionTemplate.spec.environmentRef.name };
}

function pick(from: Readonly<Record<string, string>>, keys: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(keys.flatMap((key) => (from[key] === undefined ? [] : [[key, from[key]]])));
}
