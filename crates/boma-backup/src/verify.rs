//! Reads everything of one instance in a repository, and says what is wrong with it.
//!
//! ```text
//!   manifests ──► which bytes of which frames belong to which files
//!   each object ──► every frame opened; of packs, sums of the parts that files consist of
//!   manifests ──► each file put together out of sums: its CRC-32C, the hashes of its blocks
//!   write-ahead log ──► digests, names, headers; gaps
//! ```
//!
//! Each object is read once, frame by frame, however many backups need it; what is kept in memory
//! is one chunk of an object, one manifest, and some 50 bytes for each mebibyte of files and each
//! block that changed. Nothing is written.

mod log;
mod sums;

#[cfg(test)]
mod lies;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use boma_instance::wal::{Segment, Timeline, WalFile};
use boma_problem::{Class, IntoProblem, Problem};

use self::sums::Wanted;
use crate::catalog::{Backup, Cache, Catalog, Gap, Origin};
use crate::format::label::Label;
use crate::format::manifest::Manifest;
use crate::format::names::{ObjectName, Prefix};
use crate::frames::Frames;
use crate::meter::{Cancelled, Meter};
use crate::store::{Listed, Repository, StoreError};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Objects that were read.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Base backups that are whole, oldest first.
    pub whole: Vec<Label>,
    /// Base backups that cannot be restored, and why.
    pub unusable: BTreeMap<Label, Vec<String>>,
    /// What is wrong, with the object that it is wrong with.
    pub findings: Vec<Finding>,
    /// Segments that are missing between two that are there.
    pub gaps: Vec<Gap>,
    /// What attempts left, or one that is running.
    pub remains: Vec<Label>,
    /// Objects that Boma does not write.
    pub strangers: Vec<String>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whole name of the object.
    pub object: String,
    /// What.
    pub problem: Problem,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.unusable.is_empty() && self.gaps.is_empty()
    }

    fn found(&mut self, object: &str, problem: Problem) {
        self.findings.push(Finding {
            object: object.to_owned(),
            problem,
        });
    }

    fn unusable(&mut self, label: &Label, why: String) {
        let reasons = self.unusable.entry(label.clone()).or_default();
        if !reasons.contains(&why) {
            reasons.push(why);
        }
    }
}

/// Why not everything was looked at.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It was told to stop.
    #[error("verify the backups")]
    Cancelled(#[source] Cancelled),
}

impl IntoProblem for VerifyError {
    fn problem(&self) -> Problem {
        match self {
            Self::Store(error) => error.problem(),
            Self::Cancelled(_) => Problem::from_error(Class::User, "verify-cancelled", self),
        }
    }
}

/// Reads everything of one instance. Damage is in the report; an error means that the store did
/// not answer, and says nothing about what is in it.
pub async fn verify(
    repository: &Repository,
    prefix: &Prefix,
    meter: &Meter,
) -> Result<Report, VerifyError> {
    repository.confirm().await?;
    let catalog = Catalog::read(repository, prefix, &mut Cache::default()).await?;
    let mut listed = repository.list(&prefix.to_string()).await?;
    let is_new = |one: &&Listed| listed.iter().all(|known| known.name != one.name);
    let unlisted: Vec<_> = catalog.unlisted.iter().filter(is_new).cloned().collect();
    listed.extend(unlisted);
    meter.expect(listed.iter().map(|object| object.bytes).sum());
    let mut run = Run {
        repository,
        catalog: &catalog,
        meter,
        report: Report {
            gaps: catalog.archive.gaps(),
            remains: catalog
                .remains
                .iter()
                .map(|one| one.label.clone())
                .collect(),
            strangers: catalog.strangers.clone(),
            ..Report::default()
        },
        wanted: Wanted::default(),
        bad_segments: BTreeSet::new(),
    };
    run.report_catalog(&listed);
    run.want().await?;
    run.read_objects(&listed).await?;
    run.put_together().await?;
    Ok(run.end())
}

struct Run<'a> {
    repository: &'a Repository,
    catalog: &'a Catalog,
    meter: &'a Meter,
    report: Report,
    wanted: Wanted,
    bad_segments: BTreeSet<Segment>,
}

