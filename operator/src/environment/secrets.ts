import type { EnvironmentSpec } from "@paddock/api/environment";
import { credentialSubject } from "@paddock/api/names";
import type { RecordView } from "@paddock/api/wire/records";
import type { Obstacle } from "./claim.ts";

/**
 * The first Secret that a runner misses and the spec still names; nothing of ours but a runner may look. `waiting`: records of sessions of the Environment
 * whose runner reports it. Names each Secret in the order of the spec, so that the message stands still while sessions come and go. Pure.
 */
export function findMissingSecret({ models }: EnvironmentSpec, namespace: string, waiting: readonly RecordView[]): Obstacle | undefined {
  const subjects = new Set(waiting.map(({ problem }) => problem?.subject));
  const field = models.findIndex(({ apiKey }) => apiKey !== undefined && subjects.has(credentialSubject(apiKey.secretKeyRef)));
  const model = models[field];
  if (model?.apiKey === undefined) return undefined;
  const { name, key } = model.apiKey.secretKeyRef;
  const message =
    `spec.models[${model.name}].apiKey: runners find no key ${key} in a Secret ${namespace}/${name}, and sessions wait for it. ` +
    `Make it with kubectl create secret generic ${name} -n ${namespace} --from-file=${key}=FILE; they go on by themselves within two minutes.`;
  return { reason: "SecretNotFound", message };
}
