{{- define "longtail.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What selects all pods of this release. */}}
{{- define "longtail.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The labels of an object: (list $ "component"). */}}
{{- define "longtail.labels" -}}
{{- $root := index . 0 -}}
{{ include "longtail.selector" $root }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/part-of: longtail
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{- end -}}

{{- define "longtail.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* The names the service is called by, shortest first, one a line. */}}
{{- define "longtail.serviceHosts" -}}
{{- $name := printf "%s-mlflow" (include "longtail.fullname" .) -}}
{{ $name }}
{{ $name }}.{{ .Release.Namespace }}
{{ $name }}.{{ .Release.Namespace }}.svc
{{ $name }}.{{ .Release.Namespace }}.svc.cluster.local
{{- end -}}

{{/* Every host name, alone and with any port; localhost is what a port-forward is called by. */}}
{{- define "longtail.allowedHosts" -}}
{{- $hosts := concat (splitList "\n" (include "longtail.serviceHosts" .)) (list "localhost" "127.0.0.1") -}}
{{- if .Values.ingress.enabled }}{{ $hosts = concat $hosts .Values.ingress.hosts }}{{ end -}}
{{- $all := list -}}
{{- range concat $hosts .Values.mlflow.extraAllowedHosts -}}
{{- $all = concat $all (list . (printf "%s:*" .)) -}}
{{- end -}}
{{- join "," (uniq $all) -}}
{{- end -}}

{{- define "longtail.corsOrigins" -}}
{{- $origins := .Values.mlflow.extraCorsOrigins -}}
{{- if .Values.ingress.enabled -}}
{{- $scheme := ternary "https" "http" (not (empty .Values.ingress.tlsSecret)) -}}
{{- range .Values.ingress.hosts }}{{ $origins = append $origins (printf "%s://%s" $scheme .) }}{{ end -}}
{{- end -}}
{{- join "," $origins -}}
{{- end -}}

{{- define "longtail.trackingUri" -}}
http://{{ include "longtail.serviceHosts" . | splitList "\n" | last }}:5000
{{- end -}}

{{- define "longtail.sqlite" -}}
{{- if not .Values.database.existingSecret }}true{{ end -}}
{{- end -}}

{{/* What every pod has besides its containers. */}}
{{- define "longtail.pod" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{/* What every container has. */}}
{{- define "longtail.container" -}}
image: {{ include "longtail.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{- define "longtail.volumes" -}}
- name: tmp
  emptyDir: {}
{{- if .Values.caBundle.existingConfigMap }}
- name: ca
  configMap:
    name: {{ .Values.caBundle.existingConfigMap }}
{{- end }}
{{- end -}}

{{- define "longtail.mounts" -}}
- name: tmp
  mountPath: /tmp
{{- if .Values.caBundle.existingConfigMap }}
- name: ca
  mountPath: /etc/longtail/ca
  readOnly: true
{{- end }}
{{- end -}}

{{/* Writable places, and the certificates that each client library looks for under its own name. */}}
{{- define "longtail.env" -}}
- name: HOME
  value: /tmp
- name: MLFLOW_DISABLE_TELEMETRY
  value: "true"
{{- if .Values.caBundle.existingConfigMap }}
{{- range list "AWS_CA_BUNDLE" "REQUESTS_CA_BUNDLE" "SSL_CERT_FILE" "PGSSLROOTCERT" }}
- name: {{ . }}
  value: /etc/longtail/ca/{{ $.Values.caBundle.key }}
{{- end }}
{{- end }}
{{- end -}}

{{/* One variable from a Secret: (list "NAME" "secret" "key"). */}}
{{- define "longtail.secretEnv" -}}
- name: {{ index . 0 }}
  valueFrom:
    secretKeyRef:
      name: {{ index . 1 }}
      key: {{ index . 2 }}
{{- end -}}

{{- define "longtail.databaseEnv" -}}
{{- if include "longtail.sqlite" . -}}
- name: MLFLOW_BACKEND_STORE_URI
  value: sqlite:////data/mlflow.db
{{- else -}}
{{ include "longtail.secretEnv" (list "MLFLOW_BACKEND_STORE_URI" .Values.database.existingSecret .Values.database.key) }}
{{- end }}
{{- end -}}

{{- define "longtail.s3Env" -}}
{{- with .Values.s3.endpoint }}
- name: AWS_ENDPOINT_URL
  value: {{ . | quote }}
{{- end }}
{{- with .Values.s3.region }}
- name: AWS_DEFAULT_REGION
  value: {{ . | quote }}
{{- end }}
{{- with .Values.s3.existingSecret }}
{{ include "longtail.secretEnv" (list "AWS_ACCESS_KEY_ID" . "access-key-id") }}
{{ include "longtail.secretEnv" (list "AWS_SECRET_ACCESS_KEY" . "secret-access-key") }}
{{- end }}
{{- end -}}

{{- define "longtail.clientEnv" -}}
- name: MLFLOW_TRACKING_URI
  value: {{ include "longtail.trackingUri" . }}
{{- $secret := default .Values.mlflow.auth.admin.existingSecret .Values.mlflow.auth.client.existingSecret }}
{{ include "longtail.secretEnv" (list "MLFLOW_TRACKING_USERNAME" $secret "username") }}
{{ include "longtail.secretEnv" (list "MLFLOW_TRACKING_PASSWORD" $secret "password") }}
{{- end -}}

{{- define "longtail.adminEnv" -}}
{{ include "longtail.secretEnv" (list "MLFLOW_AUTH_ADMIN_USERNAME" .Values.mlflow.auth.admin.existingSecret "username") }}
{{ include "longtail.secretEnv" (list "MLFLOW_AUTH_ADMIN_PASSWORD" .Values.mlflow.auth.admin.existingSecret "password") }}
{{- end -}}

{{/* A script of files/ as a container's command: a hook that runs before the first object exists can mount none. */}}
{{- define "longtail.script" -}}
command: [python, -c]
args:
  - |
{{ index . 1 | printf "files/%s" | (index . 0).Files.Get | indent 4 }}
{{- end -}}

{{/* What the pods of a submission have: (list $ command arguments). */}}
{{- define "longtail.submission" -}}
{{- $root := index . 0 -}}
{{- $kfp := $root.Values.kfp -}}
restartPolicy: Never
serviceAccountName: {{ include "longtail.fullname" $root }}-submission
{{ include "longtail.pod" $root }}
containers:
  - name: submission
    {{- include "longtail.container" $root | nindent 4 }}
    command: [longtail]
    args: {{- toYaml (index . 1) | nindent 6 }}
    env:
      {{- include "longtail.env" $root | nindent 6 }}
      - name: LONGTAIL_HOME
        value: /tmp/longtail
      {{- if $root.Values.retraining.model }}
      {{- include "longtail.clientEnv" $root | nindent 6 }}
      {{- end }}
      {{- include "longtail.s3Env" $root | nindent 6 }}
      - name: LONGTAIL_KFP_HOST
        value: {{ $kfp.host | quote }}
      {{- with $kfp.namespace }}
      - name: LONGTAIL_KFP_NAMESPACE
        value: {{ . }}
      {{- end }}
      {{- if $root.Values.caBundle.existingConfigMap }}
      - name: LONGTAIL_KFP_CA
        value: /etc/longtail/ca/{{ $root.Values.caBundle.key }}
      {{- end }}
      {{- if eq $kfp.auth "secret" }}
      {{- include "longtail.secretEnv" (list "KFP_TOKEN" $kfp.existingSecret "token") | nindent 6 }}
      {{- else if eq $kfp.auth "serviceAccount" }}
      - name: KF_PIPELINES_SA_TOKEN_PATH
        value: /var/run/secrets/kubeflow/pipelines/token
      {{- end }}
      - name: LONGTAIL_POLICY
        value: /etc/longtail/policy/policy.yaml
    resources: {{- toYaml $root.Values.retraining.resources | nindent 6 }}
    volumeMounts:
      {{- include "longtail.mounts" $root | nindent 6 }}
      {{- if eq $kfp.auth "serviceAccount" }}
      - name: kfp-token
        mountPath: /var/run/secrets/kubeflow/pipelines
        readOnly: true
      {{- end }}
      - name: policy
        mountPath: /etc/longtail/policy
        readOnly: true
volumes:
  {{- include "longtail.volumes" $root | nindent 2 }}
  {{- if eq $kfp.auth "serviceAccount" }}
  - name: kfp-token
    projected:
      sources:
        - serviceAccountToken:
            path: token
            audience: pipelines.kubeflow.org
            expirationSeconds: 3600
  {{- end }}
  - name: policy
    configMap:
      name: {{ include "longtail.fullname" $root }}-policy
{{- end -}}

{{/* The settings of a run, as arguments. */}}
{{- define "longtail.settings" -}}
{{- with .Values.retraining -}}
{{- $arguments := list "--preset" .preset -}}
{{- if .data }}{{ $arguments = concat $arguments (list "--data" .data) }}{{ end -}}
{{- range .set }}{{ $arguments = concat $arguments (list "--set" .) }}{{ end -}}
{{- toYaml $arguments -}}
{{- end -}}
{{- end -}}
