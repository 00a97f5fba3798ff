//! From nothing, or from an accepted manifest, to the first query answered.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::Effort;
use super::by_hand::Programs;
use super::samples::Samples;

pub(super) fn run(_root: &Path, effort: Effort) -> Result<String> {
    let programs = Programs::find()?;
    let scratch = Path::new("/var/tmp").join(format!("boma-bench-{}", std::process::id()));
    fs::create_dir(&scratch)?;
    let mut by_hand = Samples::default();
    for _ in 0..effort.rounds {
        let (server, time) = programs.create(&scratch)?;
        by_hand.push(time);
        drop(server);
    }
    fs::remove_dir(&scratch)?;
    Ok(format!(
        "### A new database, to the first query (PostgreSQL {})\n\n\
        | | s |\n|---|---|\n\
        | initdb, pg_ctl start -w, createuser, createdb, psql | {by_hand} |\n",
        programs.version()
    ))
}
