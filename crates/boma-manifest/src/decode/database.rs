//! Decoding of the spec of a database.

use std::collections::{BTreeMap, BTreeSet};

use crate::database::{
    AccessSpec, AllowedProject, BackupConfig, Bootstrap, DatabaseSpec, Restore, StorageSpec,
    Version,
};
use crate::decode::{Decode, Fields, Input, Scalar};
use crate::limits;
use crate::names::{ExtensionName, ParameterName};
use crate::problems::{Code, error, one_of, quote};
use crate::syntax::Span;

impl Decode for DatabaseSpec {
    fn decode(input: Input<'_>) -> Option<Self> {
        let mut fields = Fields::of(input)?;
        let spec = Self {
            version: fields.optional("version"),
            plan: fields.optional("plan"),
            cpu_count: fields.optional("cpuCount"),
            memory: fields.with("memory", |memory| memory.quantity(&limits::MEMORY)),
            storage: fields.optional("storage"),
            cluster_size: fields.with("clusterSize", |size| size.number(&limits::CLUSTER_SIZE)),
            backup_config: fields.optional("backupConfig"),
            parameters: fields.with("parameters", parameters).unwrap_or_default(),
            extensions: fields.with("extensions", extensions).unwrap_or_default(),
            suspended: fields.optional("suspended"),
            deletion_protection: fields.optional("deletionProtection"),
            bootstrap: fields.optional("bootstrap"),
            access: fields.optional("access"),
        };
        fields.finish();
        Some(spec)
    }
}

impl Decode for Version {
    fn decode(input: Input<'_>) -> Option<Self> {
        let Some(Scalar::Number(text) | Scalar::Text(text)) = input.scalar() else {
            input.wrong_type(
                "a PostgreSQL version",
                "Write a major version, such as `\"17\"`.",
            );
            return None;
        };
        let found = Self::ALL
            .into_iter()
            .find(|version| version.as_str() == text);
        if found.is_none() {
            let known = one_of(Self::ALL.map(Self::as_str));
            // "17.2" means 17: minor versions follow from what is installed.
            let major = text.split('.').next().unwrap_or_default();
            let meant = Self::ALL
                .into_iter()
                .find(|version| version.as_str() == major);
            let message = format!("PostgreSQL {} is not one of {known}", quote(text));
            let problem = error(Code::UnknownValue, message);
            input.report(match meant {
                Some(version) => problem.hint(format!(
                    "Write the major version only: `\"{version}\"`. Minor versions follow from what is installed."
                )),
                None => problem.hint(format!("Write {known}.")),
            });
        }
        found
    }
}

impl Decode for StorageSpec {
    fn decode(input: Input<'_>) -> Option<Self> {
        let mut fields = Fields::around(input, "size")?;
        let spec = Self {
            size: fields.with("size", |size| size.quantity(&limits::STORAGE)),
            class: fields.optional("class"),
        };
        fields.finish();
        Some(spec)
    }
}

impl Decode for BackupConfig {
    fn decode(input: Input<'_>) -> Option<Self> {
        let mut fields = Fields::of(input)?;
        let config = Self {
            enabled: fields.optional("enabled"),
            schedule: fields.optional("schedule"),
            retention_days: fields
                .with("retentionDays", |days| days.number(&limits::RETENTION_DAYS)),
            point_in_time_recovery: fields.optional("pointInTimeRecovery"),
            archive_interval_seconds: fields.with("archiveIntervalSeconds", |seconds| {
                seconds.number(&limits::ARCHIVE_INTERVAL)
            }),
            repository: fields.optional("repository"),
        };
        fields.finish();
        Some(config)
    }
}

/// PostgreSQL settings as texts: `200`, `1.1` and `true` need no quotes. PostgreSQL does not
/// distinguish names by case, so they are kept in lower case.
fn parameters(input: Input<'_>) -> Option<BTreeMap<ParameterName, String>> {
    let parameters = input.map(|value, name| {
        let name = value.read_name::<ParameterName>(&name.to_ascii_lowercase());
        let value = match value.scalar() {
            Some(Scalar::Bool(true)) => Some("on".to_owned()),
            Some(Scalar::Bool(false)) => Some("off".to_owned()),
            Some(Scalar::Number(text)) => Some(text.to_owned()),
            _ => setting_text(value),
        };
        Some((name?, value?))
    })?;
    if parameters.len() < input.node.entries().len() {
        report_same_setting(input);
    }
    Some(parameters)
}

/// Reports settings whose names differ by case only.
fn report_same_setting(input: Input<'_>) {
    let mut seen = BTreeMap::new();
    for (key, _) in input.node.entries() {
        let name = key.text().unwrap_or_default();
        let Some(before) = seen.insert(name.to_ascii_lowercase(), key) else {
            continue;
        };
        if before.text() == Some(name) {
            continue; // reported as the same key already
        }
        let message = format!("parameter {} is set twice", quote(name));
        let problem = error(Code::DuplicateKey, message)
            .hint("Keep one of them: PostgreSQL does not distinguish names by case.");
        input.context.report_again(problem, key.span, before.span);
    }
}

/// A setting stands on one line of a configuration file.
fn setting_text(value: Input<'_>) -> Option<String> {
    let text = value.string()?;
    match text.chars().find(|character| character.is_control()) {
        None => Some(text.to_owned()),
        odd => {
            value.invalid_text(odd);
            None
        }
    }
}

/// Extensions, each once.
fn extensions(input: Input<'_>) -> Option<BTreeSet<ExtensionName>> {
    let names = Vec::<ExtensionName>::decode(input)?;
    let mut seen: BTreeMap<ExtensionName, Span> = BTreeMap::new();
    for (name, node) in names.into_iter().zip(input.node.items()) {
        let message = format!("extension {} stands here twice", quote(name.as_str()));
        if let Some(first) = seen.insert(name, node.span) {
            let problem = error(Code::DuplicateKey, message).hint("Keep one of them.");
            input.context.report_again(problem, node.span, first);
        }
    }
    Some(seen.into_keys().collect())
}

impl Decode for Bootstrap {
    fn decode(input: Input<'_>) -> Option<Self> {
        let mut fields = Fields::of(input)?;
        let restore = fields.optional("restore");
        fields.finish();
        Some(Self { restore })
    }
}

impl Decode for Restore {
    fn decode(input: Input<'_>) -> Option<Self> {
        let mut fields = Fields::around(input, "database")?;
        let database = fields.required("database", "accounts-db");
        let target_time = fields.optional("targetTime");
        fields.finish();
        Some(Self {
            database: database?,
            target_time,
        })
    }
}

impl Decode for AccessSpec {
    fn decode(input: Input<'_>) -> Option<Self> {
        let mut fields = Fields::of(input)?;
        let projects = fields.optional("projects");
        fields.finish();
        Some(Self {
            projects: projects.unwrap_or_default(),
        })
    }
}

impl Decode for AllowedProject {
    fn decode(input: Input<'_>) -> Option<Self> {
        let mut fields = Fields::around(input, "project")?;
        let organization = fields.optional("organization");
        let organizational_unit = fields.optional("organizational-unit");
        let environment = fields.optional("environment");
        let project = fields.required("project", "login-svc");
        fields.finish();
        Some(Self {
            organization,
            organizational_unit,
            environment,
            project: project?,
        })
    }
}
