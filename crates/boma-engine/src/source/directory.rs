//! Manifests in a directory, such as a checked-out repository.

use std::collections::{HashMap, HashSet};
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use boma_problem::{IntoProblem, Problem};

use super::entry::{Known, look};
use super::parallel::in_parallel;
use super::roots::labelled;
use super::walk::{Candidate, Found, plain_file, single, walk};
use super::{File, Snapshot, SourceError};

/// Most threads that read a directory: beyond these the disk's queue is full.
const MOST_THREADS: usize = 8;

/// Manifests in a directory, or one file.
///
/// Read are `.yaml`, `.yml` and `.json`, wherever they are below it, less what `.gitignore` names
/// and what is in directories whose name begins with a dot. Links are followed to files within the
/// directory (Kubernetes mounts configuration so); one that leads out of it is an error, because
/// problems repeat lines of what they are about.
#[derive(Debug)]
pub struct DirectorySource {
    root: PathBuf,
    /// What tells its files from those of other sources; empty: there are no others.
    label: String,
    known: HashMap<String, Known>,
    /// The files of the last snapshot, sorted by name.
    last: Vec<Arc<File>>,
    /// Whether nothing hindered the last reading.
    is_sound: bool,
}

impl DirectorySource {
    /// A source at a path; nothing is read yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self::labelled(root, "")
    }

    /// One of several sources: the names of its files begin with its label.
    pub fn labelled(root: impl Into<PathBuf>, label: &str) -> Self {
        Self {
            root: root.into(),
            label: label.to_owned(),
            known: HashMap::new(),
            last: Vec::new(),
            is_sound: false,
        }
    }

    /// What the names of its files begin with; empty: nothing.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The path that it was made with.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Reads everything, except files that look as they did the last time.
    ///
    /// # Guarantees
    /// A file that cannot be read, or that leads elsewhere, is a problem and never silently
    /// missing: what is missing would be taken for removed.
    pub fn read(&mut self) -> Snapshot {
        self.read_at(SystemTime::now())
    }

    /// Reads what a watcher of the directory named, and takes everything else as it was.
    ///
    /// # Guarantees
    /// The answer is that of [`Self::read`], provided that `paths` has every path that changed.
    /// Where looking at these alone could miss something (files that are new, links, directories,
    /// patterns, anything that was wrong before), everything is read.
    pub fn read_changed(&mut self, paths: &[PathBuf]) -> Snapshot {
        self.read_known(paths).unwrap_or_else(|| self.read())
    }

    fn read_known(&mut self, paths: &[PathBuf]) -> Option<Snapshot> {
        if !self.is_sound {
            return None;
        }
        let now = SystemTime::now();
        let root = self.root.canonicalize().ok()?;
        let mut files = self.last.clone();
        let mut looked = Vec::new();
        for path in paths {
            let below = path
                .strip_prefix(&root)
                .or_else(|_| path.strip_prefix(&self.root))
                .ok()?;
            let name = &*labelled(&self.label, below.to_str()?);
            let known = self.known.get(name).filter(|known| !known.is_link)?;
            let candidate = plain_file(root.join(below), name)?;
            let file = look(&candidate, Some(known), now).ok()??;
            // A file that is, or was, too large to be a manifest has no place in the list.
            let at = files
                .binary_search_by(|file| (*file.source.name).cmp(name))
                .ok()?;
            files[at] = Arc::clone(file.file.as_ref()?);
            looked.push((candidate.name, file));
        }
        self.known.extend(looked);
        let changes = changes(&self.last, &files);
        self.last.clone_from(&files);
        Some(Snapshot {
            files,
            problems: Vec::new(),
            changes,
            ..Snapshot::default()
        })
    }

    fn read_at(&mut self, now: SystemTime) -> Snapshot {
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let threads = threads.min(MOST_THREADS);
        let mut found = find(&self.root, threads).unwrap_or_else(|error| Found {
            errors: vec![error],
            ..Found::default()
        });
        found.label(&self.label);
        let looked = in_parallel(threads, &found.candidates, |candidate| {
            look(candidate, self.known.get(&candidate.name), now)
        });
        let mut errors = found.errors;
        let known = keep(found.candidates, looked, &mut errors);
        self.snapshot(known, &errors)
    }

    fn snapshot(&mut self, known: HashMap<String, Known>, errors: &[SourceError]) -> Snapshot {
        let mut problems: Vec<Problem> = errors.iter().map(IntoProblem::problem).collect();
        problems.sort_by(|one, other| one.place.cmp(&other.place));
        let mut files: Vec<_> = known
            .values()
            .filter_map(|known| known.file.clone())
            .collect();
        files.sort_unstable_by(|one, other| one.source.name.cmp(&other.source.name));
        let changes = changes(&self.last, &files);
        self.known = known;
        self.is_sound = problems.is_empty();
        self.last.clone_from(&files);
        Snapshot {
            files,
            problems,
            changes,
            ..Snapshot::default()
        }
    }
}

/// Sorts out what the looks gave: every file once, under its own name rather than a link's.
fn keep(
    candidates: Vec<Candidate>,
    looked: Vec<Result<Option<Known>, SourceError>>,
    errors: &mut Vec<SourceError>,
) -> HashMap<String, Known> {
    let mut known = HashMap::with_capacity(candidates.len());
    let mut links = Vec::new();
    for (candidate, looked) in candidates.into_iter().zip(looked) {
        match looked {
            Ok(Some(file)) if candidate.is_link => links.push((candidate.name, file)),
            Ok(Some(file)) => {
                known.insert(candidate.name, file);
            }
            Ok(None) => {}
            Err(error) => errors.push(error),
        }
    }
    if !links.is_empty() {
        links.sort_by(|(one, _), (other, _)| one.cmp(other));
        let identity = |file: &Known| file.stamp.identity();
        let mut there: HashSet<_> = known.values().map(identity).collect();
        links.retain(|(_, file)| there.insert(identity(file)));
        known.extend(links);
    }
    known
}

fn find(root: &Path, threads: usize) -> Result<Found, SourceError> {
    let path = || root.display().to_string();
    let failed = |cause: io::Error| {
        if cause.kind() == io::ErrorKind::NotFound {
            SourceError::NothingThere { path: path() }
        } else {
            SourceError::Unreadable {
                path: path(),
                cause,
            }
        }
    };
    let root = root.canonicalize().map_err(failed)?;
    let metadata = root.symlink_metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Ok(walk(&root, threads));
    }
    Ok(Found {
        candidates: vec![single(&root, metadata)],
        errors: Vec::new(),
    })
}

/// Number of files that are new, changed or gone; both lists are sorted by name.
fn changes(before: &[Arc<File>], now: &[Arc<File>]) -> usize {
    let (mut before, mut now) = (before.iter().peekable(), now.iter().peekable());
    let mut changes = 0;
    loop {
        let order = match (before.peek(), now.peek()) {
            (Some(one), Some(other)) => one.source.name.cmp(&other.source.name),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => return changes,
        };
        let former = before.next_if(|_| order.is_le());
        let current = now.next_if(|_| order.is_ge());
        let same = matches!((former, current), (Some(one), Some(other)) if Arc::ptr_eq(one, other));
        changes += usize::from(!same);
    }
}

#[cfg(test)]
mod tests;
