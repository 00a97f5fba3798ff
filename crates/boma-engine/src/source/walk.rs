//! Which files of a directory may hold manifests.
//!
//! The tree is read level by level, the directories of one level side by side. Nothing of it is
//! remembered from one look to the next: there are file systems on which the times of a directory
//! do not tell what happened in it.

use std::ffi::OsStr;
use std::fs::{DirEntry, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ignore::gitignore::Gitignore;

use super::SourceError;
use super::parallel::in_parallel;
use super::roots::labelled;

/// Name of the files with patterns of what is to be passed over.
const PATTERNS: &str = ".gitignore";

/// What a look at a tree found, in no particular order.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) candidates: Vec<Candidate>,
    pub(super) errors: Vec<SourceError>,
}

impl Found {
    /// Lets all names begin with the label of their source.
    pub(super) fn label(&mut self, label: &str) {
        if label.is_empty() {
            return;
        }
        let names = self.candidates.iter_mut().map(|one| &mut one.name);
        let places = self.errors.iter_mut().filter_map(SourceError::name_mut);
        for name in names.chain(places) {
            *name = labelled(label, name);
        }
    }
}

/// A file that may hold manifests.
#[derive(Debug)]
pub(super) struct Candidate {
    /// Where it is; of a link, where that leads.
    pub(super) path: PathBuf,
    /// Its path as people know it: below the source.
    pub(super) name: String,
    pub(super) metadata: Metadata,
    /// Whether its name is a link.
    pub(super) is_link: bool,
}

/// A directory to be looked at.
struct Directory {
    path: PathBuf,
    patterns: Option<Arc<Patterns>>,
}

/// Patterns of a directory, and those of the directories around it.
struct Patterns {
    own: Gitignore,
    around: Option<Arc<Self>>,
}

impl Patterns {
    /// Whether a file or directory is to be passed over: the innermost patterns that say anything
    /// about it decide.
    fn ignore(patterns: Option<&Arc<Self>>, path: &Path, is_directory: bool) -> bool {
        let mut next = patterns;
        while let Some(patterns) = next {
            let found = patterns.own.matched(path, is_directory);
            if !found.is_none() {
                return found.is_ignore();
            }
            next = patterns.around.as_ref();
        }
        false
    }
}

/// Looks at everything below `root`, which is a directory and has no links in its path.
pub(super) fn walk(root: &Path, threads: usize) -> Found {
    let mut found = Found::default();
    let patterns = patterns_around(root, &mut found.errors);
    let mut level = vec![Directory {
        path: root.to_owned(),
        patterns,
    }];
    while !level.is_empty() {
        let listings = in_parallel(threads, &level, |directory| list(root, directory));
        level = Vec::new();
        for (below, listed) in listings {
            level.extend(below);
            found.candidates.extend(listed.candidates);
            found.errors.extend(listed.errors);
        }
    }
    found
}

/// A single file as a source.
pub(super) fn single(path: &Path, metadata: Metadata) -> Candidate {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    Candidate {
        path: path.to_owned(),
        name,
        metadata,
        is_link: false,
    }
}

/// A file whose name is known to be wanted; none if it is no plain file any more.
pub(super) fn plain_file(path: PathBuf, name: &str) -> Option<Candidate> {
    let metadata = path.symlink_metadata().ok().filter(Metadata::is_file)?;
    Some(Candidate {
        path,
        name: name.to_owned(),
        metadata,
        is_link: false,
    })
}

/// The patterns of directories above the source, where these belong to the same repository.
/// Outside of a repository they do not count: a home directory may well be told to ignore all.
fn patterns_around(root: &Path, errors: &mut Vec<SourceError>) -> Option<Arc<Patterns>> {
    let is_top = |directory: &Path| directory.join(".git").exists();
    let mut above: Vec<&Path> = Vec::new();
    for directory in root.ancestors() {
        above.push(directory);
        if is_top(directory) {
            break;
        }
    }
    if !above.last().is_some_and(|directory| is_top(directory)) {
        return None;
    }
    let outermost_first = above.iter().skip(1).rev();
    outermost_first.fold(None, |around, directory| {
        let here = directory.join(PATTERNS);
        if here
            .symlink_metadata()
            .is_ok_and(|metadata| metadata.is_file())
        {
            Some(read_patterns(root, directory, around, errors))
        } else {
            around
        }
    })
}

fn read_patterns(
    root: &Path,
    directory: &Path,
    around: Option<Arc<Patterns>>,
    errors: &mut Vec<SourceError>,
) -> Arc<Patterns> {
    let path = directory.join(PATTERNS);
    let (own, error) = Gitignore::new(&path);
    errors.extend(error.map(|cause| SourceError::Patterns {
        path: name_below(root, &path),
        cause,
    }));
    Arc::new(Patterns { own, around })
}

