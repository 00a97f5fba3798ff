//! A change of a source's files, before and while it is written.
//!
//! ```text
//!   file + changes ─► Proposal ─► every manifest with it, checked ─► difference, plan ─► written
//!                                         └─ an error: shown, nothing is written
//! ```
//!
//! A file is replaced as a whole, by one rename: whoever reads the source has the former file or the
//! new one. What was changed by somebody else since it was read is not written over.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use boma_manifest::edit::{Change, edit, without};
use boma_manifest::{Manifest, SourceFile, parse_file};
use boma_problem::{Class, IntoProblem, Place, Problem};
use rustix::fs::Access;
use similar::{ChangeTag, TextDiff};

use super::{File, Snapshot};
use crate::catalog::{Basis, Catalog};

/// Lines shown around those that change.
const AROUND: usize = 3;

/// What a file of a source is to say; one that says nothing any more goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    name: Arc<str>,
    /// What it said when it was read; none: there was no such file.
    former: Option<SourceFile>,
    text: String,
}

/// A line of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DifferenceLine {
    /// What becomes of it.
    pub mark: Mark,
    /// The line, without its mark and its end.
    pub text: String,
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It is no line of a file: it says which lines follow.
    Place,
    /// It stays.
    Kept,
    /// It goes.
    Removed,
    /// It is new.
    Added,
}

impl Mark {
    /// How `diff -u` begins such a line.
    pub fn letter(self) -> &'static str {
        match self {
            Self::Place => "",
            Self::Kept => " ",
            Self::Removed => "-",
            Self::Added => "+",
        }
    }
}

/// A file was not written; it is as it was.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Somebody else has changed it since it was read.
    #[error("`{0}` was changed by somebody else meanwhile")]
    Changed(Arc<str>),
    /// There is a file of this name already.
    #[error("there is a file `{0}` already")]
    Exists(Arc<str>),
    /// It is a link to another file.
    #[error("`{0}` is a link")]
    Link(Arc<str>),
    /// It would not be a manifest within the source.
    #[error("`{0}` is no place for a manifest in the source")]
    Outside(Arc<str>),
    /// The file system refuses it.
    #[error("write manifest `{}`", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Whether a file of a source could be written below its directory, or taken away. The error says why not.
///
/// # Errors
/// What the operating system says: a file system that is only read, or somebody else's directory.
pub fn check_writable(root: &Path, name: &str) -> io::Result<()> {
    let path = root.join(name);
    // Files are replaced as a whole: what counts is the directory, or the one that it would be made in.
    let mut above = path.ancestors().skip(usize::from(!name.is_empty()));
    let directory = above.find(|directory| directory.is_dir()).unwrap_or(root);
    rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK)?;
    Ok(())
}

impl IntoProblem for WriteError {
    fn problem(&self) -> Problem {
        let (code, hint) = match self {
            Self::Changed(_) => (
                "manifest-changed",
                "Nothing was written. Look at what it says now, and make the change again.",
            ),
            Self::Exists(_) => ("manifest-exists", "Nothing was written. Take another name."),
            Self::Link(_) => (
                "manifest-is-link",
                "Nothing was written. Change the file that it leads to.",
            ),
            Self::Outside(_) => (
                "manifest-outside",
                "Nothing was written. Name a `.yaml` file below the directory of the manifests.",
            ),
            Self::Refused { .. } => (
                "manifest-not-written",
                "It is as it was. Let Boma write there, or change the file yourself.",
            ),
        };
        Problem::from_error(Class::User, code, self).hint(hint)
    }
}

impl Proposal {
    /// A file that is not there yet; `name` is its path within the source.
    pub fn new_file(name: impl Into<Arc<str>>, text: String) -> Self {
        Self {
            name: name.into(),
            former: None,
            text,
        }
    }

    /// Another text for a file that was read.
    pub fn replacing(former: SourceFile, text: String) -> Self {
        Self {
            name: former.name.clone(),
            former: Some(former),
            text,
        }
    }

    /// Changes of one manifest. Nothing else in its file becomes another.
    ///
    /// # Errors
    /// When the file is written in a way that a program cannot change, with its place.
    pub fn of(manifest: &Manifest, changes: &[Change]) -> Result<Self, Box<Problem>> {
        let origin = manifest.origin();
        let file = origin.file();
        // A manifest could not have been read from anything but text.
        let mut text = String::from_utf8_lossy(&file.bytes).into_owned();
        for change in changes {
            let done = edit(&text, origin.document(), change);
            text = done
                .map_err(|error| Box::new(error.problem().at(origin.place(&change.to_string()))))?;
        }
        Ok(Self::replacing(file.clone(), text))
    }

