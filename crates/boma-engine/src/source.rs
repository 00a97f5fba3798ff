//! Where manifests come from.
//!
//! A source answers with a [`Snapshot`]: everything that it holds now, files that have not changed
//! since the last one shared with it, so that what follows has to look at the others only.

mod alone;
mod directory;
mod entry;
mod git;
mod new_manifest;
mod parallel;
mod problem;
mod proposal;
mod resources;
mod roots;
mod several;
mod walk;

use std::collections::BTreeMap;
use std::sync::Arc;

use boma_manifest::{Manifest, Parsed, SourceFile};
use boma_problem::Problem;

use crate::catalog::Subject;

pub use alone::Alone;
pub use directory::DirectorySource;
pub use git::{
    CommitError, Committed, GitCredential, GitError, GitLocation, GitSource, GitWriter, LastChange,
    LocationError, Note, Onto, Repository, Revision, SharedCredential, Tree, path_within,
};
pub use new_manifest::NewManifest;
pub use problem::SourceError;
pub use proposal::{DifferenceLine, Mark, Proposal, WriteError, check_writable};
pub use resources::{CUSTOM_RESOURCES, Resource, ResourceSource};
pub use roots::{Root, Roots, labels};
pub use several::Several;

/// A file of a source, parsed.
#[derive(Debug)]
pub struct File {
    /// The file.
    pub source: Arc<SourceFile>,
    /// What it holds.
    pub parsed: Arc<Parsed>,
}

/// What a source holds at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The files that may hold manifests, sorted by path. A file that has not changed since the
    /// last snapshot of the same source is the same [`Arc`].
    pub files: Vec<Arc<File>>,
    /// What hindered reading; in the order of paths.
    pub problems: Vec<Problem>,
    /// Number of files that are new, changed or gone since the last snapshot.
    pub changes: usize,
    /// What is wrong with sources that are taken as they were without it.
    pub held_back: Vec<Problem>,
    /// The commits that it was read from, by the labels of their sources; what comes from no
    /// repository has none.
    pub revisions: BTreeMap<String, Revision>,
    /// The files that stand for themselves ([`Alone`]), by name: no commit holds them together.
    pub alone: BTreeMap<Arc<str>, Former>,
}

/// Whether a manifest that stands for itself was in force before. Without one that was, what was made
/// of it would be taken for removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Former {
    /// It never was: there is nothing of that name.
    New,
    /// There is something of that name; if no other manifest describes it, it was made of this one.
    Perhaps(Subject),
    /// It was.
    InForce,
}

impl Snapshot {
    /// Every manifest without errors.
    pub fn manifests(&self) -> impl Iterator<Item = &Manifest> {
        self.files.iter().flat_map(|file| &file.parsed.documents)
    }

    /// What each file holds, in the order of paths.
    pub fn parsed(&self) -> impl Iterator<Item = &Arc<Parsed>> {
        self.files.iter().map(|file| &file.parsed)
    }

    /// Every problem: what hindered reading, then those of each file.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        let of_files = self.files.iter().flat_map(|file| &file.parsed.problems);
        self.problems.iter().chain(of_files)
    }

    /// Whether nothing is wrong but with files that stand for themselves.
    pub fn is_sound_but_alone(&self) -> bool {
        let files = self.files.iter();
        let together = files.filter(|file| !self.alone.contains_key(&file.source.name));
        let problems = together.flat_map(|file| &file.parsed.problems);
        !self.problems.iter().chain(problems).any(Problem::is_error)
    }

    /// Whether it may be acted on: with an error anywhere it may not.
    pub fn is_sound(&self) -> bool {
        !self.problems().any(Problem::is_error)
    }
}
