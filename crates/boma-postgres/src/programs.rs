//! The PostgreSQL installations on this host, and what each of them can do.
//!
//! ```no_run
//! use boma_instance::MajorVersion;
//! use boma_postgres::programs::{Installations, SearchPaths};
//!
//! let found = Installations::discover(&SearchPaths::from_environment());
//! let installation = found.require(MajorVersion::V17)?;
//! println!("{} in {}", installation.version, installation.bin.display());
//! # Ok::<(), boma_postgres::programs::MissingInstallation>(())
//! ```
//!
//! Nothing is cached: looking takes a few milliseconds per installation, all of them side by side.

mod describe;
mod search;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use boma_instance::MajorVersion;
use boma_problem::{Class, IntoProblem, Problem};
use serde::Serialize;

pub use describe::{
    DescribeError, Extension, InvalidSetting, Parameter, ParameterContext, ParameterKind,
    check_settings,
};
pub use search::SearchPaths;

/// Where an installation was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// In `BOMA_POSTGRES_DIR`; preferred to all others.
    Configured,
    /// `/usr/lib/postgresql/N`, where Debian and the PGDG packages for it put it.
    Debian,
    /// `/usr/pgsql-N`, where the PGDG packages for RHEL put it.
    Rhel,
    /// Homebrew's `opt/postgresql@N`.
    Homebrew,
    /// Where the `pg_config` in the path says.
    PgConfig,
    /// In a directory of the path.
    Path,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configured => "BOMA_POSTGRES_DIR",
            Self::Debian => "Debian or PGDG package",
            Self::Rhel => "PGDG package for RHEL",
            Self::Homebrew => "Homebrew",
            Self::PgConfig => "pg_config",
            Self::Path => "PATH",
        })
    }
}

/// A full version: `15.18`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version {
    /// The major version.
    pub major: MajorVersion,
    /// The minor version.
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Serialize for Version {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A PostgreSQL that can make and run servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Installation {
    /// Its version.
    pub version: Version,
    /// Where `postgres` and `initdb` are.
    pub bin: PathBuf,
    /// Where its extensions and time zones are.
    pub share: PathBuf,
    /// How it was found.
    pub origin: Origin,
}

impl Installation {
    /// Its major version.
    pub fn major(&self) -> MajorVersion {
        self.version.major
    }

    /// The path of one of its programs. It need not be there: many packages leave clients out.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }
}

/// Something that looks like an installation and cannot be used.
#[derive(Debug, Serialize)]
pub struct Broken {
    /// Where it is.
    pub path: PathBuf,
    /// How it was found.
    pub origin: Origin,
    /// What is wrong with it.
    #[serde(serialize_with = "as_text")]
    pub why: Defect,
}

fn as_text<S: serde::Serializer>(defect: &Defect, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(defect)
}

/// Why an installation cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Defect {
    /// A configured directory holds nothing of the kind.
    #[error("holds no `postgres` program, neither itself nor in `bin` nor in `<major>/bin`")]
    NoServer,
    /// Only a server, or only clients, are installed.
    #[error("has no `initdb` beside `postgres`")]
    NoInitdb,
    /// `postgres --version` could not be run.
    #[error("`postgres --version` does not run: {0}")]
    DoesNotRun(std::io::Error),
    /// `postgres --version` failed: a missing library, most often.
    #[error("`postgres --version` fails: {0}")]
    Fails(String),
    /// `postgres --version` printed something unexpected.
    #[error("`postgres --version` says {0:?}, which is no version")]
    NoVersion(String),
    /// A version that Boma does not run.
    #[error("is version {0}, which is not one of 15, 16, 17, 18")]
    Unsupported(String),
    /// No directory with `postgres.bki` was found.
    #[error("its share directory, with `postgres.bki`, is not where it should be")]
    NoShare,
}

/// Every PostgreSQL on this host.
#[derive(Debug, Default, Serialize)]
pub struct Installations {
    usable: Vec<Installation>,
    broken: Vec<Broken>,
}

impl Installations {
    /// Looks for installations. Blocks for as long as `postgres --version` takes.
    pub fn discover(paths: &SearchPaths) -> Self {
        let mut found = Self::default();
        let (candidates, empty) = search::candidates(paths);
        found.broken.extend(empty.into_iter().map(|path| Broken {
            path,
            origin: Origin::Configured,
            why: Defect::NoServer,
        }));
        let probed: Vec<_> = std::thread::scope(|scope| {
            let probes: Vec<_> = candidates
                .into_iter()
                .map(|candidate| scope.spawn(move || probe(candidate)))
                .collect();
            probes
                .into_iter()
                .filter_map(|probe| probe.join().ok())
                .collect()
        });
        for outcome in probed {
            match outcome {
                Ok(installation) => found.usable.push(installation),
                Err(broken) => found.broken.push(broken),
            }
        }
        found.usable.sort_by_key(|one| {
            let newest_first = std::cmp::Reverse(one.version.minor);
            let chosen_first = one.origin != Origin::Configured;
            (
                one.version.major,
                chosen_first,
                newest_first,
                one.origin,
                one.bin.clone(),
            )
        });
        found
    }

