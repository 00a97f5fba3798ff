//! Changes of manifests as commits.
//!
//! ```text
//!   fetch the branch ─► is the file the one that was read? ─► commit on top ─► push
//!        ▲                                                                      │ somebody was faster
//!        └──────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! No working tree is touched: a commit is made of the fetched one's tree with another file in it. A
//! push moves the branch as a whole or not at all, and never by force; killed at any moment, the
//! branch has the commit or has it not, and what is kept here is a cache.

use std::path::{Path, PathBuf};

use boma_problem::{IntoProblem, Problem};

use super::program::Git;
use super::{FETCH_PATIENCE, FETCHED, GitError, GitLocation, PATIENCE, SharedCredential, fetch};
use crate::source::{Proposal, WriteError};

/// How often a commit is made anew because somebody else has pushed meanwhile.
const TRIES: u32 = 5;

/// How files of manifests are in a tree that are new.
const PLAIN: &str = "100644";

/// How a symbolic link is in a tree.
const LINK: &str = "120000";

/// Who writes, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The person's name.
    pub name: String,
    /// The person's address.
    pub email: String,
    /// The commit's message.
    pub message: String,
}

impl Note {
    /// As whoever git knows this system user as; else as a name at an address, as they are given.
    pub async fn of(message: String, (name, email): (String, String)) -> Self {
        let git = Git::around(Path::new("/"));
        let known = async |key: &str| {
            let known = git.run(&["config", "--get", key], PATIENCE).await.ok();
            known
                .map(|text| line(&text))
                .filter(|text| !text.is_empty())
        };
        Self {
            name: known("user.name").await.unwrap_or(name),
            email: known("user.email").await.unwrap_or(email),
            message,
        }
    }
}

/// Which branch a commit goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Onto {
    /// The one that manifests are read from: it is applied soon.
    Branch,
    /// A new one of this name, on top of the other: a person reviews it.
    Review(String),
}

/// A commit that is in the repository now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its full name.
    pub commit: String,
    /// The branch that has it.
    pub branch: String,
}

/// A change was not committed; the repository is as it was.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The file is another one than the one that was read.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Git could not do it.
    #[error(transparent)]
    Git(#[from] GitError),
}

impl IntoProblem for CommitError {
    fn problem(&self) -> Problem {
        match self {
            Self::Write(error) => error.problem(),
            Self::Git(error) => error.problem(),
        }
    }
}

/// Writes changes of manifests as commits of a branch.
#[derive(Debug)]
pub struct GitWriter {
    location: GitLocation,
    place: PathBuf,
    credential: SharedCredential,
}

/// What a push came to.
enum Pushed {
    Done,
    SomebodyElse,
}

impl GitWriter {
    /// Writes to a location; `place` is a directory of its own, for no one else at the same time.
    pub fn new(
        location: GitLocation,
        place: impl Into<PathBuf>,
        credential: SharedCredential,
    ) -> Self {
        Self {
            location,
            place: place.into(),
            credential,
        }
    }

    /// Where it writes to.
    pub fn location(&self) -> &GitLocation {
        &self.location
    }

    /// Commits one file, or that it goes, on top of what the branch holds now, and pushes that.
    ///
    /// # Errors
    /// When the file is another one there than the one that was read, or the repository does not
    /// take the commit.
    pub async fn write(
        &self,
        proposal: &Proposal,
        note: &Note,
        onto: &Onto,
    ) -> Result<Committed, CommitError> {
        let branch = match onto {
            Onto::Branch => &self.location.branch,
            Onto::Review(name) => name,
        };
        fetch((&self.location, &self.credential), &self.place).await?;
        for _ in 0..TRIES {
            let base = self.fetched().await?;
            let commit = self.commit(proposal, note).await?;
            let pushed = self.push(&commit, (branch, onto)).await;
            let error = match (pushed, onto) {
                (Ok(Pushed::Done), _) => {
                    let branch = branch.clone();
                    return Ok(Committed { commit, branch });
                }
                (Ok(Pushed::SomebodyElse), Onto::Review(name)) => {
                    let name = name.clone();
                    return Err(GitError::BranchThere { name }.into());
                }
                (Ok(Pushed::SomebodyElse), Onto::Branch) => None,
                (Err(error), _) => Some(error),
            };
            fetch((&self.location, &self.credential), &self.place).await?;
            // A push may have arrived although its answer has not.
            if matches!(onto, Onto::Branch) && self.is_in_branch(&commit).await? {
                let branch = branch.clone();
                return Ok(Committed { commit, branch });
            }
            // Of two pushes at one moment, one fails in words of the other side's choice.
            if let Some(error) = error
                && self.fetched().await? == base
            {
                return Err(error.into());
            }
        }
        let location = Box::new(self.location.clone());
        Err(GitError::Moving { location }.into())
    }

