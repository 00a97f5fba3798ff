//! Manifests in a Git repository somewhere else.
//!
//! ```text
//!   fetch the branch ─► the commit that is known? ─► nothing
//!         │                      │ no
//!         │ fails                ▼
//!         ▼               put its files into a directory ─► read what differs ─► Snapshot
//!   the last one stays
//! ```
//!
//! The program `git` does what is Git's (docs/decisions/0130): transports, credentials, proxies and
//! host keys are those that the operator has configured for it. What is kept here is a cache: when it
//! is damaged or was left half-way, it is made again.

mod credential;
mod last_change;
mod location;
mod problem;
mod program;
mod repository;
mod writer;

use std::path::{Path, PathBuf};
use std::time::Duration;

use boma_problem::IntoProblem as _;
use jiff::Timestamp;
use tracing::Instrument as _;

pub use credential::{GitCredential, SharedCredential};
pub use last_change::LastChange;
pub use location::{GitLocation, LocationError, path_within};
pub use problem::GitError;
use program::Git;
pub use repository::{Repository, Tree};
pub use writer::{CommitError, Committed, GitWriter, Note, Onto};

use super::{DirectorySource, Snapshot};
use crate::spans;

/// Reference that the branch is fetched to.
const FETCHED: &str = "refs/boma/fetched";

/// How many commits are fetched: enough to say of most files which one changed them last.
const DEPTH: &str = "--depth=100";

/// How long a fetch may take. A first one of a large repository over a slow line takes minutes.
const FETCH_PATIENCE: Duration = Duration::from_mins(5);

/// How long anything else may take: it stays on this machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A commit that manifests were read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Its full name.
    pub commit: String,
    /// Who wrote it: `Name <address>`.
    pub author: String,
    /// When it was committed.
    pub at: Timestamp,
    /// First line of its message.
    pub subject: String,
}

impl Revision {
    /// The beginning of the commit's name, which people recognise it by.
    pub fn short(&self) -> &str {
        self.commit.get(..10).unwrap_or(&self.commit)
    }
}

/// Manifests of a branch of a Git repository.
#[derive(Debug)]
pub struct GitSource {
    location: GitLocation,
    place: PathBuf,
    files: DirectorySource,
    revision: Option<Revision>,
    credential: SharedCredential,
}

impl GitSource {
    /// A source that keeps its files in the directory `place`, which is its own. Nothing is
    /// fetched yet.
    pub fn new(location: GitLocation, place: impl Into<PathBuf>) -> Self {
        Self::labelled(location, place, "")
    }

    /// One of several sources: the names of its files begin with its label.
    pub fn labelled(location: GitLocation, place: impl Into<PathBuf>, label: &str) -> Self {
        let place = place.into();
        let files = DirectorySource::labelled(location.below(&place), label);
        Self {
            location,
            place,
            files,
            revision: None,
            credential: SharedCredential::default(),
        }
    }

    /// What lets it in; exchanged where it is held.
    pub fn credential(&self) -> &SharedCredential {
        &self.credential
    }

    /// Where it is fetched from.
    pub fn location(&self) -> &GitLocation {
        &self.location
    }

    /// The directory that the manifests are in once they were fetched.
    pub fn root(&self) -> &Path {
        self.files.root()
    }

    /// The commit that was read last.
    pub fn revision(&self) -> Option<&Revision> {
        self.revision.as_ref()
    }

    /// Fetches the branch, and reads what differs from the commit that was read before. None: it
    /// is the same commit.
    ///
    /// # Guarantees
    /// Nothing of the repository is executed: no hook, no submodule, no command of its own.
    ///
    /// # Cancel safety
    /// Dropped half-way, the next call goes on from whatever it finds.
    pub async fn read(&mut self) -> Result<Option<Snapshot>, GitError> {
        let git = Git::at(&self.place);
        if self.place.exists()
            && git
                .run(&["rev-parse", "--git-dir"], PATIENCE)
                .await
                .is_err()
        {
            self.begin_anew()?;
        }
        fetch((&self.location, &self.credential), &self.place).await?;
        let fetched = revision(&git, &self.location).await?;
        if self.revision.as_ref() == Some(&fetched) {
            return Ok(None);
        }
        let changed = match self.put_in_place(&git).await {
            Ok(changed) => changed,
            // Whatever an interrupted run or another program has left there is not worth a thought.
            Err(_damaged) => {
                self.begin_anew()?;
                fetch((&self.location, &self.credential), &self.place).await?;
                self.put_in_place(&git).await?
            }
        };
        let root = self.root().to_owned();
        if !root.is_dir() {
            return Err(GitError::NoSuchPath {
                location: Box::new(self.location.clone()),
                commit: fetched.short().to_owned(),
            });
        }
        let mut snapshot = match (&self.revision, changed) {
            (Some(_), Some(changed)) => self.files.read_changed(&changed),
            (None, _) | (_, None) => self.files.read(),
        };
        let label = self.files.label().to_owned();
        snapshot.revisions.insert(label, fetched.clone());
        self.revision = Some(fetched);
        Ok(Some(snapshot))
    }

