import { GROUP, KINDS } from "../group.ts";
import { ANNOTATIONS, LABELS, MANAGED_BY } from "../names.ts";
import { celString } from "../text.ts";
import { isOperator, metadataVariables, notTheOperator } from "./cel.ts";
import { type Check, type Release, type ValidatingDefinition, ours } from "./policy.ts";

const CREATOR = [ANNOTATIONS.createdBy, ANNOTATIONS.createdByGroups];
const MINE = celString(MANAGED_BY);
const MANAGED_BY_LABEL = celString(LABELS.managedBy);

/** A label that says that the object is Paddock's: everything under our prefix, and "managed by paddock". */
const isReservedLabel = (map: string) => `(key.startsWith('${GROUP}/') || (key == ${MANAGED_BY_LABEL} && ${map}[key] == ${MINE}))`;
const isReservedAnnotation = `(key.startsWith('${GROUP}/') && !(key in variables.othersAnnotations))`;

/** Keys of `here` that `there` has not, or has with another value. */
const differing = (here: string, there: string, isReserved: string) =>
  `variables.${here}.filter(key, ${isReserved} && !(key in variables.${there} && variables.${there}[key] == variables.${here}[key]))`;

function untouched(list: string, what: string): Check {
  return {
    expression: `size(variables.${list}) == 0`,
    message: `a ${what} of Paddock's own was added, changed or removed: leave it as it is and use a prefix of your own`,
    tell: `'the ${what} ' + variables.${list}[0] + ' belongs to the operator of Paddock: do not add, change or remove it, use a prefix of your own'`,
  };
}

/**
 * Labels and annotations under paddock.dev/ are the operator's: network policies select pods by them, and the operator finds its own
 * objects by them. Pods are looked at in every way in which their metadata can be written: status updates and bindings carry it too.
 */
export function reservedMetadata(release: Release): ValidatingDefinition {
  const kinds = Object.values(KINDS).map(({ plural }) => plural);
  return {
    name: "reserved-metadata",
    rules: [
      ours(["CREATE", "UPDATE"], kinds),
      { group: "", version: "v1", operations: ["CREATE", "UPDATE"], resources: ["pods", "pods/status", "pods/ephemeralcontainers", "pods/resize", "pods/binding", "bindings", "serviceaccounts", "persistentvolumeclaims", "persistentvolumeclaims/status"] },
      { group: "networking.k8s.io", version: "v1", operations: ["CREATE", "UPDATE"], resources: ["networkpolicies"] },
    ],
    conditions: [notTheOperator(release)],
    variables: [
      ...metadataVariables("labels"),
      ...metadataVariables("annotations"),
      // Those that a policy of their own is about.
      {
        name: "othersAnnotations",
        expression: `request.kind.group != '${GROUP}' ? [] : request.kind.kind == 'Session' ? ${list(CREATOR)} : request.kind.kind == 'Schedule' ? ${list([...CREATOR, ANNOTATIONS.trigger])} : []`,
      },
      { name: "touchedLabels", expression: `${differing("labels", "oldLabels", isReservedLabel("variables.labels"))} + ${differing("oldLabels", "labels", isReservedLabel("variables.oldLabels"))}` },
      { name: "touchedAnnotations", expression: `${differing("annotations", "oldAnnotations", isReservedAnnotation)} + ${differing("oldAnnotations", "annotations", isReservedAnnotation)}` },
    ],
    checks: [untouched("touchedLabels", "label"), untouched("touchedAnnotations", "annotation")],
  };
}

function list(values: readonly string[]): string {
  return `[${values.map(celString).join(", ")}]`;
}

/**
 * A Session that a Schedule owns counts as its run: one that somebody else made under a run's name, which is known beforehand, would take that
 * run's place. Owners may be taken away (the garbage collector does so), never added.
 */
export function sessionOwners(release: Release): ValidatingDefinition {
  const owners = (side: "object" | "oldObject") => `(${side === "object" ? "" : "oldObject != null && "}has(${side}.metadata.ownerReferences) ? ${side}.metadata.ownerReferences : [])`;
  return {
    name: "session-owners",
    rules: [ours(["CREATE", "UPDATE"], ["sessions"])],
    conditions: [notTheOperator(release)],
    variables: [
      { name: "oldUids", expression: `${owners("oldObject")}.map(owner, owner.uid)` },
      { name: "added", expression: `${owners("object")}.filter(owner, owner.apiVersion.startsWith('${GROUP}/') && !(owner.uid in variables.oldUids))` },
    ],
    checks: [
      {
        expression: "size(variables.added) == 0",
        message: "metadata.ownerReferences names an object of Paddock's, whose sessions only its operator makes: leave the reference out",
        tell: "'metadata.ownerReferences names ' + variables.added[0].kind + ' ' + variables.added[0].name + ', whose sessions only the operator of Paddock makes: leave the reference out; a Schedule fires at once by kubectl annotate schedule NAME paddock.dev/trigger=NEW-VALUE'",
      },
    ],
  };
}

/**
 * A pod of ours ends with its owner, and by its owner the operator knows it: without one, or with one more, it would outlive its session. The
 * garbage collector may not take the owner away either, as it does for a Session deleted with --cascade=orphan: it tries again until the operator,
 * which sees the Session go, has deleted the pods.
 */
export function podOwners(): ValidatingDefinition {
  const component = celString(LABELS.component);
  const owners = (side: "object" | "oldObject") => `(has(${side}.metadata.ownerReferences) ? ${side}.metadata.ownerReferences : [])`;
  return {
    name: "pod-owners",
    rules: [{ group: "", version: "v1", operations: ["UPDATE"], resources: ["pods"] }],
    conditions: [{ name: "paddocks-by-label", expression: `has(oldObject.metadata.labels) && ${component} in oldObject.metadata.labels` }],
    checks: [
      {
        expression: `${owners("object")} == ${owners("oldObject")}`,
        message: "metadata.ownerReferences of Paddock's pods stay as they are, for a pod ends with its owner: delete or cancel the Session",
      },
    ],
  };
}

/** Status is the operator's word. Rights say so already; a role with `*` would not. Approvals have a policy of their own. */
export function statusWrites(release: Release): ValidatingDefinition {
  const kinds = Object.values(KINDS).filter(({ kind }) => kind !== "Approval");
  return {
    name: "status-writes",
    rules: [ours(["CREATE", "UPDATE"], kinds.map(({ plural }) => `${plural}/status`))],
    checks: [
      {
        expression: isOperator(release),
        message: "status is written by the operator of Paddock only: change spec instead, and read in status what became of it",
      },
    ],
  };
}
