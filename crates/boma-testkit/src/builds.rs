//! PostgreSQL builds to test with.

use std::path::{Path, PathBuf};

use boma_instance::MajorVersion;
use nix::unistd::Uid;

/// A PostgreSQL to test with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// Its major version.
    pub major: MajorVersion,
    /// Where its programs are: at least `postgres` and `initdb`.
    pub bin: PathBuf,
}

/// One build of every major version: the distribution's where it is installed, else the one that
/// `scripts/install-test-postgres.sh` fetched. An error names what is missing.
pub fn postgres_builds() -> anyhow::Result<Vec<Build>> {
    let cache = cache();
    let mut builds = Vec::new();
    let mut missing = Vec::new();
    for major in MajorVersion::ALL {
        let places = [
            Path::new("/usr/lib/postgresql").join(major.to_string()),
            cache.join(major.to_string()),
        ];
        let found = places
            .map(|place| place.join("bin"))
            .into_iter()
            .find(|bin| bin.join("postgres").is_file() && bin.join("initdb").is_file());
        match found {
            Some(bin) => builds.push(Build { major, bin }),
            None => missing.push(major.to_string()),
        }
    }
    anyhow::ensure!(
        missing.is_empty(),
        "tests need PostgreSQL {} in {}: run scripts/install-test-postgres.sh",
        missing.join(", "),
        cache.display()
    );
    Ok(builds)
}

/// Where the script puts them; it has the same rule.
fn cache() -> PathBuf {
    if let Some(directory) = std::env::var_os("BOMA_TEST_POSTGRES_DIR") {
        return directory.into();
    }
    // A test that gave up root's rights is still one that root started.
    let shared = PathBuf::from("/var/cache/boma/postgres");
    match std::env::home_dir() {
        Some(home) if !Uid::effective().is_root() && !shared.is_dir() => {
            home.join(".cache/boma/postgres")
        }
        _ => shared,
    }
}