    /// Makes the files those of the fetched commit; answers with those that differ from the commit
    /// that was there, none if that is not known.
    async fn put_in_place(&self, git: &Git) -> Result<Option<Vec<PathBuf>>, GitError> {
        let changed = if self.revision.is_some() {
            let names = git
                .run(&["diff", "--name-only", "-z", "HEAD", FETCHED], PATIENCE)
                .await?;
            Some(self.below_root(&names))
        } else {
            None
        };
        let check_out = ["checkout", "--quiet", "--force", "--detach", FETCHED];
        git.run(&check_out, PATIENCE).await?;
        // What a checkout leaves: files that somebody has put there, ignored ones too.
        git.run(&["clean", "--quiet", "-ffdx"], PATIENCE).await?;
        Ok(changed)
    }

    fn below_root(&self, names: &str) -> Vec<PathBuf> {
        let names = names.split('\0').filter(|name| !name.is_empty());
        let paths = names.map(|name| self.place.join(name));
        paths.filter(|path| path.starts_with(self.root())).collect()
    }

    fn begin_anew(&mut self) -> Result<(), GitError> {
        self.revision = None;
        let label = self.files.label().to_owned();
        self.files = DirectorySource::labelled(self.location.below(&self.place), &label);
        match std::fs::remove_dir_all(&self.place) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(unwritable(&self.place, source))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Fetches the branch into a repository at `place`, which is made where there is none.
async fn fetch(from: (&GitLocation, &SharedCredential), place: &Path) -> Result<(), GitError> {
    let span = spans::git_fetch(&from.0.branch);
    let fetched = fetch_branch(from, place).instrument(span.clone()).await;
    fetched.inspect_err(|error| spans::failed(&span, &error.problem()))
}

async fn fetch_branch(
    (location, credential): (&GitLocation, &SharedCredential),
    place: &Path,
) -> Result<(), GitError> {
    let git = Git::at(place).to(location, credential);
    if !place.exists() {
        std::fs::create_dir_all(place).map_err(|source| unwritable(place, source))?;
        git.run(&["init", "--quiet"], PATIENCE).await?;
    }
    let what = format!("+refs/heads/{}:{FETCHED}", location.branch);
    let fetch = [
        "fetch",
        "--quiet",
        "--no-tags",
        "--no-recurse-submodules",
        "--no-write-fetch-head",
        DEPTH,
        "--",
        &location.url,
        &what,
    ];
    let fetched = git.run(&fetch, FETCH_PATIENCE).await;
    fetched.map(drop).map_err(|error| error.of(location))
}

fn unwritable(place: &Path, source: std::io::Error) -> GitError {
    GitError::Unwritable {
        place: place.to_owned(),
        source,
    }
}

/// The fetched commit.
async fn revision(git: &Git, location: &GitLocation) -> Result<Revision, GitError> {
    let unreadable = || GitError::Unreadable {
        location: Box::new(location.clone()),
    };
    revision_of(git, FETCHED).await?.ok_or_else(unreadable)
}

/// A commit; none: what git says of it makes no sense.
async fn revision_of(git: &Git, commit: &str) -> Result<Option<Revision>, GitError> {
    let format = "--format=%H%x00%an <%ae>%x00%cI%x00%s";
    let show = ["log", "-1", "--no-show-signature", format, commit, "--"];
    let text = git.run(&show, PATIENCE).await?;
    Ok(revision_from(text.trim_end_matches('\n')))
}

/// A commit as `git log` prints it for us: name, author, time and subject, NUL between them.
fn revision_from(text: &str) -> Option<Revision> {
    let mut parts = text.split('\0').map(str::to_owned);
    Some(Revision {
        commit: parts.next()?,
        author: parts.next()?,
        at: parts.next()?.parse().ok()?,
        subject: parts.next()?,
    })
}

#[cfg(test)]
mod tests;
