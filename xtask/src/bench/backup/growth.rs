//! What a full backup costs for each gigabyte of a database that grows: seconds, processor seconds
//! and memory should stay what they are.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Result;

use super::{Contest, Row, build, fill, gigabytes, program};
use crate::bench::Effort;
use crate::bench::by_hand::Programs;
use crate::bench::scratch::Scratch;

/// Sizes in gigabytes, and rows that make them with their two indexes.
const SIZES: [(u32, u32); 4] = [
    (1, 5_150_000),
    (2, 10_300_000),
    (4, 20_600_000),
    (8, 41_200_000),
];

/// The second and third of each: the first reads what was just written.
const ROUNDS: usize = 3;

pub(in crate::bench) fn run(root: &Path, effort: Effort) -> Result<String> {
    let quick = effort.rounds < 3;
    let programs = Programs::find()?;
    build(root)?;
    let mut text = format!(
        "### Full backups of a database that grows (PostgreSQL {})\n\n\
         Seconds are min / median / max of {ROUNDS}.\n\n\
         | data, GB | backup, s | s for a GB | CPU s for a GB | memory, MiB |\n|---|---|---|---|---|\n",
        programs.version()
    );
    for (_, rows) in SIZES.iter().take(if quick { 2 } else { SIZES.len() }) {
        let row = measure(root, &programs, *rows)?;
        let data = gigabytes(row.data_bytes);
        // Writing to a string does not fail.
        let _infallible = writeln!(
            text,
            "| {data:.2} | {} | {:.2} | {:.2} | {} |",
            row.backup.times,
            row.backup.times.median().as_secs_f64() / data,
            row.backup.cpu.median().as_secs_f64() / data,
            row.memory_kib / 1024,
        );
    }
    Ok(text)
}

/// Each size has a server of its own, which goes before the next: the disk is as it was.
fn measure(root: &Path, programs: &Programs, rows: u32) -> Result<Row> {
    let scratch = Scratch::make("growth")?;
    programs.own(scratch.path())?;
    let (server, _) = programs.create(&scratch.path().join("server"))?;
    fill(&server, rows)?;
    let contest = Contest {
        server: &server,
        programs,
        example: program(root, scratch.path())?,
        scratch: scratch.path().to_owned(),
    };
    let mut row = Row::default();
    for round in 0..ROUNDS {
        contest.boma_backup(round, &mut row)?;
        fs::remove_dir_all(contest.place(&format!("boma-{round}")))?;
    }
    Ok(row)
}
