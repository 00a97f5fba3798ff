//! Who changed a file last.

use std::path::Path;

use super::program::Git;
use super::{PATIENCE, Revision, revision_from};

/// The commit that changed a file last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastChange {
    /// The commit.
    pub revision: Revision,
    /// Whether it is this very commit; else this one or one before it, which was not fetched.
    pub is_exact: bool,
    /// Whether the file says something else by now than in any commit.
    pub is_modified: bool,
}

impl LastChange {
    /// For a file below a directory of manifests; none: it is in no commit, or in no repository that
    /// this user may read.
    pub async fn of(root: &Path, file: &str) -> Option<Self> {
        let git = Git::around(root);
        let format = "--format=%P%x00%H%x00%an <%ae>%x00%cI%x00%s";
        let log = [
            "--literal-pathspecs",
            "log",
            "-1",
            "--no-show-signature",
            format,
            "--",
            file,
        ];
        let text = git.run(&log, PATIENCE).await.ok()?;
        let (parents, rest) = text.trim_end_matches('\n').split_once('\0')?;
        let revision = revision_from(rest)?;
        let shallow = ["rev-parse", "--is-shallow-repository"];
        let is_first = parents.is_empty();
        let is_shallow = is_first && git.run(&shallow, PATIENCE).await.ok()?.trim() == "true";
        let differs = ["--literal-pathspecs", "diff", "--quiet", "HEAD", "--", file];
        let differs = git.answer(&differs, PATIENCE).await.ok()?;
        Some(Self {
            revision,
            is_exact: !is_shallow,
            is_modified: differs.code == Some(1),
        })
    }
}
