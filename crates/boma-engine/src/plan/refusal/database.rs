//! Databases that cannot be made or changed as asked.

use std::collections::BTreeSet;

use boma_instance::MajorVersion;
use boma_problem::{Class, IntoProblem, Place, Problem};
use jiff::Timestamp;

use super::restore;
use crate::catalog::{Database, refused_parameters};
use crate::observed::{
    Capabilities, Feature, Judgement, Observed, ObservedDatabase, ServerBuild, SettingValue,
};
use crate::plan::words::Bytes;

/// Why a database cannot be made or changed as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseRefusal {
    /// This platform has no PostgreSQL at all.
    #[error("there is no PostgreSQL {platform}")]
    NoPostgres {
        /// "on this machine".
        platform: String,
        /// Where it was looked for.
        searched: Vec<String>,
    },
    /// This platform does not have the version.
    #[error("PostgreSQL {version} is not installed {platform}")]
    VersionMissing {
        /// Which one is needed.
        version: MajorVersion,
        /// Whether an existing database needs it, whose version is fixed.
        is_fixed: bool,
        /// "on this machine".
        platform: String,
        /// What is installed.
        installed: Vec<MajorVersion>,
        /// Where it was looked for.
        searched: Vec<String>,
    },
    /// Another major version than the data has.
    #[error("the database has PostgreSQL {from}; its major version cannot be changed to {to}")]
    VersionChanged {
        /// What it has.
        from: MajorVersion,
        /// What the manifest says.
        to: MajorVersion,
    },
    /// Less storage than before.
    #[error("storage cannot shrink from {} to {}", Bytes(*.from), Bytes(*.to))]
    StorageShrunk {
        /// Bytes that it has.
        from: u64,
        /// Bytes that the manifest says.
        to: u64,
    },
    /// Another class than its volume is of.
    #[error(
        "the volume is of storage class {from:?}, and a volume's class cannot be changed to {to:?}"
    )]
    StorageClassChanged {
        /// What it is of.
        from: String,
        /// What the manifest says.
        to: String,
    },
    /// An extension that the server does not have.
    #[error("PostgreSQL {version} {platform} has no extension {name:?}")]
    UnknownExtension {
        /// Its name.
        name: String,
        /// The server's major version.
        version: MajorVersion,
        /// "on this machine".
        platform: String,
        /// The nearest name that it has.
        nearest: Option<String>,
    },
    /// A value that the server does not take.
    #[error("PostgreSQL {version} refuses `{name} = {value}`: {reason}")]
    SettingRefused {
        /// The setting.
        name: String,
        /// Its value.
        value: String,
        /// The server's major version.
        version: MajorVersion,
        /// What the server says.
        reason: String,
    },
    /// A repository that this platform does not have.
    #[error("there is no repository {name:?} {platform}")]
    UnknownRepository {
        /// Its name.
        name: String,
        /// "on this machine".
        platform: String,
        /// Those that there are.
        known: BTreeSet<String>,
    },
    /// A part of the manifest that this platform does not act on.
    #[error("not supported {platform} yet: {what}")]
    NotSupported {
        /// "on this machine".
        platform: String,
        /// Which part.
        what: &'static str,
    },
}

