//! Validating and planning many manifests, beside merely reading their files.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::Effort;
use super::boma::{self, Boma};
use super::samples::Samples;
use super::scratch::Scratch;

/// Numbers of databases; each has two applications and two files.
const SIZES: [u32; 3] = [1_000, 10_000, 100_000];

pub(super) fn run(root: &Path, effort: Effort) -> Result<String> {
    let mut table = "### Validating and planning\n\n\
        Each database comes with two applications, in two files. The whole command is measured, from \
        its start to its end.\n\n\
        | databases | files | reading the files, s | `boma validate`, s | `boma plan`, s | plan, ns per resource |\n\
        |---|---|---|---|---|---|\n"
        .to_owned();
    for size in SIZES {
        let scratch = Scratch::make("planning")?;
        let boma = Boma::install(root, scratch.path())?;
        for number in 0..size {
            let name = format!("db-{number}");
            let reader = boma::application(&format!("reader-{number}"), &name, true);
            let writer = boma::application(&format!("writer-{number}"), &name, false);
            boma.write(
                &format!("{number}.yaml"),
                &format!("{}---\n{writer}", boma::database(&name, "0.25")),
            )?;
            boma.write(&format!("{number}-reader.yaml"), &reader)?;
        }
        let [mut read, mut validate, mut plan] = [const { Samples::new() }; 3];
        // The largest size is there for its shape, not for its spread.
        for _ in 0..effort.rounds.min(200_000 / size as usize) {
            read.push(read_all(&scratch.path().join("manifests"))?);
            validate.push(boma.time(&["validate"])?);
            plan.push(boma.time(&["plan", "--output", "json"])?);
        }
        let each = (plan.median() / (3 * size)).as_nanos();
        writeln!(
            table,
            "| {size} | {} | {read} | {validate} | {plan} | {each} |",
            2 * size
        )?;
    }
    Ok(table)
}

/// What no program that looks at every file can be faster than, one after the other.
fn read_all(directory: &Path) -> Result<Duration> {
    let start = Instant::now();
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        bytes += fs::read(entry?.path())?.len();
    }
    assert!(bytes > 0, "there should be files");
    Ok(start.elapsed())
}
