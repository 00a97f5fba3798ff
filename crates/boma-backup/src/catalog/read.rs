//! Reads a catalog: two listings, what they leave out, and what the cache does not know yet.

mod named;

use std::collections::{BTreeMap, BTreeSet};

use boma_instance::wal::{Segment, Timeline, WalFile};
use boma_problem::{Class, IntoProblem as _, Problem};
use jiff::Timestamp;
use serde::Deserialize;

use self::named::Sizes;
use super::{Backup, Catalog, Line, Origin, Remains, USUAL_SEGMENT, Unreadable};
use crate::format::label::Label;
use crate::format::manifest::Manifest;
use crate::format::names::{ObjectName, Prefix};
use crate::frames::Frames;
use crate::store::{Listed, Repository, StoreError};
use crate::timeline::History;

/// What was read once and never changes: manifests, histories and heads of segments. Belongs to
/// one [`Prefix`]; may be thrown away at any time.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    manifests: BTreeMap<Label, Known>,
    histories: BTreeMap<Timeline, (Listed, Origin)>,
    times: BTreeMap<Segment, Option<Timestamp>>,
}

/// A manifest that was read, without what is large in it.
#[derive(Clone, Debug)]
struct Known {
    /// As it was listed; another length or time is another manifest.
    listed: Listed,
    backup: Backup,
    /// All objects that it needs, with their bytes.
    objects: Vec<(ObjectName, u64)>,
}

/// What a folder of a base backup holds.
#[derive(Default)]
struct Folder {
    manifest: Option<Listed>,
    others: Vec<Listed>,
}

impl Catalog {
    /// Reads what is in one instance's part of a repository.
    ///
    /// # Errors
    ///
    /// When the store fails. What is damaged is in the catalog, with its problem.
    pub async fn read(
        repository: &Repository,
        prefix: &Prefix,
        cache: &mut Cache,
    ) -> Result<Self, StoreError> {
        let mut catalog = Self::empty(*prefix);
        // The backups first: of those that are seen, the log is archived already.
        let listed = repository.list(&prefix.backups_folder()).await?;
        let mut wal = repository.list(&prefix.wal_folder()).await?;
        if listed.is_empty() && wal.is_empty() {
            // A bucket that is gone, or a file system that is not mounted, lists nothing either.
            repository.confirm().await?;
        }
        catalog.read_backups(repository, listed, cache).await?;
        let mut sizes = catalog.backups.iter().map(|backup| backup.segment_size);
        catalog.segment_size = sizes.next_back().unwrap_or(USUAL_SEGMENT);
        let unlisted = named::log(repository, &catalog, &wal).await?;
        wal.extend_from_slice(&unlisted);
        catalog.unlisted.extend(unlisted);
        let objects = catalog.sort_wal(wal);
        catalog.read_histories(repository, &objects, cache).await?;
        catalog.read_times(repository, &objects, cache).await?;
        Ok(catalog)
    }

    async fn read_backups(
        &mut self,
        repository: &Repository,
        listed: Vec<Listed>,
        cache: &mut Cache,
    ) -> Result<(), StoreError> {
        let mut sizes = Sizes::new(&listed);
        let mut folders = self.sort_folders(listed);
        // A listing that leaves a backup out would have its base expire: what was there is asked
        // for by name.
        for label in cache.manifests.keys() {
            folders.entry(label.clone()).or_default();
        }
        cache
            .manifests
            .retain(|label, _| folders.contains_key(label));
        let mut seen = BTreeSet::new();
        while let Some((label, folder)) = folders.pop_first() {
            seen.insert(label.clone());
            match self.find_manifest(repository, &label, &folder).await? {
                Some(listed) => {
                    let needs = self
                        .read_manifest(repository, (label, listed), &mut sizes, cache)
                        .await?;
                    for needed in needs.difference(&seen) {
                        folders.entry(needed.clone()).or_default();
                    }
                }
                None if folder.others.is_empty() => {
                    cache.manifests.remove(&label);
                }
                None => self.remains.push(Remains {
                    label,
                    bytes: folder.others.iter().map(|object| object.bytes).sum(),
                    objects: folder.others.into_iter().map(|one| one.name).collect(),
                }),
            }
        }
        self.backups
            .sort_by(|one, other| one.label.cmp(&other.label));
        self.unlisted.extend(sizes.unlisted());
        Ok(())
    }

