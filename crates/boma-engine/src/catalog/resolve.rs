//! From one manifest to one entry of the catalog.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use boma_instance::settings::{self, ServerParameters};
use boma_instance::{Access, MajorVersion, Resources};
use boma_manifest::{
    Command, DatabaseGrant, DatabaseId, EnvValue, Origin, ProjectIdentity, ResolvedDatabase,
    Source, Version,
};
use boma_problem::{IntoProblem, Problem};

use super::{Application, BackupPolicy, Basis, Database, Grant, RunsAs};
use crate::keys::{ApplicationKey, DatabaseKey};
use crate::platform::Program;

/// Turns manifests into entries, and remembers those of the catalog before.
#[derive(Clone, Debug, Default)]
pub(super) struct Resolver {
    basis: Arc<Basis>,
    databases: HashMap<Document, Arc<Database>>,
    applications: HashMap<Document, Arc<Application>>,
    /// One text for each project, however many resources it has.
    projects: HashMap<ProjectIdentity, Arc<str>>,
}

/// A document of a file, by the file's address. Entries keep their file alive, so that no other
/// file can have its address while they are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Document {
    file: usize,
    index: usize,
}

impl From<&Origin> for Document {
    fn from(origin: &Origin) -> Self {
        Self {
            file: std::ptr::from_ref(origin.file()).addr(),
            index: origin.document(),
        }
    }
}

impl Resolver {
    /// One for the next catalog.
    pub(super) fn next(&self, basis: &Arc<Basis>) -> Self {
        Self {
            basis: basis.clone(),
            databases: HashMap::with_capacity(self.databases.len()),
            applications: HashMap::with_capacity(self.applications.len()),
            projects: self.projects.clone(),
        }
    }

    /// Whether what `former` resolved was resolved against the same.
    fn may_reuse(&self, former: &Self) -> bool {
        Arc::ptr_eq(&self.basis, &former.basis) || self.basis == former.basis
    }

    /// The entry of a database.
    pub(super) fn database(
        &mut self,
        former: &Self,
        manifest: &boma_manifest::Database,
    ) -> Result<Arc<Database>, Vec<Problem>> {
        let document = Document::from(&manifest.origin);
        let known = former
            .databases
            .get(&document)
            .filter(|_| self.may_reuse(former))
            .cloned();
        let entry = match known {
            Some(entry) => entry,
            None => Arc::new(self.resolve_database(manifest)?),
        };
        self.databases.insert(document, entry.clone());
        Ok(entry)
    }

    /// The entry of an application.
    pub(super) fn application(
        &mut self,
        former: &Self,
        manifest: &boma_manifest::Application,
    ) -> Arc<Application> {
        let document = Document::from(&manifest.origin);
        let known = former
            .applications
            .get(&document)
            .filter(|_| self.may_reuse(former))
            .cloned();
        let entry = known.unwrap_or_else(|| Arc::new(self.resolve_application(manifest)));
        self.applications.insert(document, entry.clone());
        entry
    }

    fn project(&mut self, project: &ProjectIdentity) -> Arc<str> {
        if let Some(known) = self.projects.get(project) {
            return known.clone();
        }
        let text: Arc<str> = project.to_string().into();
        self.projects.insert(project.clone(), text.clone());
        text
    }

    fn database_key(&mut self, id: &DatabaseId) -> DatabaseKey {
        DatabaseKey::new(self.project(&id.project), id.name.as_str())
    }

    fn resolve_database(
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
        let refused = refused_parameters(&parameters, &ServerParameters::new(), &manifest.origin);
        if !refused.is_empty() {
            return Err(refused);
        }
        Ok(Database {
            key: self.database_key(&manifest.id()),
            version: resolved.version.map(major),
            resources: Resources {
                cpu_millis: resolved.cpu_count.millis(),
                memory_bytes: resolved.memory.bytes(),
                storage_bytes: resolved.storage.bytes(),
            },
            storage_class: resolved.storage_class.as_ref().map(ToString::to_string),
            cluster_size: u32::from(resolved.cluster_size),
            backup: BackupPolicy {
                enabled: backup.enabled,
                is_explicit: config.is_some_and(|config| config.enabled == Some(true)),
                retention_days: backup.retention_days,
            },
            admitted_projects: allowed_projects
                .iter()
                .map(|one| self.project(one))
                .collect(),
            suspended: resolved.suspended,
            deletion_protection: resolved.deletion_protection,
            restores: resolved.restore.is_some(),
            parameters,
            extensions: resolved
                .extensions
                .iter()
                .map(ToString::to_string)
                .collect(),
            origin: manifest.origin.clone(),
        })
    }

    fn resolve_application(&mut self, manifest: &boma_manifest::Application) -> Application {
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
        let directory = match &source {
            RunsAs::Command(program) => program.working_directory.clone(),
            RunsAs::Elsewhere | RunsAs::Image(_) => None,
        };
        let mut application = Application {
            key: ApplicationKey::new(self.project(&id.project), id.name.as_str()),
            source,
            port: target.port,
            replicas: u32::from(target.replicas.unwrap_or(1)),
            workload: target.workload.map(|workload| workload.to_string()),
            env: BTreeMap::new(),
            secret_env: BTreeMap::new(),
            pre_deploy: spec
                .pre_deploy
                .as_ref()
                .map(|command| program(command, directory)),
            grants: Vec::new(),
            origin: manifest.origin.clone(),
        };
        for (name, value) in &spec.env {
            let (map, value) = match value {
                EnvValue::Text(text) => (&mut application.env, text.clone()),
                EnvValue::Secret { secret } => (&mut application.secret_env, secret.to_string()),
            };
            map.insert(name.to_string(), value);
        }
        let grants = spec.access_control.databases.iter();
        application.grants = grants.map(|grant| self.grant(grant, &id.project)).collect();
        application
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
        }
    }

    /// A working directory that is not absolute starts at the directory of the manifest.
    fn directory(&self, origin: &Origin, directory: Option<&str>) -> Option<String> {
        let directory = directory?;
        let root = self
            .basis
            .root
            .as_deref()
            .filter(|_| !directory.starts_with('/'));
        let Some(root) = root else {
            return Some(directory.to_owned());
        };
        let file = &origin.file().name;
        let beside = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        let parts = [root, beside, directory]
            .into_iter()
            .filter(|part| !part.is_empty());
        Some(parts.collect::<Vec<_>>().join("/"))
    }
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
    let refused = settings::validate_parameters(parameters, known).into_iter();
    let problems = refused.map(|refused| {
        let place = origin.place(&format!("spec.parameters.{}", refused.name));
        refused.problem().at(place)
    });
    problems.collect()
}

fn texts<N: ToString>(map: &BTreeMap<N, String>) -> BTreeMap<String, String> {
    map.iter()
        .map(|(name, value)| (name.to_string(), value.clone()))
        .collect()
}

fn major(version: Version) -> MajorVersion {
    match version {
        Version::V15 => MajorVersion::V15,
        Version::V16 => MajorVersion::V16,
        Version::V17 => MajorVersion::V17,
        Version::V18 => MajorVersion::V18,
    }
}
