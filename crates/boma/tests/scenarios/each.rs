//! The scenarios beside this file: each is a test of its own on every platform.

use std::path::{Path, PathBuf};

/// Makes a test of each scenario, with these attributes; `$play` gets its file.
macro_rules! each_scenario {
    ($attributes:tt $play:path) => {
        $crate::each::each_scenario! { $attributes $play;
            access_taken_away
            dropped_table
            environment
            first_database
            password_exchanged
            purged
            read_only
            renamed
            restored_to_a_moment
            retired
            second_application
            settings
            storage
            suspended
            wrong_manifests
        }
    };
    ($attributes:tt $play:path; $($name:ident)*) => {
        $($crate::each::each_scenario! { @ $attributes $play; $name })*

        #[test]
        fn every_file_is_a_test() {
            let tests = [$(stringify!($name)),*];
            assert_eq!(tests.map(str::to_owned).to_vec(), $crate::each::files());
        }
    };
    (@ [$(#[$attribute:meta])*] $play:path; $name:ident) => {
        #[test]
        $(#[$attribute])*
        fn $name() -> anyhow::Result<()> {
            $play(&$crate::each::file(stringify!($name)))
        }
    };
}
pub(crate) use each_scenario;

// As it is now, not as it was when this was compiled: target directories are copied.
fn directory() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
    Path::new(&package).join("tests/scenarios")
}

/// The file of a test.
pub(crate) fn file(test: &str) -> PathBuf {
    directory()
        .join(test.replace('_', "-"))
        .with_extension("txt")
}

/// The names of the tests that there are files for.
pub(crate) fn files() -> Vec<String> {
    let entries = std::fs::read_dir(directory()).into_iter().flatten();
    let names = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some(name.strip_suffix(".txt")?.replace('-', "_"))
    });
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}
