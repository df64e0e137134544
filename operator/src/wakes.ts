import type { Key, Observed } from "./kernel/kind.ts";

// Which keys a change concerns: the usual answers, for the rules in kinds.ts.

export function keyOf({ metadata }: Observed): Key {
  return { namespace: metadata.namespace, name: metadata.name };
}

export function ownKey(value: Observed): readonly Key[] {
  return [keyOf(value)];
}

/** `<namespace>/<name>`: the value of indexes that follow a reference by name. */
export function nameOf({ metadata }: Observed): string {
  return `${metadata.namespace}/${metadata.name}`;
}

/** Owners of this kind. */
export function ownerKeys(kind: string): (value: Observed) => readonly Key[] {
  return ({ metadata }) => (metadata.ownerReferences ?? []).filter((owner) => owner.kind === kind).map(({ name }) => ({ namespace: metadata.namespace, name }));
}
