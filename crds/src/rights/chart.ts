import type { Right, UserRole } from "./table.ts";
import { GATEWAY_CLUSTER, GATEWAY_RELEASE, OPERATOR_RELEASE, OPERATOR_TENANT, USER_ROLES, operatorClusterRights } from "./table.ts";

/** A rule as Kubernetes takes it. Pure. */
export function buildRule({ group, resources, names, verbs }: Right) {
  return { apiGroups: [group], resources, ...(names === undefined ? {} : { resourceNames: names }), verbs };
}

// Flow style, which YAML and people both read: one line per list.
const inline = (values: readonly string[]): string => `[${values.map((value) => (/^[a-z0-9./-]+$/.test(value) && value !== "" ? value : JSON.stringify(value))).join(", ")}]`;

function ruleText(right: Right): string {
  const { group, resources, names, verbs } = right;
  const namesLines = names === undefined ? [] : ["  resourceNames:", ...names.map((name) => `    - ${name}`)];
  return [`# ${right.why}`, `- apiGroups: ${inline([group])}`, `  resources: ${inline(resources)}`, ...namesLines, `  verbs: ${inline(verbs)}`].join("\n");
}

function define(name: string, body: string): string {
  return `{{- define ${JSON.stringify(name)} -}}\n${body}\n{{- end }}\n`;
}

const rules = (name: string, rights: readonly Right[]): string => define(`paddock.rights.${name}`, rights.map(ruleText).join("\n"));

/** Named templates with the rules of each account, for the hand-written role templates. `namespace` stands for the release's. Pure. */
export function buildRightsTemplate(namespace: string): string {
  return [
    rules("operatorTenant", OPERATOR_TENANT),
    rules("operatorRelease", OPERATOR_RELEASE),
    rules("operatorCluster", operatorClusterRights(namespace)),
    rules("gatewayCluster", GATEWAY_CLUSTER),
    rules("gatewayRelease", GATEWAY_RELEASE),
  ].join("\n");
}

/** The roles for people, as a whole template. Pure. */
export function buildUserRolesTemplate(): string {
  return `{{- if .Values.userRoles.create }}\n{{- $labels := include "paddock.labels" (dict "root" $ "component" "user-roles") }}\n${USER_ROLES.map(userRoleText).join("---\n")}{{- end }}\n`;
}

function userRoleText({ name, aggregateTo, purpose, rights }: UserRole): string {
  const body = rights.flatMap((right) => ruleText(right).split("\n")).map((line) => `  ${line}`).join("\n");
  return `# ${purpose}
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: ${name}
  labels:
    {{- $labels | nindent 4 }}
    {{- if $.Values.userRoles.aggregate }}
    rbac.authorization.k8s.io/aggregate-to-${aggregateTo}: "true"
    {{- end }}
rules:
${body}
`;
}