    fn sort_folders(&mut self, listed: Vec<Listed>) -> BTreeMap<Label, Folder> {
        let mut folders: BTreeMap<Label, Folder> = BTreeMap::new();
        let root = format!("{}/", self.prefix.backups_folder());
        for object in listed {
            let place = object
                .name
                .strip_prefix(&root)
                .and_then(|rest| rest.split_once('/'));
            let label = place.and_then(|(label, _rest)| label.parse::<Label>().ok());
            match (label, place) {
                (Some(label), Some((_, "manifest"))) => {
                    folders.entry(label).or_default().manifest = Some(object);
                }
                (Some(label), Some(_)) => folders.entry(label).or_default().others.push(object),
                _ => self.strangers.push(object.name),
            }
        }
        folders
    }

    /// A backup whose manifest is not listed is asked for by name: listings may be behind.
    async fn find_manifest(
        &self,
        repository: &Repository,
        label: &Label,
        folder: &Folder,
    ) -> Result<Option<Listed>, StoreError> {
        if let Some(listed) = &folder.manifest {
            return Ok(Some(listed.clone()));
        }
        let name = self.prefix.manifest(label);
        let size = repository.size(&name).await?;
        Ok(size.map(|bytes| Listed {
            name: name.to_string(),
            bytes,
            written_at: newest(&folder.others),
        }))
    }

    /// Reads a manifest; what its backup needs.
    async fn read_manifest(
        &mut self,
        repository: &Repository,
        (label, listed): (Label, Listed),
        sizes: &mut Sizes,
        cache: &mut Cache,
    ) -> Result<BTreeSet<Label>, StoreError> {
        let known = match cache.manifests.get(&label) {
            Some(known) if known.listed == listed => Ok(known.clone()),
            Some(_) | None => fetch_manifest(repository, &self.prefix, &label, listed).await?,
        };
        match known {
            Ok(known) => {
                let mut backup = known.backup.clone();
                let map = self.prefix.map(&label);
                backup.has_map = sizes.of(repository, &map).await?.is_some();
                for (name, bytes) in &known.objects {
                    if sizes.of(repository, name).await? != Some(*bytes) {
                        backup.missing.push(name.to_string());
                    }
                }
                let needs = backup.needs.clone();
                cache.manifests.insert(label, known);
                self.backups.push(backup);
                Ok(needs)
            }
            Err(problem) => {
                self.unreadable.push(Unreadable { label, problem });
                Ok(BTreeSet::new())
            }
        }
    }

    /// Sorts the files of the write-ahead log into their timelines, and returns their objects.
    fn sort_wal(&mut self, listed: Vec<Listed>) -> BTreeMap<WalFile, Listed> {
        let mut objects = BTreeMap::new();
        for object in listed {
            let last = object.name.rsplit('/').next().unwrap_or_default();
            let file = WalFile::parse(last, self.segment_size).ok();
            let file = file
                .filter(|file| self.prefix.wal(*file, self.segment_size).as_str() == object.name);
            match file {
                Some(file) => {
                    objects.insert(file, object);
                }
                None => self.strangers.push(object.name),
            }
        }
        let lines = &mut self.archive.lines;
        for (file, object) in &objects {
            let line: &mut Line = lines.entry(file.timeline()).or_default();
            line.bytes += object.bytes;
            match file {
                WalFile::Segment(segment) => line.push(segment.number),
                WalFile::Partial(_) | WalFile::Label(..) => {
                    line.others.insert(*file);
                }
                WalFile::History(_) => {}
            }
        }
        objects
    }

    async fn read_histories(
        &mut self,
        repository: &Repository,
        objects: &BTreeMap<WalFile, Listed>,
        cache: &mut Cache,
    ) -> Result<(), StoreError> {
        for (file, object) in objects {
            let WalFile::History(timeline) = file else {
                continue;
            };
            let cached = cache
                .histories
                .get(timeline)
                .filter(|(listed, _)| listed == object);
            let origin = match cached {
                Some((_, origin)) => origin.clone(),
                None => self.fetch_history(repository, *timeline, object).await?,
            };
            if matches!(origin, Origin::Known { .. }) {
                cache
                    .histories
                    .insert(*timeline, (object.clone(), origin.clone()));
            }
            let line = self.archive.lines.entry(*timeline).or_default();
            line.history = Some(origin);
        }
        Ok(())
    }

