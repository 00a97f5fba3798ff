//! The Helm chart: the objects of an installation, with values in the places of options.
//!
//! ```text
//!   each combination of switches ─► InstallOptions::objects ─► what is in all of them
//!                                                              what differs, under its switches
//! ```
//!
//! Nothing is described twice: a chart says what `install` applies, because it is asked.

mod template;

use std::collections::BTreeMap;

use serde_json::Value;

use self::template::{Place, Setting, Switch};
use super::{InstallOptions, InstalledDashboard, InstalledSource};
use crate::names;

/// What decides in the chart whether something is there.
const SWITCHES: [Switch; 7] = [
    Switch(".Values.sources.customResources"),
    Switch(".Values.sources.configMap"),
    Switch(".Values.sources.git"),
    Switch(".Values.sources.path"),
    Switch(".Values.pullSecrets"),
    Switch(".Values.dashboard"),
    Switch("(dig \"dashboard\" \"behind-proxy\" false .Values.config)"),
];
const CUSTOM_RESOURCES: usize = 0;
const CONFIG_MAP: usize = 1;
const GIT: usize = 2;
const PATH: usize = 3;
const PULL_SECRETS: usize = 4;
const DASHBOARD: usize = 5;
const BEHIND_PROXY: usize = 6;

/// Stands in names, which a namespace's own cannot break.
const NAMESPACE: &str = "{{ .Release.Namespace }}";
/// A count that nobody asks for.
const REPLICAS: u32 = u32::MAX;

/// Files of the chart that no object is in.
const WRITTEN: [(&str, &str); 4] = [
    (
        "templates/NOTES.txt",
        include_str!("../../../../charts/boma/templates/NOTES.txt"),
    ),
    (
        "templates/_config.tpl",
        include_str!("../../../../charts/boma/templates/_config.tpl"),
    ),
    (
        "values.schema.json",
        include_str!("../../../../charts/boma/values.schema.json"),
    ),
    (
        "values.yaml",
        include_str!("../../../../charts/boma/values.yaml"),
    ),
];

/// The chart of this version by path, but for the definitions of custom resources.
pub fn chart() -> BTreeMap<String, String> {
    let written = WRITTEN.map(|(path, text)| (path.to_owned(), text.to_owned()));
    let mut files = BTreeMap::from(written);
    files.insert("Chart.yaml".to_owned(), description());
    let settings: Vec<(Setting, Vec<Value>)> = Setting::all(SWITCHES.len())
        .map(|setting| (setting, options(setting).objects()))
        .collect();
    let lists = settings
        .iter()
        .map(|(setting, objects)| (*setting, objects.as_slice()));
    let universe: Vec<Setting> = settings.iter().map(|(setting, _)| *setting).collect();
    let places = places();
    for variants in template::aligned(lists) {
        let Some(kind) = variants.first().and_then(|one| one.value["kind"].as_str()) else {
            continue;
        };
        // Helm makes it, and Boma writes its labels when it first runs.
        if kind == "Namespace" {
            continue;
        }
        let text = template::document(&SWITCHES, &places, &universe, &variants);
        let path = format!("templates/{}.yaml", kind.to_lowercase());
        let file = files.entry(path).or_insert_with(|| {
            "{{- /* Written by `cargo xtask generate`; do not edit. */ -}}\n".to_owned()
        });
        file.push_str(&text);
    }
    files
}

fn description() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "# Written by `cargo xtask generate`; do not edit.
apiVersion: v2
name: boma
description: Managed PostgreSQL from manifests
type: application
version: {version}
appVersion: \"{version}\"
# Older API servers refuse the rules in the definitions of custom resources.
kubeVersion: \">=1.25.0-0\"
"
    )
}

/// An installation with marks in the places of what values say.
fn options(setting: Setting) -> InstallOptions {
    let mark = |name: &str| format!("({name})");
    let mut sources = Vec::new();
    if setting.has(CUSTOM_RESOURCES) {
        sources.push(InstalledSource::CustomResources);
    }
    if setting.has(CONFIG_MAP) {
        sources.push(InstalledSource::ConfigMap(mark("configMap")));
    }
    if setting.has(GIT) {
        sources.push(InstalledSource::Git(vec![mark("git")]));
        let path = setting.has(PATH).then(|| mark("path"));
        sources.push(InstalledSource::flags(&mark("branch"), path.as_deref()));
    }
    let reach = if setting.has(BEHIND_PROXY) {
        InstalledDashboard::BehindProxy
    } else {
        InstalledDashboard::Forwarded
    };
    let pull_secrets = setting.has(PULL_SECRETS).then(|| mark("pullSecret"));
    InstallOptions {
        namespace: NAMESPACE.to_owned(),
        image: mark("image"),
        pull_secrets: pull_secrets.into_iter().collect(),
        replicas: REPLICAS,
        sources,
        dashboard: setting.has(DASHBOARD).then_some(reach),
        config: mark("config"),
    }
}

/// What stands in the places of the marks.
fn places() -> Vec<Place> {
    let one = |mark: &str, text: &'static str| Place {
        mark: Value::from(format!("({mark})")),
        each: None,
        text,
    };
    let each = |mark: &str, list: &'static str| Place {
        each: Some(list),
        ..one(mark, "{{ . | toJson }}")
    };
    let digest = names::digest_of(b"(config)");
    vec![
        one("image", "{{ include \"boma.image\" . | toJson }}"),
        one("configMap", "{{ .Values.sources.configMap | toJson }}"),
        one("branch", "{{ .Values.sources.branch | toJson }}"),
        one("path", "{{ .Values.sources.path | toJson }}"),
        one("config", "{{ include \"boma.config\" . | toJson }}"),
        each("git", ".Values.sources.git"),
        each("pullSecret", ".Values.pullSecrets"),
        Place {
            mark: Value::from(REPLICAS),
            each: None,
            text: "{{ int .Values.replicas }}",
        },
        Place {
            mark: Value::from(digest),
            each: None,
            text: "{{ include \"boma.config\" . | sha256sum | trunc 32 | quote }}",
        },
    ]
}

#[cfg(test)]
mod tests;
