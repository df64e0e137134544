import { GROUP } from "../group.ts";
import { ANNOTATIONS, CA_BUNDLE_PATH, GATEWAY_AUDIENCE, LABELS, MANAGED_BY, POD_SERVICE_ACCOUNT } from "../names.ts";
import { celString } from "../text.ts";
import { isOperator, metadataVariables } from "./cel.ts";
import { type Check, type NamedExpression, type Release, type ValidatingDefinition, ours } from "./policy.ts";
import { RUNNER_NAME, SANDBOX_NAME } from "./runner-access.ts";

// The operator's own account: whoever has its token can make what sessions need and nothing else. A refusal here is a fault of ours, of
// a webhook that changes pods, or of somebody who uses the account; each message names the rule.

const theOperator = (release: Release): NamedExpression => ({ name: "the-operator", expression: isOperator(release) });

const inWatchedNamespace = (release: Release): Check => ({
  expression: `size(${release.watchedCel}) == 0 || request.namespace in ${release.watchedCel}`,
  message: "the operator writes only in the namespaces of watchNamespaces",
});

const LABEL = celString(LABELS.component);
const MANAGED = celString(LABELS.managedBy);

/** What names of sessions' claims end in; see workspaceClaimName. */
const CLAIM_NAME = "-w$";

/** `all` containers hold: a pod of ours has exactly one. */
const containers = (condition: string): string => `object.spec.containers.all(container, ${condition})`;
const volumes = (condition: string): string => `!has(object.spec.volumes) || object.spec.volumes.all(volume, ${condition})`;
const security = "container.securityContext";
const emptyOrFalse = (path: string): string => `(!has(${path}) || !${path})`;

const CA_BUNDLE_FILE = CA_BUNDLE_PATH.slice(CA_BUNDLE_PATH.lastIndexOf("/") + 1);
/** Certificates in PEM: one key of a ConfigMap, as the file that runners read them from. */
const AUTHORITIES = `has(volume.configMap) && volume.name == 'ca' && has(volume.configMap.items) && size(volume.configMap.items) == 1 && volume.configMap.items.all(item, item.path == ${celString(CA_BUNDLE_FILE)})`;
const WORKSPACE_CLAIM = `has(volume.persistentVolumeClaim) && volume.name == 'workspace' && volume.persistentVolumeClaim.claimName.matches(${celString(CLAIM_NAME)})`;

/** The shapes of runner and sandbox pods, as docs on isolation describe them. */
const POD_CHECKS: readonly Check[] = [
  rule("labels", `has(object.metadata.labels) && ${MANAGED} in object.metadata.labels && object.metadata.labels[${MANAGED}] == ${celString(MANAGED_BY)} && variables.component in ['runner', 'sandbox']`, "carry the labels of a runner or sandbox"),
  rule("name", `has(object.metadata.name) && object.metadata.name.matches(variables.component == 'runner' ? ${celString(RUNNER_NAME)} : ${celString(SANDBOX_NAME)})`, "have a name that ends in -r or -s and a number"),
  rule(
    "owner",
    `has(object.metadata.ownerReferences) && size(object.metadata.ownerReferences) == 1 && object.metadata.ownerReferences.all(owner, owner.apiVersion.startsWith('${GROUP}/') && owner.kind in ['Session', 'Environment'] && has(owner.controller) && owner.controller)`,
    "be owned by one Session or Environment as its controller",
  ),
  rule(
    "account",
    `has(object.spec.serviceAccountName) && object.spec.serviceAccountName == ${celString(POD_SERVICE_ACCOUNT)} && has(object.spec.automountServiceAccountToken) && !object.spec.automountServiceAccountToken`,
    `run as service account ${POD_SERVICE_ACCOUNT} without its token`,
  ),
  rule(
    "host",
    `${["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"].map((field) => emptyOrFalse(`object.spec.${field}`)).join(" && ")} && !has(object.spec.hostAliases) && ${containers("!has(container.ports) || container.ports.all(port, !has(port.hostPort) || port.hostPort == 0)")}`,
    "share nothing with its node",
  ),
  rule("containers", "size(object.spec.containers) == 1 && !has(object.spec.initContainers) && !has(object.spec.ephemeralContainers)", "have one container: a webhook that injects others has to leave Paddock's pods out"),
  rule(
    "user",
    `has(object.spec.securityContext) && has(object.spec.securityContext.runAsNonRoot) && object.spec.securityContext.runAsNonRoot && has(object.spec.securityContext.seccompProfile) && object.spec.securityContext.seccompProfile.type == 'RuntimeDefault' && ${containers(`has(${security}) && (!has(${security}.runAsUser) || ${security}.runAsUser > 0) && (!has(${security}.runAsNonRoot) || ${security}.runAsNonRoot) && !has(${security}.seccompProfile)`)}`,
    "run as a user other than root with the runtime's seccomp profile",
  ),
  rule(
    "privileges",
    containers(
      `has(${security}) && ${emptyOrFalse(`${security}.privileged`)} && has(${security}.allowPrivilegeEscalation) && !${security}.allowPrivilegeEscalation && has(${security}.readOnlyRootFilesystem) && ${security}.readOnlyRootFilesystem && has(${security}.capabilities) && has(${security}.capabilities.drop) && 'ALL' in ${security}.capabilities.drop && !has(${security}.capabilities.add)`,
    ),
    "drop every privilege",
  ),
  rule(
    "env",
    containers("!has(container.envFrom) && (!has(container.env) || container.env.all(variable, !has(variable.valueFrom) || has(variable.valueFrom.fieldRef)))"),
    "take no Secret or ConfigMap into its environment",
  ),
  rule(
    "volumes",
    volumes(
      `has(volume.emptyDir) || (variables.component == 'runner' ? has(volume.secret) || has(volume.projected) || (${AUTHORITIES}) : ${WORKSPACE_CLAIM})`,
    ),
    "mount only emptyDir, a runner also Secrets, its token and one ConfigMap with authorities, and a sandbox the claim of its session's workspace",
  ),
  rule(
    "token",
    volumes(`!has(volume.projected) || volume.projected.sources.all(source, has(source.serviceAccountToken) && has(source.serviceAccountToken.audience) && source.serviceAccountToken.audience == ${celString(GATEWAY_AUDIENCE)})`),
    `have tokens for the audience ${GATEWAY_AUDIENCE} only`,
  ),
  rule("restart", "object.spec.restartPolicy == 'Never' && has(object.spec.activeDeadlineSeconds)", "run once, with a deadline"),
];

