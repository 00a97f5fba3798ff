//! Where to look for installations.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Origin;

/// Where to look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchPaths {
    configured: Vec<PathBuf>,
    root: Option<PathBuf>,
    path: Vec<PathBuf>,
}

impl SearchPaths {
    /// The places that packages use, the path, and before them `BOMA_POSTGRES_DIR`.
    pub fn from_environment() -> Self {
        let list = |name| std::env::var_os(name).unwrap_or_default();
        Self {
            configured: split(&list("BOMA_POSTGRES_DIR")),
            root: Some(PathBuf::from("/")),
            path: split(&list("PATH")),
        }
    }

    /// These directories and nothing else, as if in `BOMA_POSTGRES_DIR`.
    pub fn only(directories: impl IntoIterator<Item = PathBuf>) -> Self {
        Self {
            configured: directories.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Looks below another directory than `/`, and in these directories of a path.
    #[cfg(test)]
    pub(super) fn set_root(&mut self, root: &Path, path: &[PathBuf]) {
        self.root = Some(root.to_owned());
        self.path = path.to_vec();
    }

    /// Adds a directory as if in `BOMA_POSTGRES_DIR`.
    #[cfg(test)]
    pub(super) fn configure(&mut self, directory: &Path) {
        self.configured.push(directory.to_owned());
    }
}

fn split(list: &OsStr) -> Vec<PathBuf> {
    std::env::split_paths(list)
        .filter(|path| !path.as_os_str().is_empty())
        .collect()
}

/// A directory with a `postgres` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) bin: PathBuf,
    pub(super) origin: Origin,
}

/// All directories with a `postgres`, each program once however many ways lead to it, and the
/// configured directories where there is none.
pub(super) fn candidates(paths: &SearchPaths) -> (Vec<Candidate>, Vec<PathBuf>) {
    let mut found = Found::default();
    let mut empty = Vec::new();
    for directory in &paths.configured {
        let bins = configured(directory);
        if bins.is_empty() {
            empty.push(directory.clone());
        }
        found.add(Origin::Configured, bins);
    }
    if let Some(root) = &paths.root {
        found.add(
            Origin::Debian,
            versions(&root.join("usr/lib/postgresql"), ""),
        );
        found.add(Origin::Rhel, versions(&root.join("usr"), "pgsql-"));
        for brew in [
            "opt/homebrew/opt",
            "usr/local/opt",
            "home/linuxbrew/.linuxbrew/opt",
        ] {
            found.add(Origin::Homebrew, versions(&root.join(brew), "postgresql@"));
        }
    }
    found.add(
        Origin::PgConfig,
        from_pg_config(&paths.path).into_iter().collect(),
    );
    found.add(Origin::Path, paths.path.clone());
    (found.candidates, empty)
}

/// A directory of programs, an installation's prefix, or a directory of prefixes.
fn configured(directory: &Path) -> Vec<PathBuf> {
    [directory.to_owned(), directory.join("bin")]
        .into_iter()
        .find(|bin| has_server(bin))
        .map_or_else(|| versions(directory, ""), |bin| vec![bin])
}

/// `<directory>/<prefix><number>/bin`, wherever there is a server in it.
fn versions(directory: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(prefix));
            number.is_some_and(|number| number.parse::<u32>().is_ok())
        })
        .map(|entry| entry.path().join("bin"))
        .filter(|bin| has_server(bin))
        .collect()
}

fn from_pg_config(path: &[PathBuf]) -> Option<PathBuf> {
    let program = path
        .iter()
        .map(|dir| dir.join("pg_config"))
        .find(|file| file.is_file())?;
    let output = Command::new(program)
        .arg("--bindir")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    Some(PathBuf::from(
        String::from_utf8_lossy(&output.stdout).trim(),
    ))
}

fn has_server(bin: &Path) -> bool {
    bin.join("postgres").is_file()
}

#[derive(Default)]
struct Found {
    seen: HashSet<PathBuf>,
    candidates: Vec<Candidate>,
}

impl Found {
    fn add(&mut self, origin: Origin, bins: Vec<PathBuf>) {
        for bin in bins {
            let Ok(program) = std::fs::canonicalize(bin.join("postgres")) else {
                continue;
            };
            // A link in the path stands for the place it leads to: what belongs to the program is
            // there. A package's own place stays as it is, because it survives an upgrade that
            // moves what it leads to (Homebrew's Cellar).
            let bin = match (origin, program.parent()) {
                (Origin::Path, Some(real)) if real.join("initdb").is_file() => real.to_owned(),
                _ => bin,
            };
            if self.seen.insert(program) {
                self.candidates.push(Candidate { bin, origin });
            }
        }
    }
}
