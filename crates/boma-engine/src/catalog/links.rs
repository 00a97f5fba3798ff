//! Grants: whom they lead to.

use std::collections::HashMap;
use std::sync::Arc;

use boma_instance::names::Turn;
use boma_problem::{IntoProblem, Problem};

use super::{Application, CatalogError, Database, Grant};
use crate::keys::DatabaseKey;
use crate::plan::role;

/// Stands for the place of a database that is not there.
const NOWHERE: u32 = u32::MAX;

/// Who leads where, by places in the sorted lists. Every grant has a number: those of the first
/// application come first, in the order of its manifest.
#[derive(Clone, Debug, Default)]
pub(super) struct Links {
    /// For each grant the place of its database.
    targets: Vec<u32>,
    /// For each application the number of its first grant, and one more at the end.
    first: Vec<u32>,
    /// Those who may reach the databases, those of the first database first.
    grantees: Vec<Link>,
    /// For each database where its grantees begin, and one more at the end.
    grantees_from: Vec<u32>,
}

/// A grant as seen from its database.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    /// Place of the application.
    pub(super) application: u32,
    /// Number of the grant.
    pub(super) link: u32,
}

impl Links {
    /// Follows every grant; answers with what is wrong with them as well.
    pub(super) fn of(
        databases: &[Arc<Database>],
        applications: &[Arc<Application>],
    ) -> (Self, Vec<Problem>) {
        let places: HashMap<&DatabaseKey, u32> = databases
            .iter()
            .zip(0..)
            .map(|(database, place)| (&database.key, place))
            .collect();
        let mut problems = Vec::new();
        let mut links = Self::default();
        links.first.reserve(applications.len() + 1);
        for application in applications {
            links.first.push(number(links.targets.len()));
            for (index, grant) in application.grants.iter().enumerate() {
                let place = places.get(&grant.database).copied();
                let target = place.and_then(|place| databases.get(place as usize));
                let followed = follow(databases, application, grant, target);
                links.targets.push(if followed.is_ok() {
                    place.unwrap_or(NOWHERE)
                } else {
                    NOWHERE
                });
                if let Err(broken) = followed {
                    problems.push(broken.error(application, grant, index).problem());
                }
            }
        }
        links.first.push(number(links.targets.len()));
        links.turn_round(databases.len());
        for (place, database) in databases.iter().enumerate() {
            let same = same_roles(database, links.of_database(place), applications);
            problems.extend(same.into_iter().map(|error| error.problem()));
        }
        (links, problems)
    }

    /// Sorts the grants by database.
    fn turn_round(&mut self, databases: usize) {
        let mut counts = vec![0_u32; databases + 1];
        for target in self.targets.iter().filter(|target| **target != NOWHERE) {
            counts[*target as usize + 1] += 1;
        }
        for place in 1..counts.len() {
            counts[place] += counts[place - 1];
        }
        let total = counts.last().copied().unwrap_or_default() as usize;
        self.grantees = vec![
            Link {
                application: 0,
                link: 0
            };
            total
        ];
        let mut next = counts.clone();
        for application in 0..self.first.len().saturating_sub(1) {
            let links: Vec<_> = self.of_application(application).collect();
            for (link, target) in links {
                let Some(slot) = target.map(|target| &mut next[target]) else {
                    continue;
                };
                let (application, link) = (number(application), number(link));
                self.grantees[*slot as usize] = Link { application, link };
                *slot += 1;
            }
        }
        self.grantees_from = counts;
    }

    pub(super) fn len(&self) -> usize {
        self.targets.len()
    }

    /// The number of an application's first grant.
    pub(super) fn first(&self, application: u32) -> usize {
        self.first
            .get(application as usize)
            .map_or(0, |first| *first as usize)
    }

    /// The grants of an application: number, and place of the database, none if there is none.
    pub(super) fn of_application(
        &self,
        application: usize,
    ) -> impl Iterator<Item = (usize, Option<usize>)> {
        let from = self
            .first
            .get(application)
            .map_or(0, |first| *first as usize);
        let to = self
            .first
            .get(application + 1)
            .map_or(from, |next| *next as usize);
        let targets = self.targets.get(from..to).unwrap_or_default().iter();
        let targets = targets.map(|target| (*target != NOWHERE).then_some(*target as usize));
        (from..).zip(targets)
    }

