//! What an operator may configure of the platform, typed; reading it from files is the binary's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use boma_engine::observed::ServerBuild;
use boma_instance::Secret;
use boma_instance::backup::RepositoryLocation;
use boma_problem::Problem;

/// One PostgreSQL on this machine.
#[derive(Clone, Debug)]
pub struct LocalBuild {
    /// What the engine needs to know of it.
    pub server: ServerBuild,
    /// Directory of its programs (`postgres`, `initdb`).
    pub bin_dir: PathBuf,
}

/// The PostgreSQL builds of this machine, found by the binary.
#[derive(Clone, Debug, Default)]
pub struct Builds {
    /// At most one per major version, oldest first.
    pub servers: Vec<LocalBuild>,
    /// Where was looked, for the hint when a version is missing.
    pub searched: Vec<String>,
}

/// Where `<database>.internal` names are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostsFile {
    /// Nowhere: connection strings use addresses.
    Off,
    /// Into this file, as far as it can be written.
    At(PathBuf),
}

/// Which address and port a database gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// An address of its own where the system has all of 127.0.0.0/8, or else a port of its own.
    Automatic {
        /// Port on addresses of their own.
        port: u16,
    },
    /// Always 127.0.0.1, and a port of its own, this one or the next free one.
    Ports {
        /// First port to try.
        first: u16,
    },
}

impl Default for Addresses {
    fn default() -> Self {
        Self::Automatic { port: 5432 }
    }
}

/// A repository of backups, but for its key, which is kept with the secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryConfig {
    /// Where it is.
    pub location: RepositoryLocation,
    /// zstd level, 1 to 19.
    pub compression_level: u8,
}

/// zstd's own default: what more would save costs more CPU than most databases use.
pub const COMPRESSION_LEVEL: u8 = 3;

/// The repository that there is without any configuration.
pub const DEFAULT_REPOSITORY: &str = "default";

/// Makes the key of a new repository, in the form that it is exported in. Which form that is, is
/// decided where repositories are written, which this crate has nothing to do with.
pub type NewKey = fn() -> Result<Secret<String>, Box<Problem>>;

/// Asks the server in a directory of programs whether it takes these settings; answers with those
/// that it refuses, and why. This crate knows nothing of PostgreSQL's programs.
pub type JudgeSettings =
    fn(&Path, &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Box<Problem>>;

/// How the platform of one machine is set up.
#[derive(Clone, Debug)]
pub struct LocalConfig {
    /// The state directory.
    pub state_dir: PathBuf,
    /// The `boma` program that agents are started with.
    pub boma: PathBuf,
    /// PostgreSQL on this machine.
    pub builds: Builds,
    /// Where names are written.
    pub hosts: HostsFile,
    /// Addresses of databases.
    pub addresses: Addresses,
    /// System user that servers and agents run as when Boma runs as root; none: `postgres`.
    pub system_user: Option<String>,
    /// System user that applications run as when Boma runs as root; none: the owner of their
    /// working directory.
    pub application_user: Option<String>,
    /// Whether CPU and memory limits are enforced where that is possible.
    pub enforce_limits: bool,
    /// Spare clusters to keep per PostgreSQL version in use.
    pub spares: u16,
    /// Repositories of backups, by name.
    pub repositories: BTreeMap<String, RepositoryConfig>,
    /// Makes keys for them; none: nothing can be backed up.
    pub new_key: Option<NewKey>,
    /// Asks servers about settings; none: wrong values show once a server has read them.
    pub judge_settings: Option<JudgeSettings>,
}

impl LocalConfig {
    /// The usual set-up below a state directory: `/etc/hosts`, automatic addresses, limits on.
    pub fn new(state_dir: PathBuf, boma: PathBuf, builds: Builds) -> Self {
        let path = state_dir.join("repository").to_string_lossy().into_owned();
        let default = RepositoryConfig {
            location: RepositoryLocation::Directory { path },
            compression_level: COMPRESSION_LEVEL,
        };
        Self {
            repositories: BTreeMap::from([(DEFAULT_REPOSITORY.to_owned(), default)]),
            new_key: None,
            judge_settings: None,
            state_dir,
            boma,
            builds,
            hosts: HostsFile::At(PathBuf::from("/etc/hosts")),
            addresses: Addresses::default(),
            system_user: None,
            application_user: None,
            enforce_limits: true,
            spares: 2,
        }
    }
}

/// Where state is kept unless said otherwise: `/var/lib/boma` for root, `$XDG_STATE_HOME/boma` or
/// `~/.local/state/boma` for anybody else. None: there is neither of the two variables.
pub fn default_state_dir(is_root: bool, var: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    if is_root {
        return Some(PathBuf::from("/var/lib/boma"));
    }
    // The XDG base directory specification tells to ignore relative paths.
    let absolute = |name| var(name).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|base| base.join("boma"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_directory_follows_the_user() {
        let home = |name: &str| (name == "HOME").then(|| PathBuf::from("/h/ann"));
        let xdg = |name: &str| Some(PathBuf::from(if name == "HOME" { "/h" } else { "/x" }));
        let relative = |name: &str| Some(PathBuf::from(if name == "HOME" { "/h" } else { "x" }));
        let at = |path: &str| Some(PathBuf::from(path));
        assert_eq!(default_state_dir(true, xdg), at("/var/lib/boma"));
        assert_eq!(
            default_state_dir(false, home),
            at("/h/ann/.local/state/boma")
        );
        assert_eq!(default_state_dir(false, xdg), at("/x/boma"));
        assert_eq!(
            default_state_dir(false, relative),
            at("/h/.local/state/boma")
        );
        assert_eq!(default_state_dir(false, |_| None), None);
    }
}