/// Looks at one directory: what is in it, and the directories to go on with.
fn list(root: &Path, directory: &Directory) -> (Vec<Directory>, Found) {
    let mut listing = Listing {
        root,
        below: Vec::new(),
        found: Found::default(),
    };
    let entries = std::fs::read_dir(&directory.path).and_then(Iterator::collect);
    match entries {
        Ok(entries) => listing.read(directory, entries),
        Err(cause) => listing.unreadable(&directory.path, cause),
    }
    (listing.below, listing.found)
}

struct Listing<'s> {
    root: &'s Path,
    below: Vec<Directory>,
    found: Found,
}

impl Listing<'_> {
    fn read(&mut self, directory: &Directory, entries: Vec<DirEntry>) {
        let mut patterns = directory.patterns.clone();
        if entries.iter().any(has_patterns) {
            let errors = &mut self.found.errors;
            patterns = Some(read_patterns(self.root, &directory.path, patterns, errors));
        }
        for entry in entries {
            if let Err(cause) = self.look_at(&entry, patterns.as_ref()) {
                self.unreadable(&entry.path(), cause);
            }
        }
    }

    fn look_at(&mut self, entry: &DirEntry, patterns: Option<&Arc<Patterns>>) -> io::Result<()> {
        let kind = entry.file_type()?;
        let file_name = entry.file_name();
        let wanted = if kind.is_dir() {
            !file_name.as_encoded_bytes().starts_with(b".")
        } else {
            kind.is_symlink() || kind.is_file() && is_manifest(&file_name)
        };
        if !wanted {
            return Ok(());
        }
        let path = entry.path();
        if Patterns::ignore(patterns, &path, kind.is_dir()) {
            return Ok(());
        }
        if kind.is_dir() {
            self.below.push(Directory {
                path,
                patterns: patterns.cloned(),
            });
        } else if kind.is_symlink() {
            self.follow(&path)?;
        } else {
            let name = name_below(self.root, &path);
            let metadata = entry.metadata()?;
            self.found.candidates.push(Candidate {
                path,
                name,
                metadata,
                is_link: false,
            });
        }
        Ok(())
    }

    /// Follows a link to a file within the source. A directory within is read where it is; one
    /// elsewhere may hold manifests, and so is refused like a file.
    fn follow(&mut self, link: &Path) -> io::Result<()> {
        let may_be_manifest = is_manifest(link.file_name().unwrap_or_default());
        let target = match link.canonicalize() {
            Ok(target) => target,
            Err(cause) if may_be_manifest => {
                let path = name_below(self.root, link);
                self.found
                    .errors
                    .push(SourceError::Unreadable { path, cause });
                return Ok(());
            }
            Err(_) => return Ok(()),
        };
        let metadata = target.symlink_metadata()?;
        let is_inside = target.starts_with(self.root);
        let name = name_below(self.root, link);
        if !is_inside && (metadata.is_dir() || may_be_manifest) {
            self.found
                .errors
                .push(SourceError::LinkOutside { path: name });
        } else if is_inside && metadata.is_file() && may_be_manifest {
            self.found.candidates.push(Candidate {
                path: target,
                name,
                metadata,
                is_link: true,
            });
        }
        Ok(())
    }

    /// Remembers what cannot be read; what has vanished meanwhile is as if it had never been.
    fn unreadable(&mut self, path: &Path, cause: io::Error) {
        if cause.kind() != io::ErrorKind::NotFound {
            let path = name_below(self.root, path);
            self.found
                .errors
                .push(SourceError::Unreadable { path, cause });
        }
    }
}

/// A path as people know it: below the source. Of the source itself, and above it, the whole.
fn name_below(root: &Path, path: &Path) -> String {
    let below = path
        .strip_prefix(root)
        .ok()
        .filter(|below| !below.as_os_str().is_empty());
    below.unwrap_or(path).to_string_lossy().into_owned()
}

/// Whether an entry is a file of patterns. A link is none, as for git: what is wrong with a
/// pattern is shown, and a link could lead to anything.
fn has_patterns(entry: &DirEntry) -> bool {
    entry.file_name() == PATTERNS && entry.file_type().is_ok_and(|kind| kind.is_file())
}

fn is_manifest(name: &OsStr) -> bool {
    let extension = Path::new(name)
        .extension()
        .and_then(OsStr::to_str)
        .unwrap_or_default();
    ["yaml", "yml", "json"]
        .iter()
        .any(|known| extension.eq_ignore_ascii_case(known))
}
