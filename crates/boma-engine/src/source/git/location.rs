//! Where a Git repository is, as a person writes it.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use boma_problem::{Class, IntoProblem, Problem};

use crate::fingerprint::Fingerprint;

/// Transports that are used: what runs a program of the address's choice (`ext::`) is not.
const TRANSPORTS: [&str; 4] = ["https", "http", "ssh", "file"];

/// A branch of a repository, and the directory in it that the manifests are in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitLocation {
    /// `https://…`, `ssh://…`, `file://…`.
    pub url: String,
    /// The branch.
    pub branch: String,
    /// Directory in the repository; empty: all of it.
    pub path: PathBuf,
}

/// Why something is no place to read manifests from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// A transport that is not used.
    #[error("`{0}` is no address of a repository that can be read")]
    Transport(String),
    /// A password in the address, which is shown in many places.
    #[error("there is a password in the address of the repository")]
    Password,
    /// No name of a branch.
    #[error("`{0}` is no name of a branch")]
    Branch(String),
    /// A path that may lead out of the repository.
    #[error("`{}` is no path within a repository", .0.display())]
    Path(PathBuf),
}

impl IntoProblem for LocationError {
    fn problem(&self) -> Problem {
        let hint = match self {
            Self::Transport(_) => "Write `https://`, `ssh://` or `file://`.",
            Self::Password => {
                "Leave it out: `boma secret set` and `--credential`, or git's own `credential.helper` and SSH keys."
            }
            Self::Branch(_) => "Write the branch without `refs/heads/`: `--branch main`.",
            Self::Path(_) => {
                "Write it from the repository's top on: `--path databases/production`."
            }
        };
        Problem::from_error(Class::User, "git-location-refused", self).hint(hint)
    }
}

impl GitLocation {
    /// Whether a text is the address of a repository rather than a directory.
    pub fn is_address(text: &str) -> bool {
        text.contains("://")
    }

    /// Checks what a person wrote.
    pub fn new(url: &str, branch: &str, path: &Path) -> Result<Self, LocationError> {
        let (transport, rest) = url.split_once("://").unwrap_or_default();
        if !TRANSPORTS.contains(&transport) || rest.is_empty() || url.contains(char::is_control) {
            return Err(LocationError::Transport(url.to_owned()));
        }
        let authority = rest.split('/').next().unwrap_or_default();
        let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
        if user.contains(':') {
            return Err(LocationError::Password);
        }
        if !is_branch(branch) {
            return Err(LocationError::Branch(branch.to_owned()));
        }
        path_within(path)?;
        Ok(Self {
            url: url.to_owned(),
            branch: branch.to_owned(),
            path: path.to_owned(),
        })
    }

    /// Checks an address that may name its branch and the directory in it by itself, as in
    /// `https://host/repository.git#main:databases`.
    pub fn of_address(address: &str, branch: &str, path: &Path) -> Result<Self, LocationError> {
        let Some((url, rest)) = address.split_once('#') else {
            return Self::new(address, branch, path);
        };
        match rest.split_once(':') {
            Some(("", within)) => Self::new(url, branch, Path::new(within)),
            Some((branch, within)) => Self::new(url, branch, Path::new(within)),
            None => Self::new(url, rest, path),
        }
    }

    /// A name for a directory that is this location's alone: the last part of the address, for
    /// people, and a hash of all of it.
    pub fn directory_name(&self) -> String {
        let last = self.url.trim_end_matches('/').rsplit('/').next();
        let readable = |letter: &char| letter.is_ascii_alphanumeric() || "-_.".contains(*letter);
        let name: String = last.unwrap_or_default().chars().filter(readable).collect();
        let name = name.trim_start_matches('.').trim_end_matches(".git");
        let path = self.path.to_string_lossy();
        let hash = Fingerprint::of_texts(&[&self.url, &self.branch, &path]).to_string();
        let hash = hash.get(..16).unwrap_or(&hash);
        format!("{name}-{hash}")
    }

    /// The directory of the manifests in a copy of the repository.
    pub fn below(&self, place: &Path) -> PathBuf {
        let parts = self.path.components();
        let parts = parts.filter(|part| matches!(part, Component::Normal(_)));
        parts.fold(place.to_owned(), |path, part| path.join(part))
    }
}

/// A path that stays within a repository, and out of what is git's own there, as git writes it.
pub fn path_within(path: &Path) -> Result<String, LocationError> {
    let refused = || LocationError::Path(path.to_owned());
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) if !name.eq_ignore_ascii_case(".git") => {
                parts.push(name.to_str().ok_or_else(refused)?);
            }
            Component::CurDir => {}
            Component::Normal(_)
            | Component::ParentDir
            | Component::RootDir
            | Component::Prefix(_) => return Err(refused()),
        }
    }
    Ok(parts.join("/"))
}

/// The rules of `git check-ref-format` that matter: it is no option, and no expression.
fn is_branch(name: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && Path::new(part)
                .extension()
                .is_none_or(|extension| extension != "lock")
    };
    let refused = |letter: char| letter.is_control() || " ~^:?*[\\".contains(letter);
    !name.starts_with('-')
        && !name.contains(refused)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.ends_with('.')
        && name.split('/').all(is_part)
}

/// Reads what [`fmt::Display`] writes, which is how an installation remembers its source.
impl FromStr for GitLocation {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        let refused = || LocationError::Transport(text.to_owned());
        let (url, rest) = text.split_once(", branch ").ok_or_else(refused)?;
        let (branch, path) = rest.split_once(", directory ").unwrap_or((rest, ""));
        Self::new(url, branch, Path::new(path))
    }
}

/// `https://…/repository.git, branch main, directory databases`.
impl fmt::Display for GitLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, branch {}", self.url, self.branch)?;
        if self.path.as_os_str().is_empty() {
            return Ok(());
        }
        write!(f, ", directory {}", self.path.display())
    }
}