impl IntoProblem for DatabaseRefusal {
    fn problem(&self) -> Problem {
        let user = |code| Problem::new(Class::User, code, self.to_string());
        let config = |code| Problem::new(Class::Config, code, self.to_string());
        match self {
            Self::NoPostgres { searched, .. } => searched_in(
                config("postgres-missing").hint("Install PostgreSQL 15, 16, 17 or 18."),
                searched,
            ),
            Self::VersionMissing {
                version,
                is_fixed,
                installed,
                searched,
                ..
            } => {
                let mut problem = config("postgres-version-missing")
                    .hint(format!("Install PostgreSQL {version}."));
                if !is_fixed && !installed.is_empty() {
                    let installed: Vec<String> = installed
                        .iter()
                        .map(|one| format!("`{:?}`", one.to_string()))
                        .collect();
                    let installed = installed.join(", ");
                    problem =
                        problem.hint(format!("Or ask for one that is installed: {installed}."));
                }
                searched_in(problem, searched)
            }
            Self::VersionChanged { from, .. } => user("version-changed")
                .hint(format!("Write `version: \"{from}\"`, or leave it out."))
                .hint("To move to another version, make another database and copy the data there."),
            Self::StorageShrunk { from, .. } => {
                user("storage-shrunk").hint(format!("Write `size: {}` or more.", Bytes(*from)))
            }
            Self::StorageClassChanged { from, .. } => user("storage-class-changed")
                .hint(format!("Write `class: {from}`, or leave it out."))
                .hint(
                    "To move to another class, make another database of that class out of this one's \
                     backups: `boma restore DATABASE --as NEW`.",
                )
                .hint(
                    "Where no volume was ever made, and `kubectl get persistentvolumeclaim` says \
                     `Pending`: delete the claim with kubectl. Boma makes it anew, of the class that \
                     the manifest says.",
                ),
            Self::UnknownExtension {
                nearest, version, ..
            } => {
                let problem = user("unknown-extension");
                let problem = match nearest {
                    Some(name) => problem.hint(format!("Did you mean `{name}`?")),
                    None => problem,
                };
                problem.hint(format!("Install the extension for PostgreSQL {version}."))
            }
            Self::SettingRefused { name, .. } => {
                user("setting-refused").hint(format!("Change the value of `{name}`."))
            }
            Self::UnknownRepository { known, .. } => {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                config("repository-unknown")
                    .hint(format!("There is: {}.", known.join(", ")))
                    .hint("docs/operations.md says how to add one.")
            }
            Self::NotSupported { .. } => {
                user("not-supported").hint("Take it out of the manifest until it is.")
            }
        }
    }
}

fn searched_in(problem: Problem, searched: &[String]) -> Problem {
    if searched.is_empty() {
        return problem;
    }
    problem.hint(format!("Looked for it in {}.", searched.join(", ")))
}

/// Everything about a database that cannot be done.
pub(in crate::plan) fn of_database(
    want: &Database,
    seen: Option<&ObservedDatabase>,
    world: &Observed,
    now: Timestamp,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let capabilities = &world.capabilities;
    let mut refuse = |refusal: DatabaseRefusal, place: Place| {
        problems.push(refusal.problem().at(place));
    };
    for (is_asked, feature, what, field) in features(want) {
        if is_asked && !capabilities.features.contains(&feature) {
            let platform = capabilities.platform.clone();
            refuse(
                DatabaseRefusal::NotSupported { platform, what },
                want.place(field),
            );
        }
    }
    if let Some(backup) = &want.backup.spec
        && capabilities.features.contains(&Feature::Backups)
        && !capabilities.repositories.contains(&backup.repository)
    {
        let unknown = DatabaseRefusal::UnknownRepository {
            name: backup.repository.clone(),
            platform: capabilities.platform.clone(),
            known: capabilities.repositories.clone(),
        };
        refuse(unknown, want.place("spec.backupConfig.repository"));
    }
    let current = seen.and_then(|seen| seen.spec.as_ref());
    if let Some(current) = current {
        let (from, to) = (
            current.resources.storage_bytes,
            want.resources.storage_bytes,
        );
        if to < from {
            refuse(
                DatabaseRefusal::StorageShrunk { from, to },
                want.place("spec.storage.size"),
            );
        }
    }
    if let Some((from, to)) = other_class(want, seen) {
        let (from, to) = (from.to_owned(), to.to_owned());
        refuse(
            DatabaseRefusal::StorageClassChanged { from, to },
            want.place("spec.storage.class"),
        );
    }
    let fixed = current.map(|spec| spec.version);
    let inherited = || restored_version(want, world).filter(|_| want.version.is_none());
    match build(want, fixed.or_else(inherited), capabilities) {
        Err(refusal) => refuse(*refusal, want.place("spec.version")),
        Ok(build) => {
            for name in want.extensions.difference(&build.extensions) {
                let refusal = unknown_extension(name, build, &capabilities.platform);
                refuse(refusal, want.place("spec.extensions"));
            }
            if current.is_none_or(|current| current.parameters != want.parameters) {
                let refused = refused_parameters(&want.parameters, &build.parameters, &want.origin);
                if refused.is_empty() {
                    problems.extend(refused_values(want, build.major, world));
                }
                problems.extend(refused);
            }
        }
    }
    if let Some(restore) = &want.restore
        && current.is_none()
        && capabilities.features.contains(&Feature::Restore)
        && let Err(refusal) = restore::check(want, restore, (world, now))
    {
        problems.push(refusal.problem().at(want.place("spec.bootstrap.restore")));
    }
    problems
}

