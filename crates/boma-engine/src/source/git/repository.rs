//! A repository on this machine that somebody works in: its commits are read, its files and its
//! index stay as they are.

use std::path::{Path, PathBuf};

use super::program::Git;
use super::{GitError, PATIENCE, Revision, revision_of};

/// A repository that somebody works in.
#[derive(Debug)]
pub struct Repository {
    top: PathBuf,
    git_dir: PathBuf,
    /// The directory that it was found from, below the top; empty: the top.
    below: String,
}

/// The files of a commit, or of a merge that was not committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree(String);

impl Repository {
    /// The repository that a directory is in.
    pub async fn around(directory: &Path) -> Result<Self, GitError> {
        let ask = [
            "rev-parse",
            "--show-toplevel",
            "--absolute-git-dir",
            "--show-prefix",
        ];
        let said = Git::around(directory).run(&ask, PATIENCE).await;
        let said = said.map_err(|error| {
            error.instead(|output| GitError::NoRepository {
                directory: directory.to_owned(),
                output,
            })
        })?;
        let mut lines = said.lines();
        let (top, git_dir, below) = (lines.next(), lines.next(), lines.next());
        Ok(Self {
            top: PathBuf::from(top.unwrap_or_default()),
            git_dir: PathBuf::from(git_dir.unwrap_or_default()),
            below: below.unwrap_or_default().trim_end_matches('/').to_owned(),
        })
    }

    /// Its uppermost directory.
    pub fn top(&self) -> &Path {
        &self.top
    }

    /// The directory that it was found from, as a path below the top; empty: the top.
    pub fn below(&self) -> &str {
        &self.below
    }

    /// The commit that a name stands for.
    pub async fn commit(&self, name: &str) -> Result<Revision, GitError> {
        let what = format!("{name}^{{commit}}");
        let ask = [
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            &what,
        ];
        let found = self.git().run(&ask, PATIENCE).await;
        let unknown = || GitError::NoCommit {
            name: name.to_owned(),
        };
        let found = found.map_err(|error| error.instead(|_| unknown()))?;
        let found = revision_of(&self.git(), found.trim()).await?;
        found.ok_or_else(unknown)
    }

    /// The files of a commit.
    pub fn tree(&self, commit: &Revision) -> Tree {
        Tree(format!("{}^{{tree}}", commit.commit))
    }

    /// The files as they are once `head` is merged into `base`. Nothing is committed, and no file of
    /// the repository is changed.
    pub async fn merged(&self, base: &Revision, head: &Revision) -> Result<Tree, GitError> {
        let (base, head) = (base.commit.as_str(), head.commit.as_str());
        let is_ancestor = async |one: &str, other: &str| {
            let ask = ["merge-base", "--is-ancestor", one, other];
            self.git().run(&ask, PATIENCE).await.is_ok()
        };
        if is_ancestor(base, head).await {
            return Ok(Tree(format!("{head}^{{tree}}")));
        }
        if is_ancestor(head, base).await {
            return Ok(Tree(format!("{base}^{{tree}}")));
        }
        if self
            .git()
            .run(&["merge-base", base, head], PATIENCE)
            .await
            .is_err()
        {
            return Err(GitError::NothingInCommon {
                base: base.to_owned(),
                head: head.to_owned(),
            });
        }
        let merge = [
            "merge-tree",
            "--write-tree",
            "--name-only",
            "--no-messages",
            "-z",
            base,
            head,
        ];
        let merged = self.git().answer(&merge, PATIENCE).await?;
        let mut parts = merged.text.split('\0').filter(|part| !part.is_empty());
        let tree = parts.next().unwrap_or_default().to_owned();
        match merged.code {
            Some(0) => Ok(Tree(tree)),
            // Files in which the two changed the same lines.
            Some(1) => Err(GitError::Conflict {
                files: parts.map(str::to_owned).collect(),
            }),
            _ => Err(merged.failed("merge-tree")),
        }
    }

    /// Writes the files of one directory of a tree into `place`, which is empty. A directory that is
    /// not there has no files.
    pub async fn write(&self, tree: &Tree, directory: &str, place: &Path) -> Result<(), GitError> {
        let what = match directory {
            "" => tree.0.clone(),
            some => format!("{}:{some}", tree.0.trim_end_matches("^{tree}")),
        };
        let ask = [
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            &what,
        ];
        let Ok(found) = self.git().run(&ask, PATIENCE).await else {
            return Ok(());
        };
        // An index of its own: that of the person who works here stays as it is.
        let git = self.git().with_index(&place.join(".index"));
        git.run(&["read-tree", found.trim()], PATIENCE).await?;
        let prefix = format!("--prefix={}/", place.display());
        git.run(&["checkout-index", "--all", "--quiet", &prefix], PATIENCE)
            .await?;
        Ok(())
    }

    fn git(&self) -> Git {
        Git::of(&self.top, &self.git_dir)
    }
}
