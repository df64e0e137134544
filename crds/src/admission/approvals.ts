import { GROUP } from "../group.ts";
import { celString } from "../text.ts";
import { isOperator, mayCaller } from "./cel.ts";
import { type Check, type Release, type ValidatingDefinition, ours } from "./policy.ts";

/** They take away what belonged to a deleted Session or namespace; the last is who they all are where controllers share one account. */
const CLEANERS = ["system:serviceaccount:kube-system:generic-garbage-collector", "system:serviceaccount:kube-system:namespace-controller", "system:kube-controller-manager"];

/** Approvals are made, changed and taken away by the operator; with their Session or namespace they go as everything does. */
export function approvalWrites(release: Release): ValidatingDefinition {
  const cleaners = CLEANERS.map(celString).join(", ");
  return {
    name: "approval-writes",
    rules: [ours(["CREATE", "UPDATE", "DELETE"], ["approvals"])],
    checks: [
      {
        // One that a deletion with --cascade=orphan has left behind stands in the way of a later Session's, and nobody else would take it away.
        expression: `${isOperator(release)} || (request.operation != 'CREATE' && request.userInfo.username in [${cleaners}]) || (request.operation == 'DELETE' && !has(oldObject.metadata.ownerReferences))`,
        message: "approvals are written by the operator of Paddock only: decide with status.decision (kubectl patch --subresource=status), or cancel or delete the Session",
      },
    ],
  };
}

/** What an unfinished or unchanged part of status looks like: there on both sides or on none, and equal. */
function unchanged(member: string): string {
  const [now, before] = [`has(object.status) && has(object.status.${member})`, `has(oldObject.status) && has(oldObject.status.${member})`];
  return `(${now}) == (${before}) && (!(${now}) || object.status.${member} == oldObject.status.${member})`;
}

/** A decision is a person's own, by their right, once and in time. The gateway checks all of it again. */
export function approvalDecisions(release: Release): ValidatingDefinition {
  const operator = isOperator(release);
  const agent = "object.spec.agentName";
  const newDecision = (expression: string): string => `!variables.isNew || ${expression}`;
  const byPerson = (expression: string): string => newDecision(`${operator} || ${expression}`);
  const checks: readonly Check[] = [
    {
      expression: `!variables.wasDecided || (${unchanged("decision")})`,
      message: "the approval has been decided: a decision can be neither changed nor removed",
      tell: "'the approval was ' + oldObject.status.decision.decision + ' by ' + oldObject.status.decision.decidedBy + ': a decision can be neither changed nor removed'",
    },
    {
      expression: `${operator} || (${unchanged("conditions")} && ${unchanged("observedGeneration")})`,
      message: "of an approval's status people write status.decision only: leave the rest as it is",
    },
    {
      expression: newDecision("object.status.decision.decidedBy == request.userInfo.username"),
      message: "status.decision.decidedBy must be your own user name: see kubectl auth whoami",
      tell: "'status.decision.decidedBy is ' + object.status.decision.decidedBy + ', but you are ' + request.userInfo.username + ': write your own user name'",
    },
    {
      expression: newDecision("!has(object.status.decision.argumentsDigest) || object.status.decision.argumentsDigest == object.spec.argumentsDigest"),
      message: "status.decision.argumentsDigest is not the digest of the arguments that wait: read spec.argumentsDigest and look at the arguments again",
      tell: "'status.decision.argumentsDigest ' + object.status.decision.argumentsDigest + ' is not the digest of the arguments that wait, ' + object.spec.argumentsDigest + ': look at the arguments again'",
    },
    {
      expression: byPerson(mayCaller("approve", { group: GROUP, resource: "agents" }, agent)),
      message: "you may not approve calls of this agent: ask for the verb approve on it",
      tell: `'you may not approve calls of agent ' + ${agent} + ': ask for approve on agents.paddock.dev ' + ${agent} + ' in namespace ' + request.namespace + ' (kubectl auth can-i approve agents.paddock.dev/' + ${agent} + ' -n ' + request.namespace + ')'`,
    },
    {
      expression: byPerson("object.spec.allowRequester || !(request.userInfo.username in object.spec.requesters)"),
      message: "who asked for the work may not decide on it: ask somebody else with the right to approve",
    },
    {
      expression: byPerson("object.spec.allowServiceAccounts || !request.userInfo.username.startsWith('system:serviceaccount:')"),
      message: "service accounts may not decide here: a person has to",
    },
    {
      // CEL has no clock; the API server has just written the time of this very request into managedFields.
      expression: newDecision("!has(object.metadata.managedFields) || object.metadata.managedFields.all(entry, !has(entry.time) || timestamp(entry.time) < timestamp(object.spec.expiresAt))"),
      message: "the approval has expired, which is a denial: let the session ask again",
      tell: "'the approval expired at ' + string(object.spec.expiresAt) + ', which is a denial: let the session ask again'",
    },
    {
      expression: newDecision(`!(${operator}) || object.status.decision.decision == 'Denied'`),
      message: "the operator may not approve: a person has to",
    },
  ];
  return {
    name: "approval-decisions",
    rules: [ours(["UPDATE"], ["approvals/status"])],
    variables: [
      { name: "wasDecided", expression: "has(oldObject.status) && has(oldObject.status.decision)" },
      { name: "isNew", expression: "has(object.status) && has(object.status.decision) && !variables.wasDecided" },
    ],
    checks,
    audit: [
      { key: "trace-id", valueExpression: "variables.isNew ? string(object.spec.traceID) : ''" },
      { key: "arguments-digest", valueExpression: "variables.isNew ? string(object.spec.argumentsDigest) : ''" },
      { key: "decision", valueExpression: "variables.isNew ? string(object.status.decision.decision) : ''" },
    ],
  };
}
