//! Decoding of the spec of a database.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::database::{
    AccessSpec, AllowedProject, BackupConfig, Bootstrap, DatabaseSpec, Drift, Restore, StorageSpec,
    Version,
};
use crate::decode::{Decode, Fields, Input, Scalar};
use crate::limits;
use crate::names::{ExtensionName, ParameterName};
use crate::problems::{Code, error, one_of, quote};
use crate::syntax::Span;
use crate::target::{LONGEST_POINT, LogPosition, RestoreTarget};

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
            drift: fields.optional("drift"),
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

impl Decode for Drift {
    fn decode(input: Input<'_>) -> Option<Self> {
        let text = input.string()?;
        let found = match text {
            "correct" => Some(Self::Correct),
            "report" => Some(Self::Report),
            _ => None,
        };
        if found.is_none() {
            let message = format!("{} is neither `correct` nor `report`", quote(text));
            input.report(error(Code::UnknownValue, message).hint(
                "Write `correct` to have changes by hand put right, `report` to be told of them only.",
            ));
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
        let targets = [
            (
                "targetTime",
                fields.optional("targetTime").map(RestoreTarget::Time),
            ),
            (
                "targetLsn",
                fields.optional("targetLsn").map(RestoreTarget::Position),
            ),
            (
                "targetName",
                fields
                    .with("targetName", restore_point)
                    .map(RestoreTarget::Point),
            ),
            (
                "targetBackup",
                fields
                    .with("targetBackup", label)
                    .map(RestoreTarget::Backup),
            ),
        ];
        let timeline = fields.with("timeline", |timeline| timeline.number(&limits::TIMELINE));
        let instance = fields.with("instance", instance);
        let repository = fields.optional("repository");
        fields.finish();
        if repository.is_some() && instance.is_none() {
            let message = "`repository` stands beside `instance` only";
            input.report(error(Code::ConflictingFields, message).hint(
                "Take it away: the backups of a database that is there are where it is backed up to.",
            ));
        }
        Some(Self {
            instance,
            repository,
            target: one_target(input, targets),
            database: database?,
            timeline,
        })
    }
}

/// The one target that is written; each further one is reported.
fn one_target(
    input: Input<'_>,
    targets: [(&str, Option<RestoreTarget>); 4],
) -> Option<RestoreTarget> {
    let mut written = targets
        .into_iter()
        .filter_map(|(name, target)| Some((name, target?)));
    let (first, target) = written.next()?;
    for (name, _) in written {
        let entry = input.node.entries().iter();
        let mut keys = entry.filter(|(key, _)| key.text() == Some(name));
        let message = format!("`{name}` cannot stand beside `{first}`");
        let problem = error(Code::ConflictingFields, message)
            .hint("Keep one of them: a database is restored to one moment.");
        let at = keys.next().map_or(input.node.span, |(key, _)| key.span);
        input.context.report(problem, at);
    }
    Some(target)
}

/// The name of a restore point; PostgreSQL cuts off what is longer.
fn restore_point(value: Input<'_>) -> Option<String> {
    let text = setting_text(value)?;
    if text.is_empty() || text.len() > LONGEST_POINT {
        let message = format!(
            "`{}` has {} bytes, 1 to {LONGEST_POINT} are possible",
            value.path(),
            text.len()
        );
        value.report(
            error(Code::OutOfRange, message)
                .hint("Write the name that `pg_create_restore_point` was given."),
        );
        return None;
    }
    Some(text)
}

/// The id of an instance.
fn instance(value: Input<'_>) -> Option<Uuid> {
    let text = setting_text(value)?;
    let id = Uuid::parse_str(&text);
    if id.is_err() {
        let message = format!("`{}` is not an id: {}", value.path(), quote(&text));
        value.report(
            error(Code::InvalidText, message)
                .hint("`boma backup list --repository NAME` shows the ids."),
        );
    }
    id.ok()
}

fn label(value: Input<'_>) -> Option<String> {
    setting_text(value)
}

impl Decode for LogPosition {
    fn decode(input: Input<'_>) -> Option<Self> {
        let position = input.string()?.parse::<Self>();
        if let Err(cause) = &position {
            let problem = error(Code::InvalidText, cause.to_string());
            input.report(problem.hint(
                "Write it as `pg_current_wal_lsn()` shows it: two hexadecimal numbers with a slash.",
            ));
        }
        position.ok()
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
