//! Manifests in a directory, such as a checked-out repository.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::SystemTime;

use boma_problem::{IntoProblem, Problem};
use ignore::{DirEntry, WalkBuilder, WalkState};

use super::entry::{Known, look};
use super::{Snapshot, SourceError};

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
    known: HashMap<String, Known>,
}

/// What the threads that look find.
enum Found {
    File(String, Known),
    Link(String, Known),
    Problem(Problem),
}

impl DirectorySource {
    /// A source at a path; nothing is read yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            known: HashMap::new(),
        }
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

    fn read_at(&mut self, now: SystemTime) -> Snapshot {
        let root = match self.root.canonicalize() {
            Ok(root) => root,
            Err(cause) => return self.nothing(cause),
        };
        let looker = Looker {
            root: &root,
            known: &self.known,
            now,
        };
        let found = looker.look_everywhere();
        self.snapshot(found)
    }

    fn nothing(&mut self, cause: io::Error) -> Snapshot {
        let path = self.root.display().to_string();
        let error = if cause.kind() == io::ErrorKind::NotFound {
            SourceError::NothingThere { path }
        } else {
            SourceError::Unreadable { path, cause }
        };
        Snapshot {
            problems: vec![error.problem()],
            changes: std::mem::take(&mut self.known).len(),
            ..Snapshot::default()
        }
    }

    fn snapshot(&mut self, found: Vec<Found>) -> Snapshot {
        let mut known = HashMap::with_capacity(found.len());
        let mut links = Vec::new();
        let mut problems = Vec::new();
        for one in found {
            match one {
                Found::File(name, file) => {
                    known.insert(name, file);
                }
                Found::Link(name, file) => links.push((name, file)),
                Found::Problem(problem) => problems.push(problem),
            }
        }
        add_links(&mut known, links);
        problems.sort_by(|one, other| one.place.cmp(&other.place));
        let mut files: Vec<_> = known
            .values()
            .filter_map(|known| known.file.clone())
            .collect();
        files.sort_by(|one, other| one.source.name.cmp(&other.source.name));
        let changes = changes(&self.known, &known);
        self.known = known;
        Snapshot {
            files,
            problems,
            changes,
        }
    }
}

/// Adds what links lead to, unless it is there under its own name already.
fn add_links(known: &mut HashMap<String, Known>, mut links: Vec<(String, Known)>) {
    links.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut there: HashSet<_> = known.values().map(|known| known.stamp.identity()).collect();
    for (name, file) in links {
        if there.insert(file.stamp.identity()) {
            known.insert(name, file);
        }
    }
}

/// Number of files that are new, changed or gone.
fn changes(before: &HashMap<String, Known>, now: &HashMap<String, Known>) -> usize {
    let file = |known: Option<&Known>| known.and_then(|known| known.file.as_ref()).map(Arc::as_ptr);
    let differs = |name: &&String| file(before.get(*name)) != file(now.get(*name));
    let gone = before
        .keys()
        .filter(|name| !now.contains_key(*name))
        .filter(differs)
        .count();
    gone + now.keys().filter(differs).count()
}

/// One look at a directory.
struct Looker<'s> {
    root: &'s Path,
    known: &'s HashMap<String, Known>,
    now: SystemTime,
}

