//! Base backups and restores beside pgBackRest and `pg_basebackup`: one database, one run, the same
//! compression, two processes or threads each.

pub(super) mod growth;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Effort;
use super::by_hand::{Programs, Server};
use super::machine;
use super::samples::Samples;
use super::scratch::Scratch;

/// Rows that make about 2 GB with their two indexes: text that compresses as real text does (md5
/// sums, 2.5 to 1), random keys, numbers, times.
const ROWS: u32 = 10_500_000;
const QUICK_ROWS: u32 = 1_500_000;

/// Each of these is one whole backup of 2 GB, three times over.
const ROUNDS: usize = 3;

/// Seconds of all processors, from `/proc/stat`: whatever works for a contender, its server and the
/// kernel included. Nothing else should run.
const TICKS: f64 = 100.0;

pub(super) fn run(root: &Path, effort: Effort) -> Result<String> {
    let quick = effort.rounds < 3;
    let programs = Programs::find()?;
    let scratch = Scratch::make("backup")?;
    programs.own(scratch.path())?;
    build(root)?;
    let (server, _) = programs.create(&scratch.path().join("server"))?;
    let rows = if quick { QUICK_ROWS } else { ROWS };
    fill(&server, rows)?;
    let contest = Contest {
        server: &server,
        programs: &programs,
        example: program(root, scratch.path())?,
        scratch: scratch.path().to_owned(),
    };
    contest.configure_pgbackrest()?;
    let rounds = if quick { effort.rounds } else { ROUNDS };
    let mut table = [(); CONTENDERS.len()].map(|()| Row::default());
    let mut again = Row::default();
    for round in 0..rounds {
        for (contender, row) in CONTENDERS.iter().zip(&mut table) {
            (contender.turn)(&contest, round, row)?;
        }
        contest.incremental(round, &mut again)?;
        contest.clear()?;
    }
    Ok(report(&contest, &table, &again))
}

struct Contender {
    name: &'static str,
    turn: fn(&Contest<'_>, usize, &mut Row) -> Result<()>,
}

const CONTENDERS: [Contender; 3] = [
    Contender {
        name: "Boma, zstd 3, AES-256-GCM, 2 threads",
        turn: |contest, round, row| contest.boma(round, row),
    },
    Contender {
        name: "pgBackRest, zstd 3, AES-256-CBC, process-max=2",
        turn: |contest, round, row| contest.pgbackrest(round, row),
    },
    Contender {
        name: "pg_basebackup, server-zstd 3, 2 workers, no encryption",
        turn: |contest, round, row| contest.pg_basebackup(round, row),
    },
];

#[derive(Default)]
struct Row {
    backup: Measured,
    restore: Measured,
    bytes: u64,
    memory_kib: u64,
    data_bytes: u64,
}

struct Measured {
    times: Samples,
    cpu: Samples,
}

impl Default for Measured {
    fn default() -> Self {
        Self {
            times: Samples::new(),
            cpu: Samples::new(),
        }
    }
}

impl Measured {
    /// Runs and measures one turn, from a quiet disk to a durable end.
    fn turn<T>(&mut self, turn: impl FnOnce() -> Result<T>) -> Result<T> {
        machine::settle()?;
        let (start, busy) = (Instant::now(), busy_seconds()?);
        let result = turn()?;
        self.times.push(start.elapsed());
        self.cpu
            .push(Duration::from_secs_f64((busy_seconds()? - busy).max(0.0)));
        Ok(result)
    }
}

struct Contest<'a> {
    server: &'a Server<'a>,
    programs: &'a Programs,
    example: PathBuf,
    scratch: PathBuf,
}

