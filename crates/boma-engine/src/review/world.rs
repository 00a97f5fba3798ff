//! The world as the base's manifests say it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use boma_instance::{InstanceId, InstanceSpec, MajorVersion, Power};
use boma_problem::{Class, Problem};
use jiff::Timestamp;
use uuid::Uuid;

use crate::catalog::{Catalog, Database};
use crate::keys::SecretKey;
use crate::observed::{AgentState, Capabilities, DatabaseRecord, Life, Observed, ObservedDatabase};
use crate::plan::{Asked, Blocked, Plan, outcome, plan};

/// Plans what becomes of a platform on which everything is as the manifests of `base` say, once
/// those of `head` are applied.
///
/// `capabilities` says what the platform is taken to be able to do. Repositories and extensions that
/// it does not name, and secrets, are taken to be there: only the platform knows.
pub fn compare(base: &Catalog, head: &Catalog, capabilities: Capabilities, now: Timestamp) -> Plan {
    let mut number = 0;
    let mut ids = || {
        number += 1;
        InstanceId(Uuid::from_u128(number))
    };
    let asked = Asked::default();
    let notes = notes(base, head, &capabilities);
    let base = as_made(base, head);
    let empty = Observed {
        capabilities: with_named(capabilities, [&base, head]),
        secrets: secrets([&base, head]),
        ..Observed::default()
    };
    let first = plan(&base, &empty, &asked, now, &mut ids);
    let mut seen = outcome(&first, empty, now);
    add_sources(&mut seen, &base, head);
    let before = plan(&base, &seen, &asked, now, &mut ids);
    let mut after = plan(head, &seen, &asked, now, &mut ids);
    leave_out(&mut after, &before);
    after.warnings.extend(notes);
    after
}

/// The base's databases as those that were made of them: where their data once came from is over, and
/// a version that the base leaves open and the head names is taken to be the one they have.
fn as_made(base: &Catalog, head: &Catalog) -> Catalog {
    base.with_databases(|database| {
        let named = head.database(&database.key).and_then(|next| next.version);
        let version = database.version.or(named);
        let is_so = database.restore.is_none() && database.version == version;
        (!is_so).then(|| Database {
            restore: None,
            version,
            ..database.clone()
        })
    })
}

/// Capabilities with the repositories and extensions that manifests name.
fn with_named(mut capabilities: Capabilities, catalogs: [&Catalog; 2]) -> Capabilities {
    let databases: Vec<&Arc<Database>> = catalogs.iter().flat_map(|one| one.databases()).collect();
    let specs = databases.iter().filter_map(|one| one.backup.spec.as_ref());
    let repositories = specs.map(|spec| spec.repository.clone());
    capabilities.repositories.extend(repositories);
    let extensions: BTreeSet<&String> = databases.iter().flat_map(|one| &one.extensions).collect();
    for server in &mut capabilities.servers {
        server
            .extensions
            .extend(extensions.iter().copied().cloned());
    }
    capabilities
}

/// The secrets that manifests name.
fn secrets(catalogs: [&Catalog; 2]) -> BTreeMap<SecretKey, String> {
    let applications = catalogs.iter().flat_map(|one| one.applications());
    let named = applications.flat_map(|one| {
        let names = one.variables.secrets.values();
        names.map(|name| (one.secret(name), String::new()))
    });
    named.collect()
}

/// Databases that the head restores from and that have no manifest are taken to be put away, with
/// their backups.
fn add_sources(seen: &mut Observed, base: &Catalog, head: &Catalog) {
    let newest = seen.capabilities.servers.iter().map(|one| one.major).max();
    for want in head.databases() {
        let Some(restore) = want.restore.as_ref().filter(|one| one.put_away.is_none()) else {
            continue;
        };
        let source = &restore.database;
        if base.database(source).is_some() || head.database(source).is_some() {
            continue;
        }
        if let Some(version) = want.version.or(newest) {
            let id = InstanceId(Uuid::from_u128(u128::MAX - seen.databases.len() as u128));
            seen.databases
                .insert(source.clone(), put_away(want, (id, version)));
        }
    }
}

fn put_away(like: &Database, (id, version): (InstanceId, MajorVersion)) -> ObservedDatabase {
    let spec = InstanceSpec {
        id,
        generation: 1,
        identity: like.identity.clone(),
        database: like.name.clone(),
        version,
        power: Power::Off,
        resources: like.resources,
        parameters: like.parameters.clone(),
        extensions: like.extensions.clone(),
        logins: Vec::new(),
        backup: like.backup.spec.clone(),
        origin: None,
        drift: boma_instance::Drift::default(),
        storage_class: None,
    };
    ObservedDatabase {
        id,
        record: DatabaseRecord {
            deletion_protection: false,
            retention_days: like.backup.retention_days,
            beside: None,
        },
        life: Life::Retired {
            since: Timestamp::MIN,
            until: Timestamp::MAX,
        },
        held: false,
        spec: Some(spec),
        listen: None,
        renew_at: None,
        storage_class: None,
        agent: AgentState::Absent,
    }
}

/// Leaves out what is so already: a merge is not to blame for it.
fn leave_out(after: &mut Plan, before: &Plan) {
    after.waiting.retain(|one| !before.waiting.contains(one));
    // It may stand in another line now.
    let same = |one: &Problem, other: &Problem| one.message == other.message;
    let is_old = |one: &Blocked, other: &Blocked| {
        one.subject == other.subject && same(&one.problem, &other.problem)
    };
    let old = &before.blocked;
    after
        .blocked
        .retain(|one| !old.iter().any(|other| is_old(one, other)));
    let old = &before.warnings;
    after
        .warnings
        .retain(|one| !old.iter().any(|other| same(one, other)));
}

/// What is not known here of databases that are new or changed.
fn notes(base: &Catalog, head: &Catalog, capabilities: &Capabilities) -> Vec<Problem> {
    let known: BTreeSet<&String> = capabilities
        .servers
        .iter()
        .flat_map(|server| &server.extensions)
        .collect();
    let mut notes = Vec::new();
    for want in head.databases() {
        let former = base.database(&want.key);
        let is_new =
            |name: &&String| former.is_none_or(|former| !former.extensions.contains(*name));
        let unknown = want.extensions.iter().filter(is_new);
        for name in unknown.filter(|name| !known.contains(name)) {
            let message = format!(
                "extension {name:?} does not come with PostgreSQL itself; whether the platform has \
                 it is not known here"
            );
            let note = Problem::new(Class::User, "extension-not-known", message).warning();
            notes.push(
                note.at(want.place("spec.extensions"))
                    .hint("If it is not there, the database is refused after the merge."),
            );
        }
        if former.is_none() && want.version.is_none() && want.restore.is_none() {
            let name = &want.key.name;
            let message =
                format!("Database {name} names no version: it gets the platform's newest");
            let note = Problem::new(Class::User, "version-left-open", message).warning();
            notes.push(note.at(want.place("spec")));
        }
    }
    notes
}
