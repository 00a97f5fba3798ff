//! From one manifest to one entry of the catalog.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use boma_instance::backup::{BackupSpec, RecoveryTarget};
use boma_instance::settings::{self, ServerParameters};
use boma_instance::wal::{Lsn, Timeline};
use boma_instance::{Access, Drift, InstanceId, MajorVersion, Resources, names};
use boma_manifest::{
    ApplicationId, ApplicationSpec, Command, DatabaseGrant, DatabaseId, EnvValue, Origin,
    ProjectIdentity, RepositoryName, ResolvedBackup, ResolvedDatabase, RestoreTarget, Source,
    Version, WorkloadKind, WorkloadReference,
};
use boma_problem::{IntoProblem, Problem};

use super::{
    Application, BackupPolicy, Basis, Commands, Database, Grant, PutAway, RestoreFrom, RunsAs,
    Variables,
};
use crate::fingerprint::Digests;
use crate::keys::{ApplicationKey, DatabaseKey};
use crate::platform::{AttachedKind, Program, Workload};

/// The repository of a manifest that names none.
const DEFAULT_REPOSITORY: &str = "default";

/// Variable that tells a program the port it should listen on.
const PORT: &str = "PORT";

/// Turns manifests into entries.
#[derive(Clone, Debug, Default)]
pub(super) struct Resolver {
    basis: Arc<Basis>,
    /// One text for each project, however many resources it has.
    projects: Arc<HashMap<ProjectIdentity, Arc<str>>>,
}

impl Resolver {
    pub(super) fn new(basis: &Arc<Basis>) -> Self {
        Self {
            basis: basis.clone(),
            projects: Arc::default(),
        }
    }

    /// Whether it reads manifests against this.
    pub(super) fn reads_against(&self, basis: &Arc<Basis>) -> bool {
        Arc::ptr_eq(&self.basis, basis) || self.basis == *basis
    }

    fn project(&mut self, project: &ProjectIdentity) -> Arc<str> {
        if let Some(known) = self.projects.get(project) {
            return known.clone();
        }
        let text: Arc<str> = project.to_string().into();
        Arc::make_mut(&mut self.projects).insert(project.clone(), text.clone());
        text
    }

    pub(super) fn database_key(&mut self, id: &DatabaseId) -> DatabaseKey {
        DatabaseKey::new(self.project(&id.project), id.name.as_str())
    }

    pub(super) fn application_key(&mut self, id: &ApplicationId) -> ApplicationKey {
        ApplicationKey::new(self.project(&id.project), id.name.as_str())
    }

    /// The entry of a manifest, or what is wrong with it.
    pub(super) fn resolve_database(
        &mut self,
        manifest: &boma_manifest::Database,
    ) -> Result<Database, Vec<Problem>> {
        let resolved = manifest.resolve(&self.basis.plans)?;
        let ResolvedDatabase {
            backup,
            allowed_projects,
            ..
        } = &resolved;
        let config = manifest.spec.backup_config.as_ref();
        let parameters = texts(&resolved.parameters);
        let resources = Resources {
            cpu_millis: resolved.cpu_count.millis(),
            memory_bytes: resolved.memory.bytes(),
            storage_bytes: resolved.storage.bytes(),
        };
        let mut refused =
            refused_parameters(&parameters, &ServerParameters::new(), &manifest.origin);
        let sizes = settings::validate_sizes(&parameters, &resources);
        refused.extend(placed(sizes, &manifest.origin));
        if !refused.is_empty() {
            return Err(refused);
        }
        let key = self.database_key(&manifest.id());
        Ok(Database {
            identity: key.to_string(),
            name: names::database(&key.name),
            key,
            version: resolved.version.map(major),
            resources,
            storage_class: resolved.storage_class.as_ref().map(ToString::to_string),
            cluster_size: u32::from(resolved.cluster_size),
            backup: BackupPolicy {
                spec: backup.enabled.then(|| backup_spec(backup)),
                is_explicit: config.is_some_and(|config| config.enabled == Some(true)),
                retention_days: backup.retention_days,
            },
            admitted_projects: allowed_projects
                .iter()
                .map(|one| self.project(one))
                .collect(),
            drift: drift(resolved.drift),
            suspended: resolved.suspended,
            deletion_protection: resolved.deletion_protection,
            restore: resolved.restore.as_ref().map(|restore| RestoreFrom {
                database: self.database_key(&restore.database.resolve(&manifest.metadata.project)),
                put_away: restore.instance.map(|instance| PutAway {
                    instance: InstanceId(instance),
                    repository: restore
                        .repository
                        .as_ref()
                        .map_or(DEFAULT_REPOSITORY, RepositoryName::as_str)
                        .to_owned(),
                }),
                target: target(restore.target.as_ref()),
                timeline: restore.timeline.map(Timeline),
            }),
            parameters,
            extensions: resolved
                .extensions
                .iter()
                .map(ToString::to_string)
                .collect(),
            origin: manifest.origin.clone(),
        })
    }