impl Contest<'_> {
    fn place(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    fn example(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.programs.any(&self.example);
        said(command.args(arguments))
    }

    fn boma_backup(&self, round: usize, row: &mut Row) -> Result<()> {
        let repository = text(&self.place(&format!("boma-{round}")))?;
        let (data, sockets, port) = self.server.coordinates()?;
        let arguments = ["backup", &data, &sockets, &port, &repository];
        let said = row.backup.turn(|| self.example(&arguments))?;
        row.memory_kib = row.memory_kib.max(number(&said, "memory ")?);
        row.bytes = number(&said, "stored ")?;
        row.data_bytes = number(&said, "data ")?;
        Ok(())
    }

    fn boma(&self, round: usize, row: &mut Row) -> Result<()> {
        self.boma_backup(round, row)?;
        let repository = text(&self.place(&format!("boma-{round}")))?;
        let new = text(&self.place(&format!("boma-restored-{round}")))?;
        row.restore
            .turn(|| self.example(&["restore", &repository, &new]))?;
        Ok(())
    }

    /// A second backup after one row on every hundredth page was changed. There is room for it on
    /// its page, so neither indexes nor other pages change with it.
    fn incremental(&self, round: usize, row: &mut Row) -> Result<()> {
        self.server.sql(&format!(
            "UPDATE item SET touched = touched + 1 WHERE ctid = ANY (ARRAY( \
             SELECT format('(%s,1)', page)::tid FROM generate_series({round}, \
             pg_relation_size('item') / 8192 - 1, 100) page))"
        ))?;
        self.server.sql("CHECKPOINT")?;
        let repository = text(&self.place(&format!("boma-{round}")))?;
        let (data, sockets, port) = self.server.coordinates()?;
        let arguments = ["backup", &data, &sockets, &port, &repository, "incremental"];
        let said = row.backup.turn(|| self.example(&arguments))?;
        row.bytes = row.bytes.max(number(&said, "stored ")?);
        row.memory_kib = row.memory_kib.max(number(&said, "memory ")?);
        let new = text(&self.place(&format!("boma-again-{round}")))?;
        row.restore
            .turn(|| self.example(&["restore", &repository, &new]))?;
        Ok(())
    }

    fn configure_pgbackrest(&self) -> Result<()> {
        let (data, sockets, port) = self.server.coordinates()?;
        let text = format!(
            "[global]\nrepo1-path={0}/pgbackrest\nlog-path={0}\nlock-path={0}/lock\n\
             spool-path={0}/spool\nlog-level-console=error\nlog-level-file=off\nprocess-max=2\n\
             compress-type=zst\ncompress-level=3\nrepo1-cipher-type=aes-256-cbc\n\
             repo1-cipher-pass=benchmark\nstart-fast=y\narchive-check=n\nrepo1-retention-full=9\n\n\
             [main]\npg1-path={data}\npg1-socket-path={sockets}\npg1-port={port}\n",
            self.scratch.display()
        );
        fs::write(self.place("pgbackrest.conf"), text)?;
        self.backrest(&["stanza-create"])
    }

    fn backrest(&self, arguments: &[&str]) -> Result<()> {
        let config = format!("--config={}", text(&self.place("pgbackrest.conf"))?);
        let mut command = self.programs.any(Path::new("pgbackrest"));
        command.args([&config, "--stanza=main"]).args(arguments);
        said(&mut command).map(drop)
    }

    fn pgbackrest(&self, round: usize, row: &mut Row) -> Result<()> {
        row.backup
            .turn(|| self.backrest(&["backup", "--type=full"]))?;
        let repository = self.place("pgbackrest/backup/main");
        row.bytes = newest_folder_bytes(&repository)?;
        let new = text(&self.place(&format!("pgbackrest-restored-{round}")))?;
        self.programs.directory(Path::new(&new))?;
        let place = format!("--pg1-path={new}");
        row.restore
            .turn(|| self.backrest(&["restore", &place, "--type=none"]))
    }

    fn pg_basebackup(&self, round: usize, row: &mut Row) -> Result<()> {
        let (_, sockets, port) = self.server.coordinates()?;
        let place = text(&self.place(&format!("basebackup-{round}")))?;
        row.backup.turn(|| {
            let mut command = self.programs.program("pg_basebackup");
            command
                .args([
                    "-h", &sockets, "-p", &port, "-D", &place, "-Ft", "-X", "none",
                ])
                .arg("--checkpoint=fast")
                .arg("--compress=server-zstd:level=3,workers=2");
            said(&mut command)
        })?;
        row.bytes = folder_bytes(Path::new(&place))?;
        Ok(())
    }

    /// What this round wrote, so that disks do not fill. All contenders write to a disk that the
    /// round before has left in the same way.
    fn clear(&self) -> Result<()> {
        for entry in fs::read_dir(&self.scratch)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let kept = name == "server" || !entry.file_type()?.is_dir() || name == "spool";
            if name == "pgbackrest" {
                continue;
            }
            if !kept {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }
}

fn report(contest: &Contest<'_>, table: &[Row; CONTENDERS.len()], again: &Row) -> String {
    let [ours, backrest, _] = table;
    let mut text = format!(
        "### A base backup of {:.2} GB (PostgreSQL {})\n\n\
         Seconds are min / median / max. Ratios are of medians, pgBackRest's over ours.\n\n\
         | | backup, s | CPU s | restore, s | CPU s | stored, MB |\n|---|---|---|---|---|---|\n",
        gigabytes(ours.data_bytes),
        contest.programs.version(),
    );
    for (contender, row) in CONTENDERS.iter().zip(table) {
        text.push_str(&line(contender.name, row));
    }
    text.push_str(&line(
        "Boma again, 1 % of the pages of the table changed",
        again,
    ));
    let ratio = |one: &Samples, other: &Samples| {
        one.median().as_secs_f64() / other.median().as_secs_f64().max(0.001)
    };
    // Writing to a string does not fail.
    let _infallible = writeln!(
        text,
        "\nAgainst pgBackRest: backup {:.2} times as fast, restore {:.2} times, {:.2} of its bytes, \
         {:.2} of its CPU. Against pg_basebackup: {:.2} times as fast. Again: {:.3} of the bytes and \
         {:.2} of the time of the first. Most memory of a backup: {} MiB.",
        ratio(&backrest.backup.times, &ours.backup.times),
        ratio(&backrest.restore.times, &ours.restore.times),
        gigabytes(ours.bytes) / gigabytes(backrest.bytes.max(1)),
        ratio(&ours.backup.cpu, &backrest.backup.cpu),
        ratio(&table[2].backup.times, &ours.backup.times),
        gigabytes(again.bytes) / gigabytes(ours.bytes.max(1)),
        ratio(&again.backup.times, &ours.backup.times),
        ours.memory_kib.max(again.memory_kib) / 1024,
    );
    text
}

fn line(name: &str, row: &Row) -> String {
    format!(
        "| {name} | {} | {:.1} | {} | {:.1} | {:.0} |\n",
        row.backup.times,
        row.backup.cpu.median().as_secs_f64(),
        row.restore.times,
        row.restore.cpu.median().as_secs_f64(),
        gigabytes(row.bytes) * 1000.0,
    )
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn gigabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

fn fill(server: &Server<'_>, rows: u32) -> Result<()> {
    server.sql(&format!(
        "CREATE TABLE item WITH (fillfactor = 95, autovacuum_enabled = off) AS SELECT n AS id, gen_random_uuid() AS key, md5(n::text) AS one, \
         md5((n * 7)::text) AS two, n % 1000 AS touched, now() - n * interval '1 second' AS at \
         FROM generate_series(1, {rows}) n"
    ))?;
    server.sql("ALTER TABLE item ADD PRIMARY KEY (id)")?;
    server.sql("CREATE INDEX ON item (key)")?;
    server.sql("VACUUM (FREEZE, ANALYZE) item")?;
    server.sql("CHECKPOINT")
}

fn build(root: &Path) -> Result<()> {
    let status = Command::new("cargo")
        .args([
            "build",
            "--release",
            "-q",
            "-p",
            "boma-backup",
            "--example",
            "repository",
        ])
        .current_dir(root)
        .status()?;
    ensure!(status.success(), "build the example: {status}");
    Ok(())
}

/// The example where the ordinary user can run it.
fn program(root: &Path, scratch: &Path) -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    let copy = scratch.join("repository");
    fs::copy(target.join("release/examples/repository"), &copy)?;
    Ok(copy)
}

fn busy_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("read /proc/stat")?;
    let ticks: Vec<f64> = line
        .split_whitespace()
        .skip(1)
        .map(|field| field.parse().unwrap_or(0.0))
        .collect();
    // user, nice, system; then idle and waiting, which are not work; then interrupts.
    let work: f64 = ticks.iter().take(3).sum::<f64>() + ticks.iter().skip(5).take(2).sum::<f64>();
    Ok(work / TICKS)
}

fn said(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("start {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn number(said: &str, what: &str) -> Result<u64> {
    said.lines()
        .find_map(|line| line.strip_prefix(what))
        .and_then(|number| number.trim().parse().ok())
        .with_context(|| format!("find `{what}` in {said:?}"))
}

fn text(path: &Path) -> Result<String> {
    Ok(path.to_str().context("a path should be UTF-8")?.to_owned())
}

fn folder_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        bytes += if meta.is_dir() {
            folder_bytes(&entry.path())?
        } else {
            meta.len()
        };
    }
    Ok(bytes)
}

fn newest_folder_bytes(folder: &Path) -> Result<u64> {
    let newest = fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir() && path.to_string_lossy().ends_with('F'))
        .max()
        .context("find pgBackRest's backup")?;
    folder_bytes(&newest)
}
