//! Every resource of a source: identities resolved, fields filled in, references checked.
//!
//! What is known to be right here is not checked again later. Entries are shared: a catalog that
//! is made anew after one file changed keeps all others as they are.

mod problem;
mod references;
mod resolve;
mod resolved;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use boma_manifest::{Manifest, PlanTable};
use boma_problem::{IntoProblem, Problem};

pub use problem::{CatalogError, SubjectKind};
pub use resolved::{Application, BackupPolicy, Database, Grant, Grantee, RunsAs, Subject};

use crate::keys::{ApplicationKey, DatabaseKey, GrantKey};
use references::References;
use resolve::Resolver;
pub(crate) use resolve::refused_parameters;

/// What manifests are read against.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Basis {
    /// The plans of the platform.
    pub plans: PlanTable,
    /// Absolute directory that the manifests' paths start from; none: they are no files.
    pub root: Option<String>,
}

/// Every resource of a source.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    databases: BTreeMap<DatabaseKey, Arc<Database>>,
    applications: BTreeMap<ApplicationKey, Arc<Application>>,
    grantees: HashMap<DatabaseKey, Vec<Grantee>>,
    resolver: Resolver,
}

impl Catalog {
    /// Makes a catalog of manifests, and lists everything that is wrong between them. With an
    /// error among the problems, the catalog is not to be acted upon.
    pub fn build<'m>(
        manifests: impl IntoIterator<Item = &'m Manifest>,
        basis: &Arc<Basis>,
    ) -> (Self, Vec<Problem>) {
        Self::default().rebuild(manifests, basis)
    }

    /// Makes a catalog anew; what has not changed since this one is not resolved again.
    pub fn rebuild<'m>(
        &self,
        manifests: impl IntoIterator<Item = &'m Manifest>,
        basis: &Arc<Basis>,
    ) -> (Self, Vec<Problem>) {
        let mut making = Making {
            problems: Vec::new(),
            resolver: self.resolver.next(basis),
        };
        let mut databases: BTreeMap<DatabaseKey, Arc<Database>> = BTreeMap::new();
        let mut applications: BTreeMap<ApplicationKey, Arc<Application>> = BTreeMap::new();
        for manifest in manifests {
            match manifest {
                Manifest::Database(database) => {
                    let Some(entry) = making.database(&self.resolver, database) else {
                        continue;
                    };
                    let key = entry.key.clone();
                    if let Some(first) = databases.get(&key) {
                        let error = CatalogError::duplicate(&key, &first.origin, &entry.origin);
                        making.problems.push(error.problem());
                    } else {
                        databases.insert(key, entry);
                    }
                }
                Manifest::Application(application) => {
                    let entry = making.application(&self.resolver, application);
                    let key = entry.key.clone();
                    if let Some(first) = applications.get(&key) {
                        let error = CatalogError::duplicate(&key, &first.origin, &entry.origin);
                        making.problems.push(error.problem());
                    } else {
                        applications.insert(key, entry);
                    }
                }
            }
        }
        let references = References {
            databases: &databases,
        };
        let grantees = references.check(applications.values(), &mut making.problems);
        let Making { problems, resolver } = making;
        (
            Self {
                databases,
                applications,
                grantees,
                resolver,
            },
            problems,
        )
    }

    /// All databases, by name.
    pub fn databases(&self) -> &BTreeMap<DatabaseKey, Arc<Database>> {
        &self.databases
    }

    /// All applications, by name.
    pub fn applications(&self) -> &BTreeMap<ApplicationKey, Arc<Application>> {
        &self.applications
    }

    /// One database.
    pub fn database(&self, key: &DatabaseKey) -> Option<&Arc<Database>> {
        self.databases.get(key)
    }

    /// One application.
    pub fn application(&self, key: &ApplicationKey) -> Option<&Arc<Application>> {
        self.applications.get(key)
    }

    /// The applications that may reach a database.
    pub fn grantees(&self, key: &DatabaseKey) -> &[Grantee] {
        self.grantees.get(key).map_or(&[], Vec::as_slice)
    }

    /// Whether a manifest asks for this grant.
    pub fn has_grant(&self, grant: &GrantKey) -> bool {
        self.applications
            .get(&grant.application)
            .is_some_and(|application| {
                application
                    .grants
                    .iter()
                    .any(|one| one.database == grant.database)
            })
    }

    /// Whether there is no resource at all.
    pub fn is_empty(&self) -> bool {
        self.databases.is_empty() && self.applications.is_empty()
    }
}

/// A catalog while it is being made.
struct Making {
    problems: Vec<Problem>,
    resolver: Resolver,
}

impl Making {
    fn database(
        &mut self,
        former: &Resolver,
        manifest: &boma_manifest::Database,
    ) -> Option<Arc<Database>> {
        match self.resolver.database(former, manifest) {
            Ok(entry) => Some(entry),
            Err(problems) => {
                self.problems.extend(problems);
                None
            }
        }
    }

    fn application(
        &mut self,
        former: &Resolver,
        manifest: &boma_manifest::Application,
    ) -> Arc<Application> {
        self.resolver.application(former, manifest)
    }
}