    /// The entry of a manifest.
    pub(super) fn resolve_application(
        &mut self,
        manifest: &boma_manifest::Application,
    ) -> Application {
        let spec = &manifest.spec;
        let id = manifest.id();
        let target = spec.target.clone().unwrap_or_default();
        let source = match &spec.source {
            None => RunsAs::Elsewhere,
            Some(Source::Image { image }) => RunsAs::Image(image.clone()),
            Some(Source::Command {
                command,
                working_directory,
            }) => RunsAs::Command(program(
                command,
                self.directory(&manifest.origin, working_directory.as_deref()),
            )),
        };
        let replicas = u32::from(target.replicas.unwrap_or(1));
        let run = match &source {
            RunsAs::Command(program) => Some(Workload::Process(program.clone())),
            RunsAs::Image(image) => Some(Workload::Containers {
                image: image.clone(),
                port: target.port,
                replicas,
            }),
            RunsAs::Elsewhere => target.workload.as_ref().map(attached),
        };
        let directory = match &source {
            RunsAs::Command(program) => program.working_directory.clone(),
            RunsAs::Image(_) | RunsAs::Elsewhere => None,
        };
        let pre_deploy = spec
            .pre_deploy
            .as_ref()
            .map(|command| program(command, directory));
        let variables = variables(spec);
        // Without anything to run there is nothing for `preDeploy` to go before.
        let commands = Commands {
            pre_deploy: pre_deploy.clone().filter(|_| run.is_some()),
            run,
        };
        Application {
            digests: Digests::of(&variables, &commands),
            key: self.application_key(&id),
            source,
            replicas,
            workload: target.workload.map(|workload| workload.to_string()),
            variables: Arc::new(variables),
            has_pre_deploy: pre_deploy.is_some(),
            commands: Arc::new(commands),
            grants: {
                let grants = spec.access_control.databases.iter();
                grants.map(|grant| self.grant(grant, &id.project)).collect()
            },
            origin: manifest.origin.clone(),
        }
    }

    fn grant(&mut self, grant: &DatabaseGrant, own: &ProjectIdentity) -> Grant {
        Grant {
            database: self.database_key(&grant.name.resolve(own)),
            access: if grant.read_only {
                Access::ReadOnly
            } else {
                Access::ReadWrite
            },
            env_var: grant.env_var.to_string(),
            rotation_days: grant.rotation_days,
        }
    }

    /// A working directory that is not absolute starts at the directory of the manifest.
    fn directory(&self, origin: &Origin, directory: Option<&str>) -> Option<String> {
        let directory = directory?;
        let place = self.basis.roots.place(&origin.file().name);
        let Some((root, file)) = place.filter(|_| !directory.starts_with('/')) else {
            return Some(directory.to_owned());
        };
        let root = root.directory.to_string_lossy();
        let beside = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        let parts = [&*root, beside, directory]
            .into_iter()
            .filter(|part| !part.is_empty());
        Some(parts.collect::<Vec<_>>().join("/"))
    }
}