    /// A manifest goes; with the last one of a file, the file.
    ///
    /// # Errors
    /// When the file is written in a way that a program cannot change, with its place.
    pub fn removal(manifest: &Manifest) -> Result<Self, Box<Problem>> {
        let origin = manifest.origin();
        let file = origin.file();
        let text = String::from_utf8_lossy(&file.bytes);
        let rest = without(&text, origin.document());
        let rest = rest.map_err(|error| Box::new(error.problem().at(origin.place("kind"))))?;
        Ok(Self::replacing(file.clone(), rest))
    }

    /// The same, of a file that is called otherwise by whoever writes it.
    #[must_use]
    pub fn called(self, name: &str) -> Self {
        Self {
            name: name.into(),
            ..self
        }
    }

    /// The same as whoever keeps it would write it, and call it.
    #[must_use]
    pub fn written_as(self, name: &str, text: String) -> Self {
        Self {
            name: name.into(),
            text,
            ..self
        }
    }

    /// The file's path within the source.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What the file is to say; nothing: it goes.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What the file said; none: there was none.
    pub fn former(&self) -> Option<&[u8]> {
        self.former.as_ref().map(|file| &*file.bytes)
    }

    /// Where a file that is there first says something else; none: it is a new one, or stays.
    pub fn place(&self) -> Option<Place> {
        let former = String::from_utf8_lossy(self.former()?);
        let (old, new) = (former.lines(), self.text.lines());
        let same = old.zip(new).take_while(|(old, new)| old == new).count();
        // What is only taken away or added at the end is behind the last line that stays.
        let line = former.lines().nth(same).or(former.lines().last())?;
        let number = (same + 1).min(former.lines().count());
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        (!self.is_empty()).then(|| Place {
            file: self.name.to_string(),
            line: count(number),
            column: 1,
            length: count(line.chars().count()).max(1),
            text: line.to_owned(),
        })
    }

    /// Whether the file says so already.
    pub fn is_empty(&self) -> bool {
        self.former() == Some(self.text.as_bytes())
    }

    /// Whether the file goes.
    pub fn is_removal(&self) -> bool {
        self.text.is_empty() && self.former.is_some()
    }

    /// What changes, as `diff -u` shows it, less the names of the files.
    pub fn difference(&self) -> Vec<DifferenceLine> {
        let former = self.former().map(String::from_utf8_lossy);
        let former = former.as_deref().unwrap_or_default();
        let difference = TextDiff::from_lines(former, &self.text);
        let mut lines = Vec::new();
        for part in difference
            .unified_diff()
            .context_radius(AROUND)
            .iter_hunks()
        {
            lines.push(DifferenceLine {
                mark: Mark::Place,
                text: part.header().to_string(),
            });
            lines.extend(part.iter_changes().map(|line| DifferenceLine {
                mark: match line.tag() {
                    ChangeTag::Equal => Mark::Kept,
                    ChangeTag::Delete => Mark::Removed,
                    ChangeTag::Insert => Mark::Added,
                },
                text: line.value().trim_end_matches(['\n', '\r']).to_owned(),
            }));
        }
        lines
    }

    /// What all manifests of the source say with this one as proposed, and everything that is wrong
    /// with them then. With an error among it, the catalog is not to be acted upon.
    pub fn judge(&self, snapshot: &Snapshot, basis: &Arc<Basis>) -> (Catalog, Vec<Problem>) {
        let proposed = parse_file(&SourceFile::new(self.name.clone(), self.text.as_bytes()));
        let proposed = Arc::new(proposed);
        let is_it = |file: &&Arc<File>| file.source.name == self.name;
        let there = snapshot.files.iter().find(is_it);
        let there = there.filter(|_| self.former.is_none());
        let there = there.map(|_| WriteError::Exists(self.name.clone()).problem());
        let others = snapshot.files.iter().filter(|file| !is_it(file));
        let mut files: Vec<_> = others
            .map(|file| (&*file.source.name, &file.parsed))
            .chain((!self.is_removal()).then_some((&*self.name, &proposed)))
            .collect();
        files.sort_by_key(|(name, _)| *name);
        let parsed: Vec<_> = files.into_iter().map(|(_, parsed)| parsed).collect();
        let (catalog, between) = Catalog::build(parsed.iter().copied(), basis);
        let of_files = parsed.iter().flat_map(|file| &file.problems);
        let problems = snapshot.problems.iter().chain(of_files).cloned();
        (
            catalog,
            there.into_iter().chain(problems).chain(between).collect(),
        )
    }

