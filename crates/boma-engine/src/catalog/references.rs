//! Grants: whom they lead to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use boma_instance::names::Turn;
use boma_problem::{IntoProblem, Problem};

use super::{Application, CatalogError, Database, Grant, Grantee};
use crate::keys::DatabaseKey;
use crate::plan::role;

/// The databases that grants may lead to.
pub(super) struct References<'c> {
    pub(super) databases: &'c BTreeMap<DatabaseKey, Arc<Database>>,
}

impl References<'_> {
    /// Checks every grant, and turns the grants round: who may reach each database.
    pub(super) fn check<'c>(
        &self,
        applications: impl Iterator<Item = &'c Arc<Application>>,
        problems: &mut Vec<Problem>,
    ) -> HashMap<DatabaseKey, Vec<Grantee>> {
        let mut grantees: HashMap<DatabaseKey, Vec<Grantee>> =
            HashMap::with_capacity(self.databases.len());
        for application in applications {
            for (index, grant) in application.grants.iter().enumerate() {
                match self.follow(application, grant, index) {
                    Ok(()) => grantees
                        .entry(grant.database.clone())
                        .or_default()
                        .push(Grantee {
                            application: application.clone(),
                            access: grant.access,
                        }),
                    Err(error) => problems.push(error.problem()),
                }
            }
        }
        for (database, grantees) in &grantees {
            problems.extend(same_roles(database, grantees).map(|error| error.problem()));
        }
        grantees
    }

    fn follow(
        &self,
        application: &Application,
        grant: &Grant,
        index: usize,
    ) -> Result<(), Box<CatalogError>> {
        let at =
            || Box::new(application.place(&format!("spec.accessControl.databases[{index}].name")));
        let project = &application.key.project;
        let Some(database) = self.databases.get(&grant.database) else {
            return Err(Box::new(CatalogError::NoSuchDatabase {
                database: grant.database.clone(),
                nearest: self.nearest(application, &grant.database),
                at: at(),
            }));
        };
        let is_own = database.key.project == *project;
        if is_own || database.admitted_projects.contains(project) {
            return Ok(());
        }
        Err(Box::new(CatalogError::NotAdmitted {
            database: grant.database.clone(),
            project: project.to_string(),
            at: at(),
            database_at: Box::new(database.place("metadata.name")),
        }))
    }

    /// A database whose name is a slip of the finger away, or of that name in another project
    /// that admits the application; as it would be written.
    fn nearest(&self, application: &Application, missing: &DatabaseKey) -> Option<String> {
        let own = &application.key.project;
        let first = DatabaseKey::new(missing.project.clone(), "");
        let siblings = self.databases.range(first..).map(|(key, _)| key);
        let siblings = siblings.take_while(|key| key.project == missing.project);
        let near = siblings.map(|key| (strsim::osa_distance(&key.name, &missing.name), key));
        let near = near
            .min()
            .filter(|(distance, _)| *distance <= missing.name.len().div_ceil(3));
        if let Some((_, key)) = near {
            return Some(written(key, own));
        }
        let elsewhere = self.databases.values().find(|database| {
            database.key.name == missing.name && database.admitted_projects.contains(own)
        });
        elsewhere.map(|database| written(&database.key, own))
    }
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
fn same_roles(database: &DatabaseKey, grantees: &[Grantee]) -> impl Iterator<Item = CatalogError> {
    let mut roles: Vec<(String, &Grantee)> = Vec::new();
    let has_foreign = grantees
        .iter()
        .any(|one| one.application.key.project != database.project);
    // Names of one project differ, and so do their roles.
    if has_foreign {
        roles.extend(
            grantees
                .iter()
                .map(|one| (role(database, &one.application.key, Turn::First), one)),
        );
        roles.sort_unstable_by(|one, other| one.0.cmp(&other.0));
    }
    let pairs: Vec<CatalogError> = roles
        .windows(2)
        .filter_map(|pair| match pair {
            [(role, one), (again, other)] if role == again => Some(CatalogError::SameRole {
                database: database.clone(),
                role: role.clone(),
                one: one.application.key.clone(),
                other: other.application.key.clone(),
                at: Box::new(other.application.place("spec.accessControl.databases")),
            }),
            _ => None,
        })
        .collect();
    pairs.into_iter()
}
