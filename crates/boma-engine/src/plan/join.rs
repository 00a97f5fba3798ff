//! What is wanted beside what was observed. Both are sorted, so one walk through the two finds
//! everything that belongs together; nothing is searched for.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::iter::Peekable;

use crate::catalog::{Application, Catalog};
use crate::keys::{ApplicationKey, DatabaseKey, GrantKey};
use crate::observed::{Observed, ObservedApplication, ObservedDatabase, ObservedGrant};

/// What was observed, by the places that things have in the catalog.
pub(super) struct Join<'a> {
    /// For each database of the catalog what was observed of it.
    pub(super) databases: Vec<Option<&'a ObservedDatabase>>,
    /// Databases without a manifest.
    pub(super) other_databases: Vec<(&'a DatabaseKey, &'a ObservedDatabase)>,
    /// For each application of the catalog what was observed of it.
    pub(super) applications: Vec<Option<&'a ObservedApplication>>,
    /// Applications without a manifest.
    pub(super) other_applications: Vec<(&'a ApplicationKey, &'a ObservedApplication)>,
    /// For each grant of the catalog its stored credentials.
    pub(super) grants: Vec<Option<&'a ObservedGrant>>,
    /// Stored credentials that no manifest asks for any more, by database.
    pub(super) orphans: BTreeMap<&'a DatabaseKey, Vec<(&'a GrantKey, &'a ObservedGrant)>>,
}

impl<'a> Join<'a> {
    pub(super) fn of(catalog: &'a Catalog, seen: &'a Observed) -> Self {
        let wanted = catalog.databases().iter().map(|one| &one.key);
        let (databases, other_databases) = join(wanted, &seen.databases);
        let wanted = catalog.applications().iter().map(|one| &one.key);
        let (applications, other_applications) = join(wanted, &seen.applications);
        let mut join = Self {
            databases,
            other_databases,
            applications,
            other_applications,
            grants: vec![None; catalog.link_count()],
            orphans: BTreeMap::new(),
        };
        join.grants(catalog, seen);
        join
    }

    fn grants(&mut self, catalog: &'a Catalog, seen: &'a Observed) {
        let mut stored = seen.grants.iter().peekable();
        for (place, application) in catalog.applications().iter().enumerate() {
            while let Some((key, grant)) =
                stored.next_if(|(key, _)| key.application < application.key)
            {
                self.orphan(key, grant);
            }
            while let Some((key, grant)) =
                stored.next_if(|(key, _)| key.application == application.key)
            {
                match link(catalog, place, application, &key.database) {
                    Some(link) => self.grants[link] = Some(grant),
                    None => self.orphan(key, grant),
                }
            }
        }
        for (key, grant) in stored {
            self.orphan(key, grant);
        }
    }

    fn orphan(&mut self, key: &'a GrantKey, grant: &'a ObservedGrant) {
        self.orphans
            .entry(&key.database)
            .or_default()
            .push((key, grant));
    }
}

/// The number of an application's grant on a database.
fn link(
    catalog: &Catalog,
    place: usize,
    application: &Application,
    database: &DatabaseKey,
) -> Option<usize> {
    let index = application
        .grants
        .iter()
        .position(|grant| grant.database == *database)?;
    catalog.links_of(place).nth(index).map(|(link, _)| link)
}

/// Values by the places of the wanted keys, and those that are not wanted.
fn join<'a, K: Ord, V>(
    wanted: impl Iterator<Item = &'a K>,
    seen: &'a BTreeMap<K, V>,
) -> (Vec<Option<&'a V>>, Vec<(&'a K, &'a V)>) {
    let mut seen = seen.iter().peekable();
    let mut others = Vec::new();
    let found = wanted
        .map(|key| advance(key, &mut seen, &mut others))
        .collect();
    others.extend(seen);
    (found, others)
}

fn advance<'a, K: Ord, V>(
    key: &K,
    seen: &mut Peekable<impl Iterator<Item = (&'a K, &'a V)>>,
    others: &mut Vec<(&'a K, &'a V)>,
) -> Option<&'a V> {
    loop {
        let (next, _) = seen.peek()?;
        match (*next).cmp(key) {
            Ordering::Less => others.extend(seen.next()),
            Ordering::Equal => return seen.next().map(|(_, value)| value),
            Ordering::Greater => return None,
        }
    }
}
