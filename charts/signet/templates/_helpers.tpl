{{- define "signet.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 48 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "signet.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: signet
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* The labels that select the pods of one component: (list $ "webhook"). They never change in an upgrade. */ -}}
{{- define "signet.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- /* The image of one component: (list $ "webhook"). */ -}}
{{- define "signet.image" -}}
{{- $root := index . 0 -}}
{{- printf "%s/%s/%s:%s" $root.Values.image.registry $root.Values.image.repository (index . 1) (default $root.Chart.AppVersion $root.Values.image.tag) -}}
{{- end -}}

{{- /* What "restricted" of the Pod Security Standards asks of a pod. */ -}}
{{- define "signet.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "signet.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: ["ALL"]
{{- end -}}

{{/* Pods over nodes or zones; takes (dict "root" . "component" component "topologyKey" key). */}}
{{- define "signet.topologySpreadConstraints" -}}
- maxSkew: 1
  topologyKey: {{ .topologyKey }}
  # Two replicas on one node are better than one.
  whenUnsatisfiable: ScheduleAnyway
  # In a rolling update the pods that go do not count.
  matchLabelKeys: [pod-template-hash]
  labelSelector:
    matchLabels:
      {{- include "signet.selectorLabels" (list .root .component) | nindent 6 }}
{{- end -}}

{{/* The Secret with the webhook's serving certificate. Who makes the one does not know of the other. */}}
{{- define "signet.servingSecret" -}}
{{- if eq .Values.webhook.servingCertificate.source "CertManager" -}}
{{ include "signet.fullname" . }}-webhook-serving
{{- else -}}
signet-webhook-tls
{{- end -}}
{{- end -}}

{{/* What the webhooks for pods share; takes (dict "root" . "path" path). */}}
{{- define "signet.podWebhook" -}}
admissionReviewVersions: [v1]
clientConfig:
  service:
    name: {{ include "signet.fullname" .root }}-webhook
    namespace: {{ .root.Release.Namespace }}
    path: {{ .path }}
    port: 443
rules:
  - apiGroups: [""]
    apiVersions: [v1]
    operations: [CREATE]
    resources: [pods]
    scope: Namespaced
# Fail: a pod that asks for Kafka and starts without its credentials is worse than one whose controller tries again
# in a few seconds.
failurePolicy: {{ .root.Values.webhook.failurePolicy }}
matchPolicy: Equivalent
# Injectors that run later may add containers; they get the mounts in a second round, which changes nothing else.
reinvocationPolicy: IfNeeded
sideEffects: None
timeoutSeconds: {{ .root.Values.webhook.timeoutSeconds }}
{{- end -}}

{{/* What the validating webhooks for Signet's own kinds share; takes (dict "root" . "resource" plural "scope" scope). */}}
{{- define "signet.declarationWebhook" -}}
admissionReviewVersions: [v1]
clientConfig:
  service:
    name: {{ include "signet.fullname" .root }}-webhook
    namespace: {{ .root.Release.Namespace }}
    path: /validate-{{ .resource }}
    port: 443
rules:
  - apiGroups: [kafka.signet.dev]
    apiVersions: [v1alpha1]
    operations: [CREATE, UPDATE]
    resources: [{{ .resource }}]
    scope: {{ .scope }}
matchPolicy: Equivalent
sideEffects: None
timeoutSeconds: {{ .root.Values.webhook.timeoutSeconds }}
{{- end -}}

{{/* The condition that an object is created or its spec changes, as an element of matchConditions. */}}
{{- define "signet.declarationChanges" -}}
- name: declaration-changes
  expression: request.operation == 'CREATE' || object.spec != oldObject.spec
{{- end -}}

{{/* The namespaces whose pods are never mutated, as an element of matchExpressions. */}}
{{- define "signet.namespaces" -}}
- key: kubernetes.io/metadata.name
  operator: NotIn
  values:
    - {{ .Release.Namespace | quote }}
    {{- range without .Values.webhook.excludedNamespaces .Release.Namespace }}
    - {{ . | quote }}
    {{- end }}
{{- end -}}

{{/* The condition that a pod did not opt out, as an element of matchConditions. */}}
{{- define "signet.notOptedOut" -}}
- name: not-opted-out
  expression: >-
    !has(object.metadata.annotations) ||
    !('kafka.signet.dev/inject' in object.metadata.annotations) ||
    object.metadata.annotations['kafka.signet.dev/inject'] != 'false'
{{- end -}}

{{/* The address of an alert's runbook; takes (list . anchor). */}}
{{- define "signet.runbook" -}}
{{- $root := index . 0 -}}
{{ $root.Values.prometheusRule.runbooks }}#{{ index . 1 }}
{{- end -}}
