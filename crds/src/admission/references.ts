import { ANNOTATIONS } from "../names.ts";
import { GROUP } from "../group.ts";
import { celString } from "../text.ts";
import { CONFIG_MAP, ENVIRONMENT, type Reference, SECRET, SPEC_CHANGES, checkReference, notTheOperator } from "./cel.ts";
import { type Release, type ValidatingDefinition, ours } from "./policy.ts";

// Nobody makes the platform use what they may not use themselves: whoever writes a reference must have the right on what it names.

const MAX_MODELS = 8;
const MAX_PULL_SECRETS = 4;
const MAX_CREDENTIALS = 8;
const MAX_FILES = 16;

const indexes = (length: number): readonly number[] => Array.from({ length }, (_, index) => index);

/**
 * Environments: `get` on each Secret, of the whole new spec whenever spec changes. Were only changed references looked at, an edit of
 * baseURL would send a key that is kept to an address of the editor's.
 */
export function environmentReferences(): ValidatingDefinition {
  const models = indexes(MAX_MODELS).map((i): Reference => ({
    field: `spec.models[${i}].apiKey.secretKeyRef`,
    isThere: `size(object.spec.models) > ${i} && has(object.spec.models[${i}].apiKey)`,
    name: `object.spec.models[${i}].apiKey.secretKeyRef.name`,
  }));
  const pullSecrets = indexes(MAX_PULL_SECRETS).map((i): Reference => ({
    field: `spec.imagePullSecrets[${i}]`,
    isThere: `has(object.spec.imagePullSecrets) && size(object.spec.imagePullSecrets) > ${i}`,
    name: `object.spec.imagePullSecrets[${i}].name`,
  }));
  return {
    name: "environment-references",
    rules: [ours(["CREATE", "UPDATE"], ["environments"])],
    conditions: [{ name: "spec-changes", expression: SPEC_CHANGES }],
    checks: [...models, ...pullSecrets].map((reference) => checkReference(reference, SECRET)),
  };
}

/** The rest of what an Environment names, in a policy of its own: one could not pay for all the checks. Of the whole new spec, too: an edit of hosts would send a kept credential to the editor. */
export function environmentCredentials(): ValidatingDefinition {
  const credentials = indexes(MAX_CREDENTIALS).map((i): Reference => ({
    field: `spec.credentials[${i}].secretKeyRef`,
    isThere: `has(object.spec.credentials) && size(object.spec.credentials) > ${i}`,
    name: `object.spec.credentials[${i}].secretKeyRef.name`,
  }));
  const authorities: Reference = {
    field: "spec.network.caBundle.configMapKeyRef",
    isThere: "has(object.spec.network) && has(object.spec.network.caBundle)",
    name: "object.spec.network.caBundle.configMapKeyRef.name",
  };
  return {
    name: "environment-credentials",
    rules: [ours(["CREATE", "UPDATE"], ["environments"])],
    conditions: [{ name: "spec-changes", expression: SPEC_CHANGES }],
    checks: [...credentials.map((reference) => checkReference(reference, SECRET)), checkReference(authorities, CONFIG_MAP)],
  };
}

/** What a session's spec at `path` names: its Environment, and ConfigMaps that the operator reads for it. */
function sessionChecks(path: string) {
  const shown = path.replace("object.", "");
  const environment: Reference = { field: `${shown}.environmentRef`, isThere: "true", name: `${path}.environmentRef.name` };
  const prompt: Reference = { field: `${shown}.promptFrom.configMapKeyRef`, isThere: `has(${path}.promptFrom)`, name: `${path}.promptFrom.configMapKeyRef.name` };
  const files = indexes(MAX_FILES).map((i): Reference => ({
    field: `${shown}.files[${i}].configMapKeyRef`,
    isThere: `has(${path}.files) && size(${path}.files) > ${i}`,
    name: `${path}.files[${i}].configMapKeyRef.name`,
  }));
  return [checkReference(environment, ENVIRONMENT), ...[prompt, ...files].map((reference) => checkReference(reference, CONFIG_MAP))];
}

/** Sessions, whose spec is immutable. The operator makes those of Schedules and has asked for their creator; it can make no others (operator-sessions). */
export function sessionReferences(release: Release): ValidatingDefinition {
  return {
    name: "session-references",
    rules: [ours(["CREATE"], ["sessions"])],
    conditions: [notTheOperator(release)],
    checks: sessionChecks("object.spec"),
  };
}

/** Schedules: as a session, also for whoever has it fire now; and a template says nothing under Paddock's prefix. */
export function scheduleReferences(): ValidatingDefinition {
  const trigger = celString(ANNOTATIONS.trigger);
  const triggerOf = (side: "object" | "oldObject") => `(has(${side}.metadata.annotations) && ${trigger} in ${side}.metadata.annotations ? ${side}.metadata.annotations[${trigger}] : '')`;
  const reserved = (member: "labels" | "annotations") => {
    const map = `object.spec.sessionTemplate.metadata.${member}`;
    return {
      expression: `!has(object.spec.sessionTemplate.metadata) || !has(${map}) || !${map}.exists(key, key.startsWith('${GROUP}/'))`,
      message: `spec.sessionTemplate.metadata.${member} may not hold keys that start with ${GROUP}/: they belong to Paddock's operator, use a prefix of your own`,
    };
  };
  return {
    name: "schedule-references",
    rules: [ours(["CREATE", "UPDATE"], ["schedules"])],
    conditions: [{ name: "spec-or-trigger-changes", expression: `${SPEC_CHANGES} || ${triggerOf("object")} != ${triggerOf("oldObject")}` }],
    checks: [reserved("labels"), reserved("annotations"), ...sessionChecks("object.spec.sessionTemplate.spec")],
  };
}

/** Agents: `get` on the ConfigMap that holds the instructions. */
export function agentReferences(): ValidatingDefinition {
  const instructions: Reference = {
    field: "spec.instructionsFrom.configMapKeyRef",
    isThere: "has(object.spec.instructionsFrom)",
    name: "object.spec.instructionsFrom.configMapKeyRef.name",
  };
  return {
    name: "agent-references",
    rules: [ours(["CREATE", "UPDATE"], ["agents"])],
    conditions: [{ name: "spec-changes", expression: SPEC_CHANGES }],
    checks: [checkReference(instructions, CONFIG_MAP)],
  };
}