function rule(name: string, expression: string, must: string): Check {
  return { expression, message: `a pod of the operator must ${must} (rule ${name})` };
}

export function operatorPods(release: Release): ValidatingDefinition {
  return {
    name: "operator-pods",
    everywhere: true,
    rules: [{ group: "", version: "v1", operations: ["CREATE", "UPDATE"], resources: ["pods"] }],
    conditions: [theOperator(release)],
    variables: [{ name: "component", expression: `has(object.metadata.labels) && ${LABEL} in object.metadata.labels ? object.metadata.labels[${LABEL}] : ''` }],
    checks: [inWatchedNamespace(release), ...POD_CHECKS],
  };
}

/** Sessions only for Schedules, in the name of who is to answer for them. */
export function operatorSessions(release: Release): ValidatingDefinition {
  const createdBy = celString(ANNOTATIONS.createdBy);
  return {
    name: "operator-sessions",
    everywhere: true,
    rules: [ours(["CREATE", "UPDATE"], ["sessions"])],
    conditions: [theOperator(release)],
    checks: [
      inWatchedNamespace(release),
      {
        expression: `has(object.metadata.ownerReferences) && size(object.metadata.ownerReferences) == 1 && object.metadata.ownerReferences.all(owner, owner.apiVersion.startsWith('${GROUP}/') && owner.kind == 'Schedule' && has(owner.controller) && owner.controller)`,
        message: "a Session of the operator must be owned by one Schedule as its controller",
      },
      {
        expression: `has(object.metadata.annotations) && ${createdBy} in object.metadata.annotations && object.metadata.annotations[${createdBy}] != ''`,
        message: `a Session of the operator must carry the annotation ${ANNOTATIONS.createdBy} of its Schedule`,
      },
    ],
  };
}

/** Approvals only for Sessions, with which they go; a decision is never the operator's own. */
export function operatorApprovals(release: Release): ValidatingDefinition {
  return {
    name: "operator-approvals",
    everywhere: true,
    rules: [ours(["CREATE", "UPDATE"], ["approvals"])],
    conditions: [theOperator(release)],
    checks: [
      inWatchedNamespace(release),
      {
        expression: `has(object.metadata.ownerReferences) && size(object.metadata.ownerReferences) == 1 && object.metadata.ownerReferences.all(owner, owner.apiVersion.startsWith('${GROUP}/') && owner.kind == 'Session' && has(owner.controller) && owner.controller && owner.name == object.spec.sessionRef.name && owner.uid == object.spec.sessionRef.uid)`,
        message: "an Approval of the operator must be owned by the Session that spec.sessionRef names, as its controller",
      },
      { expression: `has(object.metadata.labels) && ${MANAGED} in object.metadata.labels && object.metadata.labels[${MANAGED}] == ${celString(MANAGED_BY)}`, message: `an Approval of the operator must carry the label ${LABELS.managedBy}: ${MANAGED_BY}` },
    ],
  };
}

