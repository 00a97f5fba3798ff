//! Who changed a file last.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Root, Roots};
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
    /// For a file of a source; none: it is in no commit, or in no repository that this user may
    /// read.
    pub async fn of(roots: &Roots, file: &str) -> Option<Self> {
        let (root, file) = roots.place(file)?;
        let git = Git::around(&root.directory);
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

    /// For many files at once, by their names; those of which it is not known are missing.
    pub async fn of_all(roots: &Roots, files: &BTreeSet<&str>) -> BTreeMap<String, Self> {
        let mut found = BTreeMap::new();
        for root in roots.all() {
            let own = files.iter().filter_map(|file| {
                let (its, name) = roots.place(file)?;
                (its == root).then_some((name, *file))
            });
            let own: BTreeMap<&str, &str> = own.collect();
            let changes = Self::of_root(root, own.keys().copied().collect()).await;
            let changes = changes.unwrap_or_default().into_iter();
            found.extend(changes.filter_map(|(name, change)| {
                let file = own.get(&*name)?;
                Some(((*file).to_owned(), change))
            }));
        }
        found
    }

    /// One walk through the history, from the newest commit on.
    async fn of_root(root: &Root, mut left: BTreeSet<&str>) -> Option<BTreeMap<String, Self>> {
        let git = Git::around(&root.directory);
        let format = "--format=%x01%P%x00%H%x00%an <%ae>%x00%cI%x00%s%x00";
        let log = [
            "log",
            "--no-show-signature",
            format,
            "--name-only",
            "-z",
            "--relative",
        ];
        let text = git.run(&log, PATIENCE).await.ok()?;
        let shallow = ["rev-parse", "--is-shallow-repository"];
        let is_shallow = git.run(&shallow, PATIENCE).await.ok()?.trim() == "true";
        let differing = ["diff", "--name-only", "-z", "--relative", "HEAD"];
        let differing = git.run(&differing, PATIENCE).await.ok()?;
        let differing: BTreeSet<&str> = differing.split('\0').collect();
        let mut found = BTreeMap::new();
        let mut parts = text.split('\0').peekable();
        while let Some(part) = parts.next() {
            let Some(parents) = part.strip_prefix('\u{1}') else {
                continue;
            };
            let mut field = || parts.next().unwrap_or_default().to_owned();
            let (commit, author, at, subject) = (field(), field(), field(), field());
            let Ok(at) = at.parse() else { continue };
            let revision = Revision {
                commit,
                author,
                at,
                subject,
            };
            while let Some(file) = parts.next_if(|part| !part.starts_with('\u{1}')) {
                let file = file.strip_prefix('\n').unwrap_or(file);
                if left.remove(file) {
                    let change = Self {
                        revision: revision.clone(),
                        is_exact: !(is_shallow && parents.is_empty()),
                        is_modified: differing.contains(file),
                    };
                    found.insert(file.to_owned(), change);
                }
            }
            if left.is_empty() {
                break;
            }
        }
        Some(found)
    }
}
