{{/* Name of the operator's objects: the release's name, which tells the product if it can. */}}
{{- define "thinkscale.fullname" -}}
{{- if contains "thinkscale" .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-thinkscale" .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What selects the operator's pods: few labels, and never changed. */}}
{{- define "thinkscale.selectorLabels" -}}
app.kubernetes.io/name: thinkscale
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{/* Labels of every object of the chart. */}}
{{- define "thinkscale.labels" -}}
{{ include "thinkscale.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The image of operator and gateways. */}}
{{- define "thinkscale.image" -}}
{{- if not .Values.image.repository -}}
{{- fail "\n\nimage.repository is required: no image of thinkscale is published.\nBuild one from the repository and push it where your nodes can pull it:\n\n  docker build -f Containerfile -t REGISTRY/thinkscale:TAG .     (or: podman build, buildah build)\n  docker push REGISTRY/thinkscale:TAG\n\nthen: --set image.repository=REGISTRY/thinkscale --set image.tag=TAG\n" -}}
{{- end -}}
{{- $tagged := printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $tagged .Values.image.digest -}}
{{- else -}}
{{- $tagged -}}
{{- end -}}
{{- end -}}