/** Claims only for the workspaces of Sessions, with which they go: empty ones, that one node has at a time. None takes over a volume that others have filled, nor a copy of it. */
export function operatorClaims(release: Release): ValidatingDefinition {
  const uid = celString(LABELS.sessionUid);
  return {
    name: "operator-claims",
    everywhere: true,
    rules: [{ group: "", version: "v1", operations: ["CREATE", "UPDATE"], resources: ["persistentvolumeclaims"] }],
    conditions: [theOperator(release)],
    variables: metadataVariables("labels"),
    checks: [
      inWatchedNamespace(release),
      claimRule(`has(object.metadata.name) && object.metadata.name.matches(${celString(CLAIM_NAME)})`, "have a name that ends in -w"),
      claimRule(
        `has(object.metadata.ownerReferences) && size(object.metadata.ownerReferences) == 1 && object.metadata.ownerReferences.all(owner, owner.apiVersion.startsWith('${GROUP}/') && owner.kind == 'Session' && has(owner.controller) && owner.controller && ${uid} in variables.labels && variables.labels[${uid}] == owner.uid)`,
        `be owned by one Session as its controller, whose uid is its label ${LABELS.sessionUid}`,
      ),
      claimRule(`${MANAGED} in variables.labels && variables.labels[${MANAGED}] == ${celString(MANAGED_BY)}`, `carry the label ${LABELS.managedBy}: ${MANAGED_BY}`),
      claimRule("object.spec.accessModes == ['ReadWriteOnce'] && (!has(object.spec.volumeMode) || object.spec.volumeMode == 'Filesystem')", "ask for a file system that one node has at a time (ReadWriteOnce)"),
      claimRule(
        ["dataSource", "dataSourceRef", "volumeName", "selector"].map((field) => `!has(object.spec.${field})`).join(" && "),
        "be empty: it names no volume, selects none and copies none",
      ),
    ],
  };
}

function claimRule(expression: string, must: string): Check {
  return { expression, message: `a PersistentVolumeClaim of the operator must ${must}` };
}

/** Of what the operator could delete: only pods that carry its labels, which nobody else can put on. */
export function operatorDeletes(release: Release): ValidatingDefinition {
  return {
    name: "operator-deletes",
    everywhere: true,
    rules: [{ group: "", version: "v1", operations: ["DELETE"], resources: ["pods"] }],
    conditions: [theOperator(release)],
    checks: [
      inWatchedNamespace(release),
      {
        expression: `has(oldObject.metadata.labels) && ${MANAGED} in oldObject.metadata.labels && oldObject.metadata.labels[${MANAGED}] == ${celString(MANAGED_BY)} && ${LABEL} in oldObject.metadata.labels`,
        message: "the operator deletes only pods that carry the labels of a runner or sandbox",
      },
    ],
  };
}

/** One service account, which it gives nothing: clouds give rights by annotations, and pods inherit pull secrets. What others put there stays. */
export function operatorAccounts(release: Release): ValidatingDefinition {
  const listOf = (side: "object" | "oldObject", member: string) => `(${side === "object" ? "" : "oldObject != null && "}has(${side}.${member}) ? ${side}.${member} : [])`;
  const isKept = (member: string) => `${listOf("object", member)} == ${listOf("oldObject", member)}`;
  return {
    name: "operator-accounts",
    everywhere: true,
    rules: [{ group: "", version: "v1", operations: ["CREATE", "UPDATE"], resources: ["serviceaccounts"] }],
    conditions: [theOperator(release)],
    variables: metadataVariables("annotations"),
    checks: [
      inWatchedNamespace(release),
      { expression: `object.metadata.name == ${celString(POD_SERVICE_ACCOUNT)}`, message: `the operator makes the service account ${POD_SERVICE_ACCOUNT} and no other` },
      {
        expression: `variables.annotations == variables.oldAnnotations && ${isKept("imagePullSecrets")} && ${isKept("secrets")}`,
        message: `the operator gives the service account ${POD_SERVICE_ACCOUNT} neither annotations, by which some clouds give rights, nor Secrets`,
      },
    ],
  };
}

/** Network policies add up: one that selected other pods could open them. */
export function operatorPolicies(release: Release): ValidatingDefinition {
  const selected = "object.spec.podSelector.matchLabels";
  return {
    name: "operator-policies",
    everywhere: true,
    rules: [{ group: "networking.k8s.io", version: "v1", operations: ["CREATE", "UPDATE"], resources: ["networkpolicies"] }],
    conditions: [theOperator(release)],
    checks: [
      inWatchedNamespace(release),
      { expression: "object.metadata.name.startsWith('paddock-')", message: "the operator makes network policies whose names start with paddock-" },
      {
        expression: `has(object.spec.podSelector) && has(${selected}) && ${MANAGED} in ${selected} && ${selected}[${MANAGED}] == ${celString(MANAGED_BY)}`,
        message: `a network policy of the operator must select pods by the label ${LABELS.managedBy}: ${MANAGED_BY}, which only its own carry`,
      },
    ],
  };
}
