//! Every resource of a source: identities resolved, fields filled in, references checked.
//!
//! What is known to be right here is not checked again later. Entries are shared: a catalog that
//! is made anew after one file changed keeps all others as they are. Resources lie in sorted lists
//! and refer to each other by their places in them, so that a plan of tens of thousands of them
//! walks through memory instead of searching it.

mod links;
mod problem;
mod resolve;
mod resolved;

use std::cmp::Ordering;
use std::sync::Arc;

use boma_manifest::{Manifest, Origin, PlanTable};
use boma_problem::{IntoProblem, Problem};

pub use problem::{CatalogError, SubjectKind};
pub(crate) use resolve::refused_parameters;
pub use resolved::{
    Application, BackupPolicy, Commands, Database, Grant, Grantee, RestoreFrom, RunsAs, Subject,
    Variables,
};

use crate::keys::{ApplicationKey, DatabaseKey, GrantKey};
use links::Links;
use resolve::Resolver;

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
    databases: Vec<Arc<Database>>,
    applications: Vec<Arc<Application>>,
    links: Links,
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
        let mut resolver = self.resolver.next(basis);
        let mut problems = Vec::new();
        for manifest in manifests {
            problems.extend(resolver.add(&self.resolver, manifest));
        }
        let databases = resolver.databases.sorted(&self.databases);
        let applications = resolver.applications.sorted(&self.applications);
        problems.extend(duplicates(&databases));
        problems.extend(duplicates(&applications));
        let (links, broken) = Links::of(&databases, &applications);
        problems.extend(broken);
        (
            Self {
                databases,
                applications,
                links,
                resolver,
            },
            problems,
        )
    }

    /// All databases, sorted by name.
    pub fn databases(&self) -> &[Arc<Database>] {
        &self.databases
    }

    /// All applications, sorted by name.
    pub fn applications(&self) -> &[Arc<Application>] {
        &self.applications
    }

    /// One database.
    pub fn database(&self, key: &DatabaseKey) -> Option<&Arc<Database>> {
        find(&self.databases, key)
    }

    /// One application.
    pub fn application(&self, key: &ApplicationKey) -> Option<&Arc<Application>> {
        find(&self.applications, key)
    }

    /// The applications that may reach a database.
    pub fn grantees(&self, key: &DatabaseKey) -> Vec<Grantee<'_>> {
        let index = self.databases.binary_search_by(|one| one.key.cmp(key));
        index
            .map(|index| self.grantees_at(index).collect())
            .unwrap_or_default()
    }

    /// The applications that may reach the database at a place of the list.
    pub(crate) fn grantees_at(&self, database: usize) -> impl Iterator<Item = Grantee<'_>> {
        self.links.of_database(database).iter().filter_map(|link| {
            let application = self.applications.get(link.application as usize)?;
            let index = (link.link as usize).checked_sub(self.links.first(link.application))?;
            let grant = application.grants.get(index)?;
            Some(Grantee {
                application,
                grant,
                link: link.link as usize,
            })
        })
    }

    /// The links of the application at a place of the list: for each of its grants, in their order,
    /// a number for the grant, and the place of its database if there is one.
    pub(crate) fn links_of(
        &self,
        application: usize,
    ) -> impl Iterator<Item = (usize, Option<usize>)> {
        self.links.of_application(application)
    }

    /// How many grants there are.
    pub(crate) fn link_count(&self) -> usize {
        self.links.len()
    }

    /// Whether a manifest asks for this grant.
    pub fn has_grant(&self, grant: &GrantKey) -> bool {
        self.application(&grant.application)
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

/// An entry of a sorted list.
trait Entry {
    type Key: Ord + problem::Key;

    fn key(&self) -> &Self::Key;

    fn origin(&self) -> &Origin;
}

impl Entry for Database {
    type Key = DatabaseKey;

    fn key(&self) -> &DatabaseKey {
        &self.key
    }

    fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl Entry for Application {
    type Key = ApplicationKey;

    fn key(&self) -> &ApplicationKey {
        &self.key
    }

    fn origin(&self) -> &Origin {
        &self.origin
    }
}

fn find<'e, E: Entry>(entries: &'e [Arc<E>], key: &E::Key) -> Option<&'e Arc<E>> {
    let index = entries
        .binary_search_by(|entry| entry.key().cmp(key))
        .ok()?;
    entries.get(index)
}

/// By name; two of one name by where they are written.
fn order<E: Entry>(one: &Arc<E>, other: &Arc<E>) -> Ordering {
    one.key().cmp(other.key()).then_with(|| {
        let place = |entry: &Arc<E>| {
            let origin = entry.origin();
            (origin.file().name.clone(), origin.document())
        };
        place(one).cmp(&place(other))
    })
}

fn duplicates<E: Entry>(entries: &[Arc<E>]) -> impl Iterator<Item = Problem> {
    entries.windows(2).filter_map(|pair| match pair {
        [one, other] if one.key() == other.key() => {
            Some(CatalogError::duplicate(one.key(), one.origin(), other.origin()).problem())
        }
        _ => None,
    })
}
