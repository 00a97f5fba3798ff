//! What a listing leaves out is asked for by name, where something says that it is there; and what
//! it shows is asked for by name before anything else is deleted because of it.
//!
//! Listings may be behind, and a store may lie. What they leave out is never deleted, since it is
//! not known; but the log that it needs would be.

use std::collections::{BTreeMap, BTreeSet};

use boma_instance::wal::{Segment, Timeline, WalFile};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

use super::Cache;
use crate::catalog::{Backup, Catalog};
use crate::format::label::Label;
use crate::format::names::ObjectName;
use crate::store::{Listed, Repository, StoreError};

/// Questions at once.
const AT_ONCE: usize = 8;

/// Bytes of objects: as listed, or else as the store says when it is asked for one of them.
pub(super) struct Sizes {
    listed: BTreeMap<String, u64>,
    asked: BTreeMap<String, Option<u64>>,
}

impl Sizes {
    pub(super) fn new(listed: &[Listed]) -> Self {
        let bytes = |object: &Listed| (object.name.clone(), object.bytes);
        Self {
            listed: listed.iter().map(bytes).collect(),
            asked: BTreeMap::new(),
        }
    }

    /// None: it is not there.
    pub(super) async fn of(
        &mut self,
        repository: &Repository,
        name: &ObjectName,
    ) -> Result<Option<u64>, StoreError> {
        if let Some(bytes) = self.listed.get(name.as_str()) {
            return Ok(Some(*bytes));
        }
        if let Some(known) = self.asked.get(name.as_str()) {
            return Ok(*known);
        }
        let bytes = repository.size(name).await?;
        self.asked.insert(name.to_string(), bytes);
        Ok(bytes)
    }

    /// Objects that are there and were not listed.
    pub(super) fn unlisted(self) -> impl Iterator<Item = Listed> {
        let there = |(name, bytes): (String, Option<u64>)| Some(unlisted(name, bytes?));
        self.asked.into_iter().filter_map(there)
    }
}

fn unlisted(name: String, bytes: u64) -> Listed {
    Listed {
        name,
        bytes,
        written_at: Timestamp::MIN,
    }
}

/// Files of the write-ahead log that are there and were not listed: where there seems to be a gap,
/// where a backup needs them, and the history of a timeline that nobody knows of yet.
pub(super) async fn log(
    repository: &Repository,
    catalog: &Catalog,
    listed: &[Listed],
) -> Result<Vec<Listed>, StoreError> {
    let mut log = Log::new(repository, catalog, listed);
    for backup in &catalog.backups {
        let span = backup.span();
        for number in span.first..=span.last {
            if !log.ask(backup.timeline(), number).await? {
                break;
            }
        }
    }
    for (timeline, first) in log.gaps() {
        let mut number = first;
        while log.ask(timeline, number).await? {
            number += 1;
        }
    }
    log.ask_for_histories().await?;
    Ok(log.found)
}

struct Log<'a> {
    repository: &'a Repository,
    catalog: &'a Catalog,
    files: BTreeSet<WalFile>,
    found: Vec<Listed>,
}

impl<'a> Log<'a> {
    fn new(repository: &'a Repository, catalog: &'a Catalog, listed: &[Listed]) -> Self {
        let last = |name: &str| WalFile::parse(name.rsplit('/').next()?, catalog.segment_size).ok();
        Self {
            repository,
            catalog,
            files: listed.iter().filter_map(|one| last(&one.name)).collect(),
            found: Vec::new(),
        }
    }

    /// Whether a segment is there.
    async fn ask(&mut self, timeline: Timeline, number: u64) -> Result<bool, StoreError> {
        self.ask_for(WalFile::Segment(Segment { timeline, number }))
            .await
    }

    async fn ask_for(&mut self, file: WalFile) -> Result<bool, StoreError> {
        if self.files.contains(&file) {
            return Ok(true);
        }
        let name = self.catalog.prefix.wal(file, self.catalog.segment_size);
        let Some(bytes) = self.repository.size(&name).await? else {
            return Ok(false);
        };
        self.files.insert(file);
        self.found.push(unlisted(name.to_string(), bytes));
        Ok(true)
    }