/// The class that the volume is of and the one that is asked for, where they differ.
fn other_class<'a>(
    want: &'a Database,
    seen: Option<&'a ObservedDatabase>,
) -> Option<(&'a str, &'a str)> {
    let classes = (
        seen?.storage_class.as_deref()?,
        want.storage_class.as_deref()?,
    );
    (classes.0 != classes.1).then_some(classes)
}

/// What the server itself has said against values.
fn refused_values(
    want: &Database,
    version: MajorVersion,
    world: &Observed,
) -> impl Iterator<Item = Problem> {
    let judged = world.capabilities.judged.as_ref();
    let settings = settings(want, version);
    settings.filter_map(move |setting| {
        let Judgement::Refused(reason) = judged?.get(&setting)? else {
            return None;
        };
        let place = want.place(&format!("spec.parameters.{}", setting.name));
        let refusal = DatabaseRefusal::SettingRefused {
            name: setting.name,
            value: setting.value,
            version,
            reason: reason.clone(),
        };
        Some(refusal.problem().at(place))
    })
}

/// The settings that a database asks for, on a server of this version.
pub(in crate::plan) fn settings(
    want: &Database,
    major: MajorVersion,
) -> impl Iterator<Item = SettingValue> {
    want.parameters
        .iter()
        .map(move |(name, value)| SettingValue {
            major,
            name: name.clone(),
            value: value.clone(),
        })
}

fn features(want: &Database) -> [(bool, Feature, &'static str, &'static str); 4] {
    [
        (
            want.cluster_size > 1,
            Feature::Standbys,
            "more than one instance in a cluster",
            "spec.clusterSize",
        ),
        (
            want.storage_class.is_some(),
            Feature::StorageClasses,
            "storage classes",
            "spec.storage.class",
        ),
        (
            want.backup.is_explicit,
            Feature::Backups,
            "backups",
            "spec.backupConfig.enabled",
        ),
        (
            want.restore.is_some(),
            Feature::Restore,
            "a restore from backups",
            "spec.bootstrap.restore",
        ),
    ]
}

/// The major version of the backups that it is made from.
pub(in crate::plan) fn restored_version(want: &Database, world: &Observed) -> Option<MajorVersion> {
    let restore = want.restore.as_ref()?;
    if restore.put_away.is_some() {
        return None;
    }
    let source = world.databases.get(&restore.database)?;
    source.spec.as_ref().map(|spec| spec.version)
}

/// The PostgreSQL that it runs on, or is going to.
fn build<'w>(
    want: &Database,
    fixed: Option<MajorVersion>,
    capabilities: &'w Capabilities,
) -> Result<&'w ServerBuild, Box<DatabaseRefusal>> {
    if let (Some(from), Some(to)) = (fixed, want.version)
        && from != to
    {
        return Err(Box::new(DatabaseRefusal::VersionChanged { from, to }));
    }
    let platform = || capabilities.platform.clone();
    let searched = || capabilities.searched.clone();
    let mut builds = capabilities.servers.iter();
    let Some(version) = fixed.or(want.version) else {
        let newest = builds.max_by_key(|build| build.major);
        return newest.ok_or_else(|| {
            let (platform, searched) = (platform(), searched());
            Box::new(DatabaseRefusal::NoPostgres { platform, searched })
        });
    };
    builds.find(|build| build.major == version).ok_or_else(|| {
        Box::new(DatabaseRefusal::VersionMissing {
            version,
            is_fixed: fixed.is_some(),
            platform: platform(),
            installed: capabilities
                .servers
                .iter()
                .map(|build| build.major)
                .collect(),
            searched: searched(),
        })
    })
}

fn unknown_extension(name: &str, build: &ServerBuild, platform: &str) -> DatabaseRefusal {
    DatabaseRefusal::UnknownExtension {
        name: name.to_owned(),
        version: build.major,
        platform: platform.to_owned(),
        nearest: nearest(name, &build.extensions),
    }
}

/// The nearest of some names, if one is near enough to be a slip of the finger.
fn nearest(name: &str, names: &BTreeSet<String>) -> Option<String> {
    let near = names
        .iter()
        .map(|other| (strsim::osa_distance(name, other), other));
    let (distance, other) = near.min()?;
    (distance <= name.chars().count() / 3).then(|| other.clone())
}