    /// Those who may reach a database.
    pub(super) fn of_database(&self, database: usize) -> &[Link] {
        let from = self
            .grantees_from
            .get(database)
            .map_or(0, |from| *from as usize);
        let to = self
            .grantees_from
            .get(database + 1)
            .map_or(from, |to| *to as usize);
        self.grantees.get(from..to).unwrap_or_default()
    }
}

/// Lists of more than 2^32 resources do not fit into memory.
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(NOWHERE)
}

/// Why a grant leads nowhere.
enum Broken<'c> {
    NoSuchDatabase { nearest: Option<String> },
    NotAdmitted { database: &'c Database },
}

fn follow<'c>(
    databases: &'c [Arc<Database>],
    application: &Application,
    grant: &Grant,
    target: Option<&'c Arc<Database>>,
) -> Result<(), Broken<'c>> {
    let project = &application.key.project;
    let Some(database) = target else {
        let nearest = nearest(databases, application, &grant.database);
        return Err(Broken::NoSuchDatabase { nearest });
    };
    if database.key.project == *project || database.admitted_projects.contains(project) {
        Ok(())
    } else {
        Err(Broken::NotAdmitted { database })
    }
}

impl Broken<'_> {
    fn error(self, application: &Application, grant: &Grant, index: usize) -> CatalogError {
        let at = application.place(&format!("spec.accessControl.databases[{index}].name"));
        let (at, missing) = (Box::new(at), grant.database.clone());
        match self {
            Self::NoSuchDatabase { nearest } => CatalogError::NoSuchDatabase {
                database: missing,
                nearest,
                at,
            },
            Self::NotAdmitted { database } => CatalogError::NotAdmitted {
                database: missing,
                project: application.key.project.to_string(),
                at,
                database_at: Box::new(database.place("metadata.name")),
            },
        }
    }
}

/// A database whose name is a slip of the finger away, or of that name in another project that
/// admits the application; as it would be written.
fn nearest(
    databases: &[Arc<Database>],
    application: &Application,
    missing: &DatabaseKey,
) -> Option<String> {
    let own = &application.key.project;
    let from = databases.partition_point(|one| one.key.project < missing.project);
    let siblings = databases[from..].iter().map(|one| &one.key);
    let siblings = siblings.take_while(|key| key.project == missing.project);
    let near = siblings.map(|key| (strsim::osa_distance(&key.name, &missing.name), key));
    let near = near
        .min()
        .filter(|(distance, _)| *distance <= missing.name.len().div_ceil(3));
    if let Some((_, key)) = near {
        return Some(written(key, own));
    }
    let elsewhere = databases.iter().find(|database| {
        database.key.name == missing.name && database.admitted_projects.contains(own)
    });
    elsewhere.map(|database| written(&database.key, own))
}

/// A reference to a database as a manifest of project `own` would write it.
fn written(key: &DatabaseKey, own: &str) -> String {
    if *key.project == *own {
        return key.name.to_string();
    }
    match (key.project.rsplit_once('/'), own.rsplit_once('/')) {
        (Some((unit, project)), Some((own_unit, _))) if unit == own_unit => {
            format!("{project}/{}", key.name)
        }
        _ => key.to_string(),
    }
}

/// Applications of different projects whose logins would have one name: the hash that keeps them
/// apart has 32 bits only.
fn same_roles(
    database: &Database,
    links: &[Link],
    applications: &[Arc<Application>],
) -> Vec<CatalogError> {
    let grantees = || {
        links
            .iter()
            .filter_map(|link| applications.get(link.application as usize))
    };
    // Names of one project differ, and so do their roles.
    if grantees().all(|one| one.key.project == database.key.project) {
        return Vec::new();
    }
    let mut roles: Vec<(String, &Arc<Application>)> = grantees()
        .map(|one| (role(&database.key, &one.key, Turn::First), one))
        .collect();
    roles.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    let pairs = roles.windows(2).filter_map(|pair| match pair {
        [(role, one), (again, other)] if role == again => Some(CatalogError::SameRole {
            database: database.key.clone(),
            role: role.clone(),
            one: one.key.clone(),
            other: other.key.clone(),
            at: Box::new(other.place("spec.accessControl.databases")),
        }),
        _ => None,
    });
    pairs.collect()
}
