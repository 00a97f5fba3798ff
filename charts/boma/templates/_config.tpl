{{- /* The image that holds the program. */ -}}
{{- define "boma.image" -}}
{{ .Values.image | default (printf "boma:%s" .Chart.AppVersion) }}
{{- end -}}

{{- /* `config.toml`: what `config` says, and what other values say of the installation. */ -}}
{{- define "boma.config" -}}
{{- $own := dict "namespace" .Release.Namespace "image" (include "boma.image" .) "pull-secrets" .Values.pullSecrets -}}
{{- range $key, $value := merge (dict "kubernetes" $own) (deepCopy .Values.config) -}}
{{ $key }} = {{ include "boma.toml" $value }}
{{ end -}}
{{- end -}}

{{- /* A value in TOML. Texts, numbers and truths are written as in JSON: `toToml` would make 2.0 of 2. */ -}}
{{- define "boma.toml" -}}
{{- if kindIs "map" . -}}
{ {{- range $place, $key := keys . | sortAlpha }}{{ if $place }}, {{ end }}{{ $key | toJson }} = {{ include "boma.toml" (index $ $key) }}{{ end -}} }
{{- else if kindIs "slice" . -}}
[ {{- range $place, $value := . }}{{ if $place }}, {{ end }}{{ include "boma.toml" $value }}{{ end -}} ]
{{- else -}}
{{ toJson . }}
{{- end -}}
{{- end -}}