    /// Writes the file into the directory of a source, or takes it away. Its owner and its rights stay.
    ///
    /// # Guarantees
    /// Killed at any moment, the file is the former one or the new one, whole, or gone. What somebody else
    /// has written since it was read is not lost, unless it was written in the very moment of the
    /// rename or of the removal.
    ///
    /// # Errors
    /// When it is another file than the one that was read, or cannot be written.
    pub fn write(&self, root: &Path) -> Result<PathBuf, WriteError> {
        let path = root.join(&*self.name);
        let refused = |source| WriteError::Refused {
            path: path.clone(),
            source,
        };
        let Some(former) = &self.former else {
            return self.write_new(root);
        };
        let target = fs::canonicalize(&path).map_err(refused)?;
        if fs::read(&target).map_err(refused)? != *former.bytes {
            return Err(WriteError::Changed(self.name.clone()));
        }
        if self.is_removal() {
            // What it leads to may be read from elsewhere, too.
            if path.is_symlink() {
                return Err(WriteError::Link(self.name.clone()));
            }
            fs::remove_file(&target).map_err(refused)?;
            let directory = target.parent().unwrap_or(root);
            let synced = fs::File::open(directory).and_then(|directory| directory.sync_all());
            synced.map_err(refused)?;
            return Ok(target);
        }
        replace(&target, &self.text).map_err(refused)?;
        Ok(target)
    }

    /// Whether a new file of this name is read as a manifest, and within the source.
    pub(super) fn check_new_name(&self) -> Result<(), WriteError> {
        let relative = Path::new(&*self.name);
        let is_plain = |part: Component<'_>| matches!(part, Component::Normal(name) if !name.to_string_lossy().starts_with('.'));
        let is_manifest = relative.extension().is_some_and(|end| end == "yaml");
        if is_manifest && relative.components().all(is_plain) {
            return Ok(());
        }
        Err(WriteError::Outside(self.name.clone()))
    }

    fn write_new(&self, root: &Path) -> Result<PathBuf, WriteError> {
        self.check_new_name()?;
        let relative = Path::new(&*self.name);
        let path = root.join(relative);
        let refused = |source: io::Error| {
            if source.kind() == io::ErrorKind::AlreadyExists {
                return WriteError::Exists(self.name.clone());
            }
            WriteError::Refused {
                path: path.clone(),
                source,
            }
        };
        let directory = path.parent().unwrap_or(root);
        fs::create_dir_all(directory).map_err(refused)?;
        // A directory on the way may be a link to somewhere else.
        let root = fs::canonicalize(root).map_err(refused)?;
        let directory = fs::canonicalize(directory).map_err(refused)?;
        if !directory.starts_with(&root) {
            return Err(WriteError::Outside(self.name.clone()));
        }
        let file = written(&directory, &self.text).map_err(refused)?;
        let readable = fs::Permissions::from_mode(0o644);
        fs::set_permissions(file.path(), readable).map_err(refused)?;
        file.persist_noclobber(&path)
            .map_err(|error| refused(error.error))?;
        fs::File::open(&directory)
            .and_then(|directory| directory.sync_all())
            .map_err(refused)?;
        Ok(path)
    }
}

/// Replaces a file by one rename; its owner and its rights stay.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let former = fs::metadata(path)?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    let file = written(directory, text)?;
    fs::set_permissions(file.path(), former.permissions())?;
    // Who may not give files away owns this one already, or may not keep its owner.
    let _kept = chown(file.path(), Some(former.uid()), Some(former.gid()));
    file.as_file().sync_all()?;
    file.persist(path)?;
    fs::File::open(directory)?.sync_all()
}

/// A file beside where it is to be. Its name begins with a dot and ends with nothing that manifests
/// end with: no source reads it.
fn written(directory: &Path, text: &str) -> io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new()
        .prefix(".boma-")
        .tempfile_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests;