    /// Whether the fetched branch has a commit.
    async fn is_in_branch(&self, commit: &str) -> Result<bool, GitError> {
        let git = Git::at(&self.place);
        let ancestor = ["merge-base", "--is-ancestor", commit, FETCHED];
        Ok(git.answer(&ancestor, PATIENCE).await?.code == Some(0))
    }

    async fn fetched(&self) -> Result<String, GitError> {
        let git = Git::at(&self.place);
        Ok(line(&git.run(&["rev-parse", FETCHED], PATIENCE).await?))
    }

    async fn commit(&self, proposal: &Proposal, note: &Note) -> Result<String, CommitError> {
        let git = Git::at(&self.place);
        let path = self.location.path.join(&**proposal.name());
        let path = path.to_string_lossy();
        let scratch = self.scratch()?;
        let mode = self.check(&git, proposal, (&path, scratch.path())).await?;
        let index = git.with_index(&scratch.path().join("index"));
        index.run(&["read-tree", FETCHED], PATIENCE).await?;
        if proposal.is_removal() {
            let remove = ["update-index", "--force-remove", "--", &path];
            index.run(&remove, PATIENCE).await?;
        } else {
            let text = proposal.text().as_bytes();
            let blob = hash(&index, scratch.path(), text, &["-w"]).await?;
            let entry = format!("{mode},{blob},{path}");
            let add = ["update-index", "--add", "--cacheinfo", &entry];
            index.run(&add, PATIENCE).await?;
        }
        let tree = line(&index.run(&["write-tree"], PATIENCE).await?);
        let git = Git::at(&self.place).by(&note.name, &note.email);
        let make = ["commit-tree", &tree, "-p", FETCHED, "-m", &note.message];
        Ok(line(&git.run(&make, PATIENCE).await?))
    }

    /// Whether the branch has the file that was read, or none where there was none; answers with the
    /// mode that it is to have.
    async fn check(
        &self,
        git: &Git,
        proposal: &Proposal,
        (path, scratch): (&str, &Path),
    ) -> Result<String, CommitError> {
        let list = ["ls-tree", "-z", "--full-tree", FETCHED, "--", path];
        let there = git.run(&list, PATIENCE).await?;
        let there = there.split_once('\t').map(|(entry, _)| entry);
        let mut there = there.into_iter().flat_map(str::split_whitespace);
        let (mode, _kind, blob) = (there.next(), there.next(), there.next());
        let name = || proposal.name().clone();
        match (proposal.former(), mode, blob) {
            (_, Some(LINK), _) => Err(WriteError::Link(name()).into()),
            (None, None, _) => {
                proposal.check_new_name()?;
                Ok(PLAIN.to_owned())
            }
            (None, Some(_), _) => Err(WriteError::Exists(name()).into()),
            (Some(former), Some(mode), Some(blob)) => {
                if hash(git, scratch, former, &[]).await? != blob {
                    return Err(WriteError::Changed(name()).into());
                }
                Ok(mode.to_owned())
            }
            (Some(_), None, _) | (Some(_), Some(_), None) => {
                Err(WriteError::Changed(name()).into())
            }
        }
    }

    async fn push(&self, commit: &str, (branch, onto): (&str, &Onto)) -> Result<Pushed, GitError> {
        let git = Git::at(&self.place).to(&self.location, &self.credential);
        let what = format!("{commit}:refs/heads/{branch}");
        // A branch for review must not be there yet, not even as something that could be gone on from.
        let absent = format!("--force-with-lease=refs/heads/{branch}:");
        let mut push = vec!["push", "--porcelain"];
        if matches!(onto, Onto::Review(_)) {
            push.push(&absent);
        }
        push.extend(["--", &self.location.url, &what]);
        let answer = git.answer(&push, FETCH_PATIENCE).await?;
        if answer.code == Some(0) {
            return Ok(Pushed::Done);
        }
        // `[remote rejected]` is the other side's own decision.
        if answer.text.contains("[rejected]") {
            return Ok(Pushed::SomebodyElse);
        }
        Err(answer.failed("push").instead(|output| GitError::Push {
            location: Box::new(self.location.clone()),
            branch: branch.to_owned(),
            output,
        }))
    }

    fn scratch(&self) -> Result<tempfile::TempDir, GitError> {
        let made = tempfile::tempdir_in(self.place.join(".git"));
        made.map_err(|source| GitError::Unwritable {
            place: self.place.clone(),
            source,
        })
    }
}

/// The name of a file's content; with `-w` it is kept.
async fn hash(git: &Git, scratch: &Path, bytes: &[u8], how: &[&str]) -> Result<String, GitError> {
    let path = scratch.join("content");
    std::fs::write(&path, bytes).map_err(|source| GitError::Unwritable {
        place: scratch.to_owned(),
        source,
    })?;
    let path = path.to_string_lossy();
    let arguments = [&["hash-object", "--no-filters"], how, &["--", &path]].concat();
    Ok(line(&git.run(&arguments, PATIENCE).await?))
}

fn line(text: &str) -> String {
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests;
