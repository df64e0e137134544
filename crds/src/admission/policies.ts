import { approvalDecisions, approvalWrites } from "./approvals.ts";
import { creatorProof, creatorStamp } from "./creator.ts";
import { operatorAccounts, operatorApprovals, operatorClaims, operatorDeletes, operatorPods, operatorPolicies, operatorSessions } from "./operator.ts";
import { type AdmissionObject, type Release, type ValidatingDefinition, buildMutating, buildValidating } from "./policy.ts";
import { agentReferences, environmentCredentials, environmentReferences, scheduleReferences, sessionReferences } from "./references.ts";
import { podOwners, reservedMetadata, sessionOwners, statusWrites } from "./reserved.ts";
import { podPorts, runnerChange, runnerExec, runnerTokens } from "./runner-access.ts";

/** Every validating policy of a release. */
export function validatingDefinitions(release: Release): readonly ValidatingDefinition[] {
  return [
    environmentReferences(),
    environmentCredentials(),
    agentReferences(),
    sessionReferences(release),
    scheduleReferences(),
    reservedMetadata(release),
    sessionOwners(release),
    podOwners(),
    statusWrites(release),
    creatorProof(release),
    runnerExec(),
    podPorts(),
    runnerChange(),
    runnerTokens(),
    approvalWrites(release),
    approvalDecisions(release),
    operatorPods(release),
    operatorSessions(release),
    operatorApprovals(release),
    operatorClaims(release),
    operatorDeletes(release),
    operatorAccounts(release),
    operatorPolicies(release),
  ];
}

/** Policies and bindings that check, in the order of the chart. Pure. */
export function buildValidatingPolicies(release: Release): readonly AdmissionObject[] {
  return validatingDefinitions(release).flatMap((definition) => buildValidating(definition, release));
}

/** The policy that stamps creators, and its binding: `admissionregistration.k8s.io/v1` serves its kind from Kubernetes 1.36 on. Pure. */
export function buildMutatingPolicies(release: Release): readonly AdmissionObject[] {
  return buildMutating(creatorStamp(release), release);
}

/** All of it. `creatorStamp`: the API server serves mutating policies. Pure. */
export function buildAdmission(release: Release, { creatorStamp: isStamped }: { readonly creatorStamp: boolean }): readonly AdmissionObject[] {
  return [...buildValidatingPolicies(release), ...(isStamped ? buildMutatingPolicies(release) : [])];
}
