{{/* Labels of a component: call with (dict "root" $ "component" "operator"). */}}
{{- define "paddock.selector" -}}
app.kubernetes.io/name: paddock
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "paddock.labels" -}}
{{ include "paddock.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "paddock.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* What the pods of operator and gateway share: Pod Security "restricted" and more. */}}
{{- define "paddock.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "paddock.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop:
    - ALL
{{- end }}

{{- define "paddock.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/* The namespaces the release serves, as admission policies take them: a CEL list ([] means all) and a selector. The operator compares both. */}}
{{- define "paddock.watchedNamespaces" -}}
[{{ range $i, $namespace := .Values.watchNamespaces }}{{ if $i }}, {{ end }}'{{ $namespace }}'{{ end }}]
{{- end }}

{{- define "paddock.namespaceSelector" -}}
{{- if .Values.watchNamespaces -}}
{{ dict "matchExpressions" (list (dict "key" "kubernetes.io/metadata.name" "operator" "In" "values" .Values.watchNamespaces)) | toJson }}
{{- else -}}
{}
{{- end -}}
{{- end }}

{{/* "true" where the policy that stamps creators is part of the release. */}}
{{- define "paddock.creatorStamp" -}}
{{- if kindIs "bool" .Values.admission.creatorStamp -}}
{{ .Values.admission.creatorStamp }}
{{- else -}}
{{ .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy" }}
{{- end -}}
{{- end }}