    async fn fetch_history(
        &self,
        repository: &Repository,
        timeline: Timeline,
        listed: &Listed,
    ) -> Result<Origin, StoreError> {
        let name = self
            .prefix
            .wal(WalFile::History(timeline), self.segment_size);
        let read = async {
            let mut frames = Frames::open(repository, &name, listed.bytes).await?;
            let mut head = None;
            let mut content = Vec::new();
            while let Some(frame) = frames.next().await? {
                if frame.index == 0 {
                    head = Some(modified_at(frame.plain));
                } else {
                    content.extend_from_slice(frame.plain);
                }
            }
            Ok((head.flatten(), content))
        };
        let (begun_at, content) = match damage(read.await)? {
            Ok(read) => read,
            Err(problem) => return Ok(Origin::Damaged(problem)),
        };
        let text = String::from_utf8_lossy(&content);
        Ok(match History::parse(timeline, &text) {
            Ok(history) => Origin::Known { history, begun_at },
            Err(error) => Origin::Damaged(unreadable(name.as_str(), &error)),
        })
    }

    /// Reads the heads of the segments whose times matter: the last of each run, and those at
    /// which a timeline was left.
    async fn read_times(
        &mut self,
        repository: &Repository,
        objects: &BTreeMap<WalFile, Listed>,
        cache: &mut Cache,
    ) -> Result<(), StoreError> {
        for segment in self.archive.segments_of_interest(self.segment_size) {
            let Some(listed) = objects.get(&WalFile::Segment(segment)) else {
                continue;
            };
            let time = match cache.times.get(&segment) {
                Some(time) => *time,
                None => self.fetch_time(repository, segment, listed).await?,
            };
            cache.times.insert(segment, time);
            let line = self.archive.lines.entry(segment.timeline).or_default();
            line.times.extend(time.map(|time| (segment.number, time)));
        }
        Ok(())
    }

    /// None: its head cannot be read; `verify` says why, and here its time is unknown.
    async fn fetch_time(
        &self,
        repository: &Repository,
        segment: Segment,
        listed: &Listed,
    ) -> Result<Option<Timestamp>, StoreError> {
        let name = self
            .prefix
            .wal(WalFile::Segment(segment), self.segment_size);
        let read = async {
            let mut frames = Frames::open_head(repository, &name, listed.bytes).await?;
            let head = frames.next().await?;
            Ok(head.and_then(|frame| modified_at(frame.plain)))
        };
        Ok(damage(read.await)?.unwrap_or_default())
    }
}

async fn fetch_manifest(
    repository: &Repository,
    prefix: &Prefix,
    label: &Label,
    listed: Listed,
) -> Result<Result<Known, Problem>, StoreError> {
    let name = prefix.manifest(label);
    let sealed = match damage(repository.get(&name).await)? {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(Err(unreadable(name.as_str(), &"it was deleted meanwhile"))),
        Err(problem) => return Ok(Err(problem)),
    };
    let manifest = match Manifest::decode(&sealed) {
        Ok(manifest) => manifest,
        Err(error) => return Ok(Err(unreadable(name.as_str(), &error))),
    };
    let ours = manifest.label == *label
        && manifest.server.instance == prefix.instance
        && manifest.server.system_identifier == prefix.system_identifier;
    if !ours {
        return Ok(Err(unreadable(name.as_str(), &"it is of another backup")));
    }
    Ok(Ok(Known {
        backup: Backup {
            label: label.clone(),
            summary: manifest.summary(),
            needs: manifest.needs(),
            segment_size: manifest.server.segment_size,
            written_at: listed.written_at,
            missing: Vec::new(),
            has_map: false,
        },
        objects: objects(prefix, &manifest),
        listed,
    }))
}

/// Objects that restoring it needs.
fn objects(prefix: &Prefix, manifest: &Manifest) -> Vec<(ObjectName, u64)> {
    let packs = manifest.packs.iter();
    packs
        .map(|pack| (prefix.pack(&pack.backup, pack.number), pack.bytes))
        .collect()
}

/// Sorts out what a store did not do, from objects that are damaged.
fn damage<T>(result: Result<T, StoreError>) -> Result<Result<T, Problem>, StoreError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) if error.is_damage() => Ok(Err(error.problem())),
        Err(error) => Err(error),
    }
}

fn unreadable(name: &str, why: &impl std::fmt::Display) -> Problem {
    let text = format!("`{name}` in the backup repository cannot be read: {why}");
    Problem::new(Class::Config, "repository-damaged", text)
        .hint("`boma backup verify` lists what is damaged and which backups are whole.")
}

fn newest(objects: &[Listed]) -> Timestamp {
    let times = objects.iter().map(|object| object.written_at);
    times.max().unwrap_or(Timestamp::MIN)
}

/// What the first frame of a file of the write-ahead log says, of which only the time is wanted.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    modified_at: Timestamp,
}

fn modified_at(head: &[u8]) -> Option<Timestamp> {
    let head: Head = serde_json::from_slice(head).ok()?;
    Some(head.modified_at)
}