    /// The first segment of each gap.
    fn gaps(&self) -> Vec<(Timeline, u64)> {
        let mut gaps = Vec::new();
        let mut before: Option<Segment> = None;
        for file in &self.files {
            let WalFile::Segment(segment) = *file else {
                continue;
            };
            if let Some(before) = before
                && before.timeline == segment.timeline
                && before.number + 1 < segment.number
            {
                gaps.push((segment.timeline, before.number + 1));
            }
            before = Some(segment);
        }
        gaps
    }

    /// Of timelines that there is anything of, and of the next one: an older one must not be taken
    /// for the newest. PostgreSQL archives a history before anything else of its timeline.
    async fn ask_for_histories(&mut self) -> Result<(), StoreError> {
        let mut timelines: BTreeSet<_> = self.files.iter().map(|file| file.timeline()).collect();
        timelines.extend(self.catalog.backups.iter().map(Backup::timeline));
        timelines.remove(&Timeline(1));
        let newest = timelines.last().copied();
        for timeline in timelines {
            self.ask_for(WalFile::History(timeline)).await?;
        }
        let mut next = newest.unwrap_or(Timeline(1)).0 + 1;
        while self.ask_for(WalFile::History(Timeline(next))).await? {
            next += 1;
        }
        Ok(())
    }
}

impl Catalog {
    /// Asks for all that some backups need by name. False: not all was there that was listed, and
    /// this catalog knows it now.
    pub(crate) async fn confirm(
        &mut self,
        repository: &Repository,
        cache: &Cache,
        labels: &BTreeSet<Label>,
    ) -> Result<bool, StoreError> {
        let lost = self.lost(repository, cache, labels).await?;
        if lost.is_empty() {
            return Ok(true);
        }
        for backup in &mut self.backups {
            let objects = cache.manifests.get(&backup.label);
            let objects = objects.into_iter().flat_map(|known| &known.objects);
            let manifest = self.prefix.manifest(&backup.label);
            let names = objects.map(|(name, _)| name).chain([&manifest]);
            let missing = names.map(ToString::to_string);
            backup
                .missing
                .extend(missing.filter(|name| lost.contains(name)));
            backup.missing.dedup();
        }
        for (timeline, line) in &mut self.archive.lines {
            let name = |number: u64| {
                let timeline = *timeline;
                let file = WalFile::Segment(Segment { timeline, number });
                self.prefix.wal(file, self.segment_size).to_string()
            };
            line.remove(|number| lost.contains(&name(number)));
        }
        Ok(false)
    }

    /// Names of what is listed, is needed, and is not there.
    async fn lost(
        &self,
        repository: &Repository,
        cache: &Cache,
        labels: &BTreeSet<Label>,
    ) -> Result<BTreeSet<String>, StoreError> {
        let mut wanted: BTreeMap<String, (ObjectName, Option<u64>)> = BTreeMap::new();
        let mut want = |name: ObjectName, bytes| wanted.insert(name.to_string(), (name, bytes));
        let whole = self.whole().filter(|one| labels.contains(&one.label));
        for backup in whole {
            want(self.prefix.manifest(&backup.label), None);
            for (name, bytes) in cache
                .manifests
                .get(&backup.label)
                .iter()
                .flat_map(|one| &one.objects)
            {
                want(name.clone(), Some(*bytes));
            }
            let span = backup.span();
            for number in span.first..=span.last {
                let timeline = backup.timeline();
                let file = WalFile::Segment(Segment { timeline, number });
                want(self.prefix.wal(file, self.segment_size), None);
            }
        }
        stream::iter(wanted.into_values())
            .map(|(name, bytes)| async move {
                let found = repository.size(&name).await?;
                let as_listed = found.is_some() && bytes.is_none_or(|bytes| found == Some(bytes));
                Ok((!as_listed).then(|| name.to_string()))
            })
            .buffered(AT_ONCE)
            .try_filter_map(|lost| async move { Ok(lost) })
            .try_collect()
            .await
    }
}