    /// All that can be used, by major version; of each the preferred one first.
    pub fn all(&self) -> &[Installation] {
        &self.usable
    }

    /// What looked like an installation and cannot be used.
    pub fn broken(&self) -> &[Broken] {
        &self.broken
    }

    /// The one to use for a major version: a configured one, else the newest minor version.
    pub fn of(&self, major: MajorVersion) -> Option<&Installation> {
        self.usable.iter().find(|one| one.major() == major)
    }

    /// The newest major version that is installed.
    pub fn newest(&self) -> Option<&Installation> {
        self.usable.last().and_then(|last| self.of(last.major()))
    }

    /// Like [`Self::of`]; the error says what was found instead and how to install it.
    pub fn require(&self, major: MajorVersion) -> Result<&Installation, MissingInstallation> {
        self.of(major).ok_or_else(|| MissingInstallation {
            major,
            found: self
                .usable
                .iter()
                .map(|one| one.version.to_string())
                .collect(),
            broken: self
                .broken
                .iter()
                .map(|one| format!("{} {}", one.path.display(), one.why))
                .collect(),
        })
    }
}

/// A major version that is not installed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("PostgreSQL {major} is not installed on this host")]
pub struct MissingInstallation {
    /// What was asked for.
    pub major: MajorVersion,
    /// Versions that are there.
    pub found: Vec<String>,
    /// What could not be used, and why.
    pub broken: Vec<String>,
}

impl IntoProblem for MissingInstallation {
    fn problem(&self) -> Problem {
        let major = self.major;
        let mut problem = Problem::from_error(Class::Config, "postgres-not-installed", self)
            .hint(format!(
                "Install it (Debian, Ubuntu: `apt-get install postgresql-{major}`; macOS: `brew install \
                 postgresql@{major}`), or name its directory in BOMA_POSTGRES_DIR."
            ));
        if !self.found.is_empty() {
            problem = problem.hint(format!("Installed: {}.", self.found.join(", ")));
        }
        for broken in &self.broken {
            problem = problem.hint(format!("Cannot be used: {broken}."));
        }
        problem
    }
}

/// Looks at one directory of programs.
fn probe(candidate: search::Candidate) -> Result<Installation, Broken> {
    let search::Candidate { bin, origin } = candidate;
    let looked = version_of(&bin).and_then(|version| {
        let share = share_of(&bin, version.major).ok_or(Defect::NoShare)?;
        Ok((version, share))
    });
    match looked {
        Ok((version, share)) => Ok(Installation {
            version,
            bin,
            share,
            origin,
        }),
        Err(why) => Err(Broken {
            path: bin,
            origin,
            why,
        }),
    }
}

fn version_of(bin: &Path) -> Result<Version, Defect> {
    if !bin.join("initdb").is_file() {
        return Err(Defect::NoInitdb);
    }
    let output = Command::new(bin.join("postgres"))
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(Defect::DoesNotRun)?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(Defect::Fails(text.trim().to_owned()));
    }
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn parse_version(text: &str) -> Result<Version, Defect> {
    let no_version = || Defect::NoVersion(text.trim().to_owned());
    let word = text
        .split_once("(PostgreSQL) ")
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .ok_or_else(no_version)?;
    // Versions before 10 have three parts, betas none: neither is one that Boma runs.
    let Some((major, minor)) = word.split_once('.') else {
        return Err(Defect::Unsupported(word.to_owned()));
    };
    let Ok(major) = major.parse::<MajorVersion>() else {
        return Err(Defect::Unsupported(word.to_owned()));
    };
    let minor = minor.parse::<u32>().ok().ok_or_else(no_version)?;
    Ok(Version { major, minor })
}

/// The share directory that belongs to a directory of programs.
///
/// `postgres` works it out from its own place and what it was built with, and has no option to
/// tell; these are the places that packages use, and `pg_config` knows where it is installed too.
fn share_of(bin: &Path, major: MajorVersion) -> Option<PathBuf> {
    // /usr/local/bin/postgres may be a link into the real place: share is beside that.
    let real = std::fs::canonicalize(bin.join("postgres")).ok();
    let real_bin = real.as_deref().and_then(Path::parent).unwrap_or(bin);
    let mut places = Vec::new();
    for prefix in [bin.parent(), real_bin.parent()].into_iter().flatten() {
        places.push(prefix.join("share/postgresql"));
        places.push(prefix.join(format!("share/postgresql@{major}")));
        places.push(prefix.join("share"));
        places.push(prefix.join("share/pgsql"));
        // Debian: /usr/lib/postgresql/15/bin belongs to /usr/share/postgresql/15.
        places.push(prefix.join(format!("../../../share/postgresql/{major}")));
    }
    let is_share = |place: &PathBuf| place.join("postgres.bki").is_file();
    let found = places.into_iter().find(is_share).or_else(|| {
        let output = Command::new(real_bin.join("pg_config"))
            .arg("--sharedir")
            .stdin(Stdio::null())
            .output()
            .ok()?;
        Some(PathBuf::from(
            String::from_utf8_lossy(&output.stdout).trim(),
        ))
        .filter(is_share)
    })?;
    std::fs::canonicalize(found).ok()
}

#[cfg(test)]
mod tests;