/// The variables of a manifest, with the port that it listens on as `PORT` unless it says otherwise.
fn variables(spec: &ApplicationSpec) -> Variables {
    let mut variables = Variables::default();
    for (name, value) in &spec.env {
        let (map, value) = match value {
            EnvValue::Text(text) => (&mut variables.plain, text.clone()),
            EnvValue::Secret { secret } => (&mut variables.secrets, secret.to_string()),
        };
        map.insert(name.to_string(), value);
    }
    let mut grants = spec.access_control.databases.iter();
    let is_taken = variables.plain.contains_key(PORT)
        || variables.secrets.contains_key(PORT)
        || grants.any(|grant| grant.env_var.as_str() == PORT);
    let port = spec.target.as_ref().and_then(|target| target.port);
    if let Some(port) = port.filter(|_| !is_taken) {
        variables.plain.insert(PORT.to_owned(), port.to_string());
    }
    variables
}

fn attached(workload: &WorkloadReference) -> Workload {
    let kind = match workload.kind {
        WorkloadKind::Deployment => AttachedKind::Deployment,
        WorkloadKind::StatefulSet => AttachedKind::StatefulSet,
        WorkloadKind::DaemonSet => AttachedKind::DaemonSet,
    };
    let name = workload.name.to_string();
    Workload::Attached { kind, name }
}

fn program(command: &Command, working_directory: Option<String>) -> Program {
    let command = match command {
        Command::Shell(line) => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
        Command::Program(words) => words.clone(),
    };
    Program {
        command,
        working_directory,
    }
}

/// What is wrong with settings, at their places; with no server at hand, what holds for all.
pub(crate) fn refused_parameters(
    parameters: &BTreeMap<String, String>,
    known: &ServerParameters,
    origin: &Origin,
) -> Vec<Problem> {
    placed(settings::validate_parameters(parameters, known), origin).collect()
}

fn placed(
    refused: Vec<settings::ParameterProblem>,
    origin: &Origin,
) -> impl Iterator<Item = Problem> {
    refused.into_iter().map(|refused| {
        let place = origin.place(&format!("spec.parameters.{}", refused.name));
        refused.problem().at(place)
    })
}

fn backup_spec(backup: &ResolvedBackup) -> BackupSpec {
    BackupSpec {
        repository: backup.repository.clone(),
        schedule: backup.schedule.to_string(),
        retention_days: backup.retention_days,
        point_in_time: backup.point_in_time_recovery,
        archive_interval_seconds: u32::from(backup.archive_interval_seconds),
    }
}

fn target(target: Option<&RestoreTarget>) -> RecoveryTarget {
    match target {
        None => RecoveryTarget::Latest,
        Some(RestoreTarget::Time(time)) => RecoveryTarget::Time(*time),
        Some(RestoreTarget::Position(position)) => RecoveryTarget::Lsn(Lsn(position.0)),
        Some(RestoreTarget::Point(name)) => RecoveryTarget::Name(name.clone()),
        Some(RestoreTarget::Backup(label)) => RecoveryTarget::Backup(label.clone()),
    }
}

fn texts<N: ToString>(map: &BTreeMap<N, String>) -> BTreeMap<String, String> {
    map.iter()
        .map(|(name, value)| (name.to_string(), value.clone()))
        .collect()
}

fn drift(drift: boma_manifest::Drift) -> Drift {
    match drift {
        boma_manifest::Drift::Correct => Drift::Correct,
        boma_manifest::Drift::Report => Drift::Report,
    }
}

fn major(version: Version) -> MajorVersion {
    match version {
        Version::V15 => MajorVersion::V15,
        Version::V16 => MajorVersion::V16,
        Version::V17 => MajorVersion::V17,
        Version::V18 => MajorVersion::V18,
    }
}
