//! What there is and what happened, as it is answered.

use boma_engine::computed::{ApplicationComputed, DatabaseComputed};
use boma_engine::keys::{ApplicationKey, DatabaseKey};
use boma_engine::observed::AgentState;
use boma_engine::platform::{AuditEntry, Event, RecordedEvent};
use boma_instance::backup::BackupSummary;
use boma_manifest::{ApplicationSpec, DatabaseSpec, Manifest};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::asked::Listing;
use crate::site::Site;
use crate::world::{World, is_application, is_database};

/// A part of a list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "{T}Page")]
pub(super) struct Page<T> {
    /// In the order of their identities.
    items: Vec<T>,
    /// What to send as `after` for those behind them; none: these are the last ones.
    next: Option<String>,
}

/// Where a manifest is written.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WrittenAt {
    /// Path within the source.
    file: String,
    /// Counted from 1.
    line: u32,
    /// Why it may not be changed by Boma; none: it may be.
    read_only: Option<String>,
}

/// A database.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Database")]
pub(super) struct DatabaseResource {
    /// Its project: `organization/organizational-unit/environment/project`.
    project: String,
    /// Its name.
    name: String,
    /// What its manifest says; none: it has none any more.
    spec: Option<DatabaseSpec>,
    /// Where that is written.
    written: Option<WrittenAt>,
    /// What was measured.
    computed: DatabaseComputed,
}

/// An application.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Application")]
pub(super) struct ApplicationResource {
    /// Its project: `organization/organizational-unit/environment/project`.
    project: String,
    /// Its name.
    name: String,
    /// What its manifest says; none: it has none any more.
    spec: Option<ApplicationSpec>,
    /// Where that is written.
    written: Option<WrittenAt>,
    /// What was measured.
    computed: ApplicationComputed,
}

/// Something that happened.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Event")]
pub(super) struct EventResource {
    #[serde(flatten)]
    event: Event,
    /// When for the last time.
    last: Timestamp,
    /// How often.
    count: u32,
}

impl From<RecordedEvent> for EventResource {
    fn from(one: RecordedEvent) -> Self {
        Self {
            event: one.event,
            last: one.last,
            count: one.count,
        }
    }
}

/// A part of the list of databases.
pub(super) type DatabasePage = Page<DatabaseResource>;

/// A part of the list of applications.
pub(super) type ApplicationPage = Page<ApplicationResource>;

/// Base backups of a database.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct BackupList {
    /// Whole ones, oldest first.
    items: Vec<BackupSummary>,
    /// Oldest moment that can be restored; none: none, or unknown.
    recoverable_from: Option<Timestamp>,
    /// Newest moment that can be restored; none: none, or unknown.
    recoverable_until: Option<Timestamp>,
}

/// Events, newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct EventList {
    pub(super) items: Vec<EventResource>,
}

/// Entries of the audit trail, newest first.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct AuditList {
    pub(super) items: Vec<AuditEntry>,
}

fn written(site: &Site, manifest: &Manifest) -> WrittenAt {
    let place = manifest.origin().place("metadata.name");
    let read_only = site.read_only(&place.file);
    WrittenAt {
        read_only: read_only.map(|one| one.why.to_string()),
        file: place.file,
        line: place.line,
    }
}

/// The base backups of a database; none are known while its agent does not answer.
pub(super) fn backups(world: &World, key: &DatabaseKey) -> BackupList {
    let seen = world.state.observed.databases.get(key);
    let status = match seen.map(|seen| &seen.agent) {
        Some(AgentState::Answering(status)) => status.backup.as_ref(),
        Some(AgentState::Silent(_) | AgentState::Absent) | None => None,
    };
    let computed = world.database(key);
    BackupList {
        items: status.map_or_else(Vec::new, |status| status.backups.clone()),
        recoverable_from: computed.recoverable_from,
        recoverable_until: computed.recoverable_until,
    }
}

/// A database, as it is answered.
pub(super) fn database(site: &Site, world: &World, key: &DatabaseKey) -> DatabaseResource {
    let snapshot = site.snapshot();
    let manifest = snapshot.manifests().find(|one| is_database(one, key));
    DatabaseResource {
        project: key.project.to_string(),
        name: key.name.to_string(),
        spec: manifest.and_then(|one| match one {
            Manifest::Database(database) => Some(database.spec.clone()),
            Manifest::Application(_) => None,
        }),
        written: manifest.map(|one| written(site, one)),
        computed: world.database(key),
    }
}

/// An application, as it is answered.
pub(super) fn application(site: &Site, world: &World, key: &ApplicationKey) -> ApplicationResource {
    let snapshot = site.snapshot();
    let manifest = snapshot.manifests().find(|one| is_application(one, key));
    ApplicationResource {
        project: key.project.to_string(),
        name: key.name.to_string(),
        spec: manifest.and_then(|one| match one {
            Manifest::Application(application) => Some(application.spec.clone()),
            Manifest::Database(_) => None,
        }),
        written: manifest.map(|one| written(site, one)),
        computed: world.application(key),
    }
}

/// The part of a sorted list that is asked for.
pub(super) fn page<K: ToString, T>(
    keys: impl IntoIterator<Item = K>,
    listing: &Listing,
    show: impl Fn(&K) -> T,
) -> Page<T> {
    let keys = keys.into_iter().map(|key| (key.to_string(), key));
    let mut keys = keys.filter(|(text, _)| text.contains(&listing.filter) && *text > listing.after);
    let limit = usize::try_from(listing.limit).unwrap_or(usize::MAX);
    let shown: Vec<(String, K)> = keys.by_ref().take(limit).collect();
    let is_more = keys.next().is_some();
    let last = shown.last().map(|(text, _)| text.clone());
    Page {
        items: shown.iter().map(|(_, key)| show(key)).collect(),
        next: last.filter(|_| is_more),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(filter: &str, limit: u32, after: &str) -> (Vec<String>, Option<String>) {
        let listing = Listing {
            filter: filter.to_owned(),
            limit,
            after: after.to_owned(),
        };
        let all = ["a/1", "a/2", "b/1", "b/2", "b/3"];
        let page = page(all, &listing, |key| (*key).to_owned());
        (page.items, page.next)
    }

    #[test]
    fn a_list_comes_in_parts_and_none_is_left_out() {
        assert_eq!(ask("", 5, "").1, None);
        let (first, next) = ask("", 2, "");
        assert_eq!(first, ["a/1", "a/2"]);
        let (second, next) = ask("", 2, &next.unwrap());
        assert_eq!(second, ["b/1", "b/2"]);
        assert_eq!(ask("", 2, &next.unwrap()), (vec!["b/3".to_owned()], None));
        assert_eq!(ask("b/", 1, "b/2").0, ["b/3"]);
        assert_eq!(ask("c", 1, ""), (vec![], None));
    }
}
