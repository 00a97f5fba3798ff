use super::*;

#[test]
fn what_hangs_on_an_option_is_under_its_value() {
    let files = chart();
    let all: String = files.values().map(String::as_str).collect();
    assert!(!all.contains("no value says"), "{all}");
    for mark in ["(image)", "(git)", "(config)", &REPLICAS.to_string()] {
        assert!(!all.contains(mark), "{mark}");
    }
    assert!(!files.contains_key("templates/namespace.yaml"));
    let deployment = &files["templates/deployment.yaml"];
    let repositories = "
        {{- range .Values.sources.git }}
        - {{ . | toJson }}
        {{- end }}
        - \"--branch\"
";
    assert!(deployment.contains(repositories), "{deployment}");
    let webhook = &files["templates/validatingwebhookconfiguration.yaml"];
    let condition = "\n{{- if .Values.sources.customResources }}\n---\n";
    assert!(webhook.contains(condition), "{webhook}");
    let role = &files["templates/clusterrole.yaml"];
    let both = "{{- if and .Values.sources.customResources .Values.dashboard }}";
    assert!(role.contains(both), "{role}");
}
