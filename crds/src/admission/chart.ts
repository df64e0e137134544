import { buildMutatingPolicies, buildValidatingPolicies } from "./policies.ts";
import type { AdmissionObject, Release } from "./policy.ts";

// The policies as a chart template. What only the release knows stands in the objects as a word of its own and is replaced in the text,
// so that the same functions build what is installed and what the operator compares it with.

/** Words that stand for what Helm puts in. */
export const PLACES = { namespace: "RELEASE-NAMESPACE", watched: "WATCHED-NAMESPACES", selector: "NAMESPACE-SELECTOR", labels: "CHART-LABELS" } as const;

const RELEASE: Release = { namespace: PLACES.namespace, watchedCel: PLACES.watched, namespaceSelector: PLACES.selector };

/** `toYaml` writes one document. Pure. */
export function buildAdmissionTemplate(toYaml: (value: unknown) => string): string {
  const documents = (objects: readonly AdmissionObject[]): string => objects.map((object) => fillPlaces(toYaml(labelled(object)))).join("---\n");
  return `{{- if .Values.admission.install }}
${documents(buildValidatingPolicies(RELEASE))}{{- if eq (include "paddock.creatorStamp" .) "true" }}
---
${documents(buildMutatingPolicies(RELEASE))}{{- end }}
{{- end }}
`;
}

function labelled({ apiVersion, kind, metadata, spec }: AdmissionObject): object {
  return { apiVersion, kind, metadata: { name: metadata.name, labels: PLACES.labels }, spec };
}

/** Replaces the words by what Helm fills in; braces of CEL that Helm would take for an action are written as one. Pure. */
function fillPlaces(text: string): string {
  return text
    .replaceAll("{{", '{{ "{{" }}')
    .replaceAll(` ${PLACES.labels}`, '\n    {{- include "paddock.labels" (dict "root" $ "component" "admission") | nindent 4 }}')
    .replaceAll(PLACES.selector, '{{ include "paddock.namespaceSelector" . }}')
    .replaceAll(PLACES.watched, '{{ include "paddock.watchedNamespaces" . }}')
    .replaceAll(PLACES.namespace, "{{ .Release.Namespace }}");
}
