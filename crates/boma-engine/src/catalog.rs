//! Every resource of a source: identities resolved, fields filled in, references checked.
//!
//! What is known to be right here is not checked again later. Entries are shared: a catalog that
//! is made anew after one file changed keeps all others as they are. Resources lie in sorted lists
//! and refer to each other by their places in them, so that a plan of tens of thousands of them
//! walks through memory instead of searching it.

mod entries;
mod links;
mod problem;
mod resolve;
mod resolved;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use boma_manifest::{Manifest, Parsed, PlanTable};
use boma_problem::{IntoProblem, Problem};

pub use problem::{CatalogError, SubjectKind};
pub(crate) use resolve::refused_parameters;
pub use resolved::{
    Application, BackupPolicy, Commands, Database, Grant, Grantee, PutAway, RestoreFrom, RunsAs,
    Subject, Variables,
};

use crate::keys::{ApplicationKey, DatabaseKey, GrantKey};
use crate::source::Roots;
use entries::{Edit, Entry, find};
use links::Links;
use resolve::Resolver;

/// What manifests are read against.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Basis {
    /// The plans of the platform.
    pub plans: PlanTable,
    /// Absolute directories that the manifests' paths start from.
    pub roots: Roots,
}

/// Every resource of a source.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    databases: Vec<Arc<Database>>,
    applications: Vec<Arc<Application>>,
    links: Arc<Links>,
    /// What it was made of.
    files: Vec<Arc<Parsed>>,
    resolver: Resolver,
    /// What is wrong with manifests by themselves, by their files' addresses.
    refused: HashMap<usize, Vec<Problem>>,
    /// What is wrong between them.
    between: Vec<Problem>,
}

impl Catalog {
    /// Makes a catalog of what was read from files, and lists everything that is wrong between
    /// the manifests. With an error among the problems, the catalog is not to be acted upon.
    pub fn build<'f>(
        files: impl IntoIterator<Item = &'f Arc<Parsed>>,
        basis: &Arc<Basis>,
    ) -> (Self, Vec<Problem>) {
        Self::default().rebuild(files, basis)
    }

    /// Makes a catalog anew; what has not changed since this one is not looked at again.
    ///
    /// # Guarantees
    /// The answer is that of [`Self::build`].
    pub fn rebuild<'f>(
        &self,
        files: impl IntoIterator<Item = &'f Arc<Parsed>>,
        basis: &Arc<Basis>,
    ) -> (Self, Vec<Problem>) {
        let catalog = if self.resolver.reads_against(basis) {
            self.changed_to(files.into_iter().cloned().collect())
        } else {
            let empty = Self {
                resolver: Resolver::new(basis),
                ..Self::default()
            };
            empty.changed_to(files.into_iter().cloned().collect())
        };
        let problems = catalog.problems();
        (catalog, problems)
    }

    fn changed_to(&self, files: Vec<Arc<Parsed>>) -> Self {
        let (gone, new) = difference(&self.files, &files);
        let mut resolver = self.resolver.clone();
        let mut refused = self.refused.clone();
        let mut databases = Edit::of(&self.databases);
        let mut applications = Edit::of(&self.applications);
        for file in gone {
            refused.remove(&address(file));
            for manifest in &file.documents {
                match manifest {
                    Manifest::Database(gone) => {
                        databases.remove(&resolver.database_key(&gone.id()), &gone.origin);
                    }
                    Manifest::Application(gone) => {
                        applications.remove(&resolver.application_key(&gone.id()), &gone.origin);
                    }
                }
            }
        }
        for file in new {
            let mut wrong = Vec::new();
            for manifest in &file.documents {
                match manifest {
                    Manifest::Database(new) => match resolver.resolve_database(new) {
                        Ok(entry) => databases.add(entry),
                        Err(problems) => wrong.extend(problems),
                    },
                    Manifest::Application(new) => {
                        applications.add(resolver.resolve_application(new));
                    }
                }
            }
            if !wrong.is_empty() {
                refused.insert(address(file), wrong);
            }
        }
        let (databases, applications) = (databases.apply(), applications.apply());
        let nothing_between = self.between.is_empty()
            && databases.relates_as_before
            && applications.relates_as_before;
        let (databases, applications) = (databases.entries, applications.entries);
        let (links, between) = if nothing_between {
            (self.links.clone(), Vec::new())
        } else {
            relate(&databases, &applications)
        };
        Self {
            databases,
            applications,
            links,
            files,
            resolver,
            refused,
            between,
        }
    }

    /// Everything that is wrong: with manifests by themselves, then between them.
    fn problems(&self) -> Vec<Problem> {
        let files = self.files.iter();
        let refused = files.filter_map(|file| self.refused.get(&address(file)));
        refused.flatten().chain(&self.between).cloned().collect()
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

    /// The same with every database changed by `change`, where that answers with one. Who leads where
    /// is not changed by it.
    pub(crate) fn with_databases(&self, change: impl Fn(&Database) -> Option<Database>) -> Self {
        let mut catalog = self.clone();
        for database in &mut catalog.databases {
            if let Some(changed) = change(database) {
                *database = Arc::new(changed);
            }
        }
        catalog
    }

    /// Whether there is no resource at all.
    pub fn is_empty(&self) -> bool {
        self.databases.is_empty() && self.applications.is_empty()
    }
}

/// A file by its address. A catalog keeps its files alive, so that no other can have the address
/// of one of them.
fn address(file: &Arc<Parsed>) -> usize {
    Arc::as_ptr(file).addr()
}

/// The files that only one of two sources has: those of the first, and those of the second. Most
/// sources differ in one file, so what is the same at both ends is compared and not searched.
fn difference<'f>(
    one: &'f [Arc<Parsed>],
    other: &'f [Arc<Parsed>],
) -> (Vec<&'f Arc<Parsed>>, Vec<&'f Arc<Parsed>>) {
    let same = |(one, other): &(&Arc<Parsed>, &Arc<Parsed>)| Arc::ptr_eq(one, other);
    let before = one.iter().zip(other).take_while(same).count();
    let (one, other) = (&one[before..], &other[before..]);
    let backwards = one.iter().rev().zip(other.iter().rev());
    let after = backwards.take_while(same).count();
    let (one, other) = (&one[..one.len() - after], &other[..other.len() - after]);
    let only_in = |files: &'f [Arc<Parsed>], others: &[Arc<Parsed>]| -> Vec<&'f Arc<Parsed>> {
        let others: HashSet<usize> = others.iter().map(address).collect();
        let files = files.iter();
        files
            .filter(|file| !others.contains(&address(file)))
            .collect()
    };
    (only_in(one, other), only_in(other, one))
}

/// Who leads where, and what is wrong with that.
fn relate(
    databases: &[Arc<Database>],
    applications: &[Arc<Application>],
) -> (Arc<Links>, Vec<Problem>) {
    let (links, broken) = Links::of(databases, applications);
    let mut problems: Vec<Problem> = duplicates(databases).collect();
    problems.extend(duplicates(applications));
    problems.extend(broken);
    (Arc::new(links), problems)
}

fn duplicates<E: Entry>(entries: &[Arc<E>]) -> impl Iterator<Item = Problem> {
    entries.windows(2).filter_map(|pair| match pair {
        [one, other] if one.key() == other.key() => {
            Some(CatalogError::duplicate(one.key(), one.origin(), other.origin()).problem())
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests;
