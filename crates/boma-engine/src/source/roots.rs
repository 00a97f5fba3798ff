//! The directories that the files of a snapshot are below.

use std::path::PathBuf;

/// A directory of manifests, alone or as one of several sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// What the names of its files begin with, before a `/`; empty: it is the only one.
    pub label: String,
    /// Where they are.
    pub directory: PathBuf,
}

/// The directories that the files of a snapshot are below; none: they are no files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roots(Vec<Root>);

impl Roots {
    /// One directory; the names of its files are their paths in it.
    pub fn one(directory: impl Into<PathBuf>) -> Self {
        Self(vec![Root {
            label: String::new(),
            directory: directory.into(),
        }])
    }

    /// All of them.
    pub fn all(&self) -> &[Root] {
        &self.0
    }

    /// The root of a file, and the file's path below it; none: it is of no source.
    pub fn place<'n>(&self, file: &'n str) -> Option<(&Root, &'n str)> {
        self.0
            .iter()
            .find_map(|root| Some((root, within(file, &root.label)?)))
    }

    /// Where a file is.
    pub fn path(&self, file: &str) -> Option<PathBuf> {
        let (root, below) = self.place(file)?;
        Some(root.directory.join(below))
    }
}

impl FromIterator<Root> for Roots {
    fn from_iter<I: IntoIterator<Item = Root>>(roots: I) -> Self {
        Self(roots.into_iter().collect())
    }
}

/// The name of a file of a source.
pub(super) fn labelled(label: &str, file: &str) -> String {
    if label.is_empty() {
        file.to_owned()
    } else {
        format!("{label}/{file}")
    }
}

/// What [`labelled`] was made of; none: it is a file of another source.
pub(super) fn within<'n>(file: &'n str, label: &str) -> Option<&'n str> {
    if label.is_empty() {
        return Some(file);
    }
    file.strip_prefix(label)?.strip_prefix('/')
}

/// A word for each of several sources, after the last part of where it is, or as many of its last
/// parts as tell it from the others.
pub fn labels(addresses: &[&str]) -> Vec<String> {
    let parts: Vec<Vec<String>> = addresses.iter().map(|one| words(one)).collect();
    let label = |at: usize, count: usize| {
        let parts = &parts[at];
        parts[parts.len().saturating_sub(count)..].join("-")
    };
    let longest = parts.iter().map(Vec::len).max().unwrap_or_default();
    let alone = |at: usize, count: &usize| {
        let own = label(at, *count);
        (0..parts.len()).all(|other| other == at || label(other, *count) != own)
    };
    let best = |at: usize| (1..longest).find(|count| alone(at, count));
    let mut labels: Vec<String> = (0..parts.len())
        .map(|at| label(at, best(at).unwrap_or(longest.max(1))))
        .collect();
    // What is left are addresses that differ in letters that no label has.
    for at in 0..labels.len() {
        let plain = labels[at].clone();
        for number in 2.. {
            if !labels[..at].contains(&labels[at]) {
                break;
            }
            labels[at] = format!("{plain}-{number}");
        }
    }
    labels
}

/// The parts of an address, in letters that need no quotes.
fn words(address: &str) -> Vec<String> {
    let readable = |letter: &char| letter.is_ascii_alphanumeric() || "-_.".contains(*letter);
    let word = |part: &str| {
        let part: String = part.chars().filter(readable).collect();
        let part = part.trim_start_matches('.');
        part.strip_suffix(".git").unwrap_or(part).to_owned()
    };
    let words = address.split(['/', ':', '#']).map(word);
    let words: Vec<String> = words.filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        return vec!["source".to_owned()];
    }
    words
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_file_has_the_root_that_its_name_begins_with() {
        let root = |label: &str| Root {
            label: label.into(),
            directory: Path::new("/srv").join(label),
        };
        let two: Roots = [root("a"), root("a-b")].into_iter().collect();
        let path = |file| two.path(file).map(|path| path.display().to_string());
        assert_eq!(path("a/x/y.yaml").as_deref(), Some("/srv/a/x/y.yaml"));
        assert_eq!(path("a-b/y.yaml").as_deref(), Some("/srv/a-b/y.yaml"));
        assert_eq!(path("c/y.yaml"), None);
        let one = Roots::one("/srv/m");
        let path = one.path("a/y.yaml");
        assert_eq!(path.unwrap(), Path::new("/srv/m/a/y.yaml"));
    }

    #[test]
    fn a_label_is_as_short_as_it_can_be() {
        for (addresses, expected) in [
            (
                vec!["https://h/a/payments.git", "/srv/core"],
                vec!["payments", "core"],
            ),
            (
                vec!["https://h/a/m.git", "https://h/b/m.git", "/srv/x"],
                vec!["a-m", "b-m", "x"],
            ),
            (
                vec!["https://h/m#main:db", "https://h/m#main:app"],
                vec!["db", "app"],
            ),
            (
                vec!["/srv/ä", "/srv/ö", "/"],
                vec!["srv", "srv-2", "source"],
            ),
        ] {
            assert_eq!(labels(&addresses), expected);
        }
    }
}
