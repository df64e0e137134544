import type { EnvironmentSpec } from "@paddock/api/environment";
import { credentialSubject } from "@paddock/api/names";
import type { RecordView } from "@paddock/api/wire/records";
import type { Obstacle } from "./claim.ts";

/**
 * The first Secret that a runner misses and the spec still names; nothing of ours but a runner may look. `waiting`: records of sessions of the Environment
 * whose runner reports it. Names each Secret in the order of the spec, so that the message stands still while sessions come and go. Pure.
 */
export function findMissingSecret({ models, credentials = [] }: EnvironmentSpec, namespace: string, waiting: readonly RecordView[]): Obstacle | undefined {
  const subjects = new Set(waiting.map(({ problem }) => problem?.subject));
  const named = [
    ...models.flatMap(({ name, apiKey }) => (apiKey === undefined ? [] : [{ field: `spec.models[${name}].apiKey`, ref: apiKey.secretKeyRef }])),
    ...credentials.map(({ name, secretKeyRef }) => ({ field: `spec.credentials[${name}]`, ref: secretKeyRef })),
  ];
  const missing = named.find(({ ref }) => subjects.has(credentialSubject(ref)));
  if (missing === undefined) return undefined;
  const { field, ref: { name, key } } = missing;
  const message =
    `${field}: runners find no key ${key} in a Secret ${namespace}/${name}, and sessions wait for it. ` +
    `Make it with kubectl create secret generic ${name} -n ${namespace} --from-file=${key}=FILE; they go on by themselves within two minutes.`;
  return { reason: "SecretNotFound", message };
}