impl Run<'_> {
    /// What the listing shows already.
    fn report_catalog(&mut self, listed: &[Listed]) {
        let prefix = &self.catalog.prefix;
        for one in &self.catalog.unreadable {
            let name = prefix.manifest(&one.label);
            self.report.found(name.as_str(), one.problem.clone());
            self.report
                .unusable(&one.label, "its manifest cannot be read".into());
        }
        for backup in &self.catalog.backups {
            for name in &backup.missing {
                self.report
                    .unusable(&backup.label, format!("`{name}` is missing"));
                self.report.found(name, missing(name));
            }
            if !backup.has_map {
                let name = prefix.map(&backup.label);
                self.report.found(name.as_str(), missing(name.as_str()));
            }
        }
        let owner = prefix.owner();
        if !listed.is_empty() && !listed.iter().any(|one| one.name == owner.as_str()) {
            self.report.found(owner.as_str(), missing(owner.as_str()));
        }
        self.report_histories();
    }

    fn report_histories(&mut self) {
        for (timeline, line) in &self.catalog.archive.lines {
            let file = WalFile::History(*timeline);
            let name = self.catalog.prefix.wal(file, self.catalog.segment_size);
            match &line.history {
                Some(Origin::Damaged(problem)) => {
                    self.report.found(name.as_str(), problem.clone());
                }
                None if *timeline > Timeline(1) => {
                    self.report.found(name.as_str(), missing(name.as_str()));
                }
                Some(Origin::Known { .. }) | None => {}
            }
        }
    }

    /// Notes which parts of which frames are to be summed up.
    async fn want(&mut self) -> Result<(), VerifyError> {
        for backup in &self.catalog.backups {
            self.meter.check().map_err(VerifyError::Cancelled)?;
            if let Some(manifest) = self.manifest(&backup.label).await? {
                self.wanted.add(&manifest);
            }
        }
        Ok(())
    }

    /// A manifest that could be read a moment ago; none: it changed, which is noted.
    async fn manifest(&mut self, label: &Label) -> Result<Option<Manifest>, VerifyError> {
        let name = self.catalog.prefix.manifest(label);
        let read = self.repository.get(&name).await;
        let Some(bytes) = self.look(&name, read)? else {
            return Ok(None);
        };
        let manifest = bytes.map(|bytes| Manifest::decode(&bytes));
        if let Some(Ok(manifest)) = manifest {
            return Ok(Some(manifest));
        }
        self.report.found(name.as_str(), missing(name.as_str()));
        self.report
            .unusable(label, "its manifest cannot be read".into());
        Ok(None)
    }

    /// Notes damage; what the store did not do is an error.
    fn look<T>(
        &mut self,
        name: &ObjectName,
        read: Result<T, StoreError>,
    ) -> Result<Option<T>, VerifyError> {
        match read {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_damage() => {
                self.report.found(name.as_str(), error.problem());
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn read_objects(&mut self, listed: &[Listed]) -> Result<(), VerifyError> {
        for object in listed {
            self.meter.check().map_err(VerifyError::Cancelled)?;
            match known(self.catalog, &object.name) {
                Some(Known::Manifest) => {}
                Some(Known::Pack(label, number)) => {
                    let name = self.catalog.prefix.pack(&label, number);
                    let read = self.read_pack(&name, (&label, number), object.bytes).await;
                    self.look(&name, read)?;
                }
                Some(Known::Log(file)) => self.read_log(file, object.bytes).await?,
                Some(Known::Other(name)) => {
                    let read = read_all(self.repository, &name, object.bytes).await;
                    self.look(&name, read)?;
                }
                None => continue,
            }
            self.report.objects += 1;
            self.report.bytes += object.bytes;
            self.meter.add(object.bytes);
        }
        Ok(())
    }

    async fn read_pack(
        &mut self,
        name: &ObjectName,
        (label, number): (&Label, u32),
        bytes: u64,
    ) -> Result<(), StoreError> {
        let mut frames = Frames::open(self.repository, name, bytes).await?;
        while let Some(frame) = frames.next().await? {
            self.wanted.sum(label, number, &frame);
        }
        Ok(())
    }

    /// Puts each file together out of sums, and holds it against what its manifest says.
    async fn put_together(&mut self) -> Result<(), VerifyError> {
        for backup in &self.catalog.backups {
            self.meter.check().map_err(VerifyError::Cancelled)?;
            let Some(manifest) = self.manifest(&backup.label).await? else {
                continue;
            };
            for path in self.wanted.wrong_files(&manifest) {
                let why = format!("`{path}` of it is damaged, or cannot be read");
                self.report.unusable(&backup.label, why);
            }
            if backup.has_map {
                self.compare_map(backup, &manifest).await?;
            }
        }
        Ok(())
    }

    async fn compare_map(
        &mut self,
        backup: &Backup,
        manifest: &Manifest,
    ) -> Result<(), VerifyError> {
        let name = self.catalog.prefix.map(&backup.label);
        let read = self.map_is_right(&name, manifest).await;
        let already = self
            .report
            .findings
            .iter()
            .any(|one| one.object == name.as_str());
        match read {
            Ok(true) => Ok(()),
            Ok(false) => {
                let text =
                    format!("`{name}` in the backup repository has hashes of other contents");
                let problem = Problem::new(Class::Config, "repository-damaged", text)
                    .hint("The backup can be restored. The next one should be a full one.");
                self.report.found(name.as_str(), problem);
                Ok(())
            }
            Err(error) if error.is_damage() => {
                if !already {
                    self.report.found(name.as_str(), error.problem());
                }
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn map_is_right(
        &self,
        name: &ObjectName,
        manifest: &Manifest,
    ) -> Result<bool, StoreError> {
        let Some(bytes) = self.repository.size(name).await? else {
            return Ok(false);
        };
        let mut frames = Frames::open(self.repository, name, bytes).await?;
        let mut files = sums::by_map_frame(manifest);
        while let Some(frame) = frames.next().await? {
            if !sums::is_listed(&manifest.map, &frame) {
                return Ok(false);
            }
            let here = files.remove(&frame.index).unwrap_or_default();
            if !here
                .iter()
                .all(|file| self.wanted.hashes_fit(manifest, file, frame.plain))
            {
                return Ok(false);
            }
        }
        Ok(files.is_empty())
    }

    fn end(mut self) -> Report {
        for backup in &self.catalog.backups {
            let lacking = self.lacking_segment(backup);
            if let Some(segment) = lacking {
                let file = segment.file_name(self.catalog.segment_size);
                let why = format!("`{file}` of the write-ahead log is missing or damaged");
                self.report.unusable(&backup.label, why);
            }
        }
        let unusable = &self.report.unusable;
        let labels = self.catalog.backups.iter().map(|backup| &backup.label);
        self.report.whole = labels
            .filter(|label| !unusable.contains_key(label))
            .cloned()
            .collect();
        self.report
            .findings
            .sort_by(|one, other| one.object.cmp(&other.object));
        self.report.findings.dedup_by(|one, other| one == other);
        self.report
    }

    fn lacking_segment(&self, backup: &Backup) -> Option<Segment> {
        let span = backup.span();
        (span.first..=span.last)
            .map(|number| Segment {
                timeline: backup.timeline(),
                number,
            })
            .find(|segment| {
                self.bad_segments.contains(segment) || self.catalog.archive.run(*segment).is_none()
            })
    }
}

/// What an object of a listing is.
enum Known {
    /// Read elsewhere.
    Manifest,
    Pack(Label, u32),
    Log(WalFile),
    Other(ObjectName),
}

/// None: it is nothing that Boma writes.
fn known(catalog: &Catalog, name: &str) -> Option<Known> {
    let prefix = &catalog.prefix;
    let rest = name.strip_prefix(&format!("{prefix}/"))?;
    match rest.split('/').collect::<Vec<_>>().as_slice() {
        ["owner"] => Some(Known::Other(prefix.owner())),
        ["drill"] => Some(Known::Other(prefix.drill())),
        ["backup", label, object] => {
            let label: Label = label.parse().ok()?;
            if let Some(number) = object.strip_prefix("pack-") {
                let number = number.parse().ok()?;
                let same = prefix.pack(&label, number).as_str() == name;
                return same.then_some(Known::Pack(label, number));
            }
            match *object {
                "manifest" => Some(Known::Manifest),
                "map" => Some(Known::Other(prefix.map(&label))),
                _ => None,
            }
        }
        ["wal", .., file] => {
            let file = WalFile::parse(file, catalog.segment_size).ok()?;
            let same = prefix.wal(file, catalog.segment_size).as_str() == name;
            same.then_some(Known::Log(file))
        }
        _ => None,
    }
}

async fn read_all(
    repository: &Repository,
    name: &ObjectName,
    bytes: u64,
) -> Result<(), StoreError> {
    let mut frames = Frames::open(repository, name, bytes).await?;
    while frames.next().await?.is_some() {}
    Ok(())
}

fn missing(name: &str) -> Problem {
    let text = format!("`{name}` is not in the backup repository, or has another length");
    Problem::new(Class::Config, "repository-damaged", text)
        .hint("`boma backup list DATABASE` shows which backups are whole.")
}