impl Looker<'_> {
    fn look_everywhere(&self) -> Vec<Found> {
        let (sender, receiver) = channel();
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let walk = WalkBuilder::new(self.root)
            .standard_filters(false)
            .git_ignore(true)
            .require_git(false)
            // Patterns of directories above count where they belong to the same repository.
            .parents(
                self.root
                    .ancestors()
                    .any(|directory| directory.join(".git").exists()),
            )
            .filter_entry(|entry| !is_dot_directory(entry))
            .threads(threads.min(MOST_THREADS))
            .build_parallel();
        walk.run(|| {
            let sender = sender.clone();
            Box::new(move |entry| {
                let mut wanted = true;
                for found in self.look_at(entry) {
                    wanted &= sender.send(found).is_ok();
                }
                if wanted {
                    WalkState::Continue
                } else {
                    WalkState::Quit
                }
            })
        });
        drop(sender);
        receiver.into_iter().collect()
    }

    fn look_at(&self, entry: Result<DirEntry, ignore::Error>) -> Vec<Found> {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return self.unreadable(error).into_iter().collect(),
        };
        let name = self.name(entry.path());
        let patterns = entry.error().map(|cause| {
            let error = SourceError::Patterns {
                path: name.clone(),
                cause: cause.clone(),
            };
            // The other patterns of the file hold; at worst a file more is read.
            Found::Problem(error.problem().warning())
        });
        let found = match entry.file_type() {
            Some(kind) if kind.is_symlink() => self.look_at_link(entry.path(), name),
            Some(kind) if kind.is_file() && is_manifest(entry.path()) => {
                self.look_at_file(entry.path(), name)
            }
            _ => None,
        };
        patterns.into_iter().chain(found).collect()
    }

    fn look_at_file(&self, path: &Path, name: String) -> Option<Found> {
        match self.look(path, &name) {
            Ok(known) => known.map(|known| Found::File(name, known)),
            Err(error) => Some(Found::Problem(error.problem())),
        }
    }

    fn look_at_link(&self, path: &Path, name: String) -> Option<Found> {
        let refused = |error: SourceError| Some(Found::Problem(error.problem()));
        let target = match path.canonicalize() {
            Ok(target) => target,
            Err(cause) if is_manifest(path) => {
                return refused(SourceError::Unreadable { path: name, cause });
            }
            Err(_) => return None,
        };
        let inside = target.starts_with(self.root);
        if target.is_dir() || !is_manifest(path) {
            // A directory within is read where it is; one elsewhere may hold manifests.
            let hidden = target.is_dir() && !inside;
            return hidden.then_some(Found::Problem(
                SourceError::LinkOutside { path: name }.problem(),
            ));
        }
        if !inside {
            return refused(SourceError::LinkOutside { path: name });
        }
        match self.look(&target, &name) {
            Ok(known) => known.map(|known| Found::Link(name, known)),
            Err(error) => refused(error),
        }
    }

    /// Looks at a file; none if it has vanished meanwhile.
    fn look(&self, path: &Path, name: &str) -> Result<Option<Known>, SourceError> {
        let known = self.known.get(name);
        let looked = path
            .symlink_metadata()
            .map_err(|cause| SourceError::Unreadable {
                path: name.to_owned(),
                cause,
            })
            .and_then(|metadata| look(path, name, &metadata, known, self.now));
        match looked {
            Err(SourceError::Unreadable { cause, .. })
                if cause.kind() == io::ErrorKind::NotFound =>
            {
                Ok(None)
            }
            looked => looked.map(Some),
        }
    }

    /// What the walk could not do; nothing if the file has vanished meanwhile.
    fn unreadable(&self, error: ignore::Error) -> Option<Found> {
        if error
            .io_error()
            .is_some_and(|cause| cause.kind() == io::ErrorKind::NotFound)
        {
            return None;
        }
        let path = path_of(&error).map_or_else(|| self.name(self.root), |path| self.name(path));
        let problem = match error.into_io_error() {
            Some(cause) => SourceError::Unreadable { path, cause }.problem(),
            None => SourceError::Unreadable {
                path,
                cause: io::Error::other("it cannot be walked"),
            }
            .problem(),
        };
        Some(Found::Problem(problem))
    }

    /// The path of a file as people know it: below the source.
    fn name(&self, path: &Path) -> String {
        let below = path.strip_prefix(self.root).unwrap_or(path);
        match path.file_name() {
            Some(file) if below.as_os_str().is_empty() => file.to_string_lossy().into_owned(),
            _ => below.to_string_lossy().into_owned(),
        }
    }
}

/// The path that an error of the walk is about.
fn path_of(error: &ignore::Error) -> Option<&Path> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => {
            path_of(err)
        }
        ignore::Error::Loop { child, .. } => Some(child),
        ignore::Error::Partial(errors) => errors.iter().find_map(path_of),
        ignore::Error::Io(_)
        | ignore::Error::Glob { .. }
        | ignore::Error::UnrecognizedFileType(_)
        | ignore::Error::InvalidDefinition => None,
    }
}

fn is_dot_directory(entry: &DirEntry) -> bool {
    let is_directory = entry.file_type().is_some_and(|kind| kind.is_dir());
    entry.depth() > 0 && is_directory && entry.file_name().as_encoded_bytes().starts_with(b".")
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    ["yaml", "yml", "json"]
        .iter()
        .any(|known| extension.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests;
