//! The write-ahead log beside pgBackRest: what one call takes while the database waits for it, and
//! how quickly files go that wait.
//!
//! Both are called as PostgreSQL calls them, one process for each file, and keep zstd 3 and AES-256.
//! Every file is a whole segment of real rows. All files of both are told apart by name, so that
//! none is found to be there already.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Effort;
use super::by_hand::{Programs, Server};
use super::machine;
use super::samples::Samples;
use super::scratch::Scratch;

/// Files that wait at once when the rate is measured.
const WAITING: usize = 50;

/// Calls that are timed one by one, in each round.
const CALLS: usize = 5;

const SEGMENT: usize = 16 << 20;

pub(super) fn run(root: &Path, effort: Effort) -> Result<String> {
    let programs = Programs::find()?;
    let scratch = Scratch::make("wal")?;
    programs.own(scratch.path())?;
    build(root)?;
    let (server, _) = programs.create(&scratch.path().join("server"))?;
    let contest = Contest::prepare(root, &programs, &server, scratch.path())?;
    let mut figures = Figures::default();
    for _ in 0..effort.rounds {
        contest.round(&mut figures)?;
    }
    Ok(report(&figures, &programs.version()))
}

struct Contest<'a> {
    programs: &'a Programs,
    scratch: PathBuf,
    data: PathBuf,
    boma: PathBuf,
    /// Next segment number; every name is used once.
    next: std::cell::Cell<u64>,
    segment: Vec<u8>,
    _agent: Agent,
}

/// Ended when dropped.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

struct Figures {
    ours: Samples,
    theirs: Samples,
    our_rate: Samples,
    their_rate: Samples,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            ours: Samples::new(),
            theirs: Samples::new(),
            our_rate: Samples::new(),
            their_rate: Samples::new(),
        }
    }
}

impl<'a> Contest<'a> {
    fn prepare(
        root: &Path,
        programs: &'a Programs,
        server: &Server<'_>,
        scratch: &Path,
    ) -> Result<Self> {
        let segment = real_segment(server)?;
        let boma = copied(root, "boma", scratch)?;
        let carrier = copied(root, "examples/wal", scratch)?;
        configure_pgbackrest(server, programs, scratch)?;
        let socket = scratch.join("agent.sock");
        let process = programs
            .any(&carrier)
            .arg(scratch.join("server"))
            .arg(&socket)
            .arg(scratch.join("boma-repository"))
            .stdout(Stdio::null())
            .spawn()
            .context("start the carrier")?;
        let agent = Agent(process);
        await_socket(&socket)?;
        Ok(Self {
            programs,
            scratch: scratch.to_owned(),
            data: server.data(),
            boma,
            next: std::cell::Cell::new(0x1000),
            segment,
            _agent: agent,
        })
    }

    /// Both in turns, each with files of its own.
    fn round(&self, figures: &mut Figures) -> Result<()> {
        for _ in 0..CALLS {
            figures.ours.push(self.one(|name| self.boma(name))?);
            figures
                .theirs
                .push(self.one(|name| self.pgbackrest(name, &[]))?);
        }
        figures.our_rate.push(self.many(|name| self.boma(name))?);
        let later = ["--archive-async"];
        figures
            .their_rate
            .push(self.many(|name| self.pgbackrest(name, &later))?);
        Ok(())
    }

    /// The time of a call for one file, with nothing behind it.
    fn one(&self, push: impl Fn(&str) -> Result<()>) -> Result<Duration> {
        let name = self.make_segment()?;
        machine::settle()?;
        let start = Instant::now();
        push(&name)?;
        let took = start.elapsed();
        self.finish(&name)?;
        Ok(took)
    }

    /// The time of one call after the other, as PostgreSQL makes them, for files that all wait.
    fn many(&self, push: impl Fn(&str) -> Result<()>) -> Result<Duration> {
        let names = (0..WAITING)
            .map(|_| self.make_segment())
            .collect::<Result<Vec<_>>>()?;
        machine::settle()?;
        let start = Instant::now();
        for name in &names {
            push(name)?;
            self.finish(name)?;
        }
        Ok(start.elapsed())
    }

    /// A file that waits, with a header that says what its name says.
    fn make_segment(&self) -> Result<String> {
        let number = self.next.get();
        self.next.set(number + 1);
        let name = format!("00000001{:08X}{:08X}", number >> 8, number & 0xff);
        let mut content = self.segment.clone();
        content[8..16].copy_from_slice(&(number * SEGMENT as u64).to_le_bytes());
        let place = self.data.join("pg_wal").join(&name);
        fs::write(&place, content)?;
        self.programs.own(&place)?;
        let ready = self.ready(&name);
        fs::write(&ready, "")?;
        self.programs.own(&ready)?;
        Ok(name)
    }

    /// What PostgreSQL does when a call has succeeded.
    fn finish(&self, name: &str) -> Result<()> {
        fs::remove_file(self.ready(name))?;
        fs::remove_file(self.data.join("pg_wal").join(name))?;
        Ok(())
    }

    fn ready(&self, name: &str) -> PathBuf {
        self.data
            .join("pg_wal/archive_status")
            .join(format!("{name}.ready"))
    }

    fn boma(&self, name: &str) -> Result<()> {
        let mut command = self.programs.any(&self.boma);
        command
            .args(["agent", "archive", "--socket"])
            .arg(self.scratch.join("agent.sock"))
            .arg(name);
        succeeds(&mut command)
    }

    fn pgbackrest(&self, name: &str, more: &[&str]) -> Result<()> {
        let mut command = self.programs.any(Path::new("pgbackrest"));
        command
            .arg(format!(
                "--config={}",
                self.scratch.join("pgbackrest.conf").display()
            ))
            .arg("--stanza=main")
            .args(more)
            .arg("archive-push")
            .arg(self.data.join("pg_wal").join(name));
        succeeds(&mut command)
    }
}

/// A whole segment as a server wrote it.
fn real_segment(server: &Server<'_>) -> Result<Vec<u8>> {
    server.sql(
        "CREATE TABLE item AS SELECT n AS id, gen_random_uuid() AS key, md5(n::text) AS text, \
         now() - n * interval '1 second' AS at FROM generate_series(1, 600000) n",
    )?;
    let mut names: Vec<PathBuf> = fs::read_dir(server.data().join("pg_wal"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_file())
        .collect();
    names.sort();
    // The first holds what initdb wrote, the last ones may be empty.
    let path = names.get(1).context("find a segment that was filled")?;
    let segment = fs::read(path)?;
    ensure!(segment.len() == SEGMENT, "{} is no segment", path.display());
    Ok(segment)
}

fn configure_pgbackrest(server: &Server<'_>, programs: &Programs, scratch: &Path) -> Result<()> {
    let (data, sockets, port) = server.coordinates()?;
    let place = scratch.display();
    let text = format!(
        "[global]\nrepo1-path={place}/pgbackrest\nlog-path={place}\nlock-path={place}/lock\n\
         spool-path={place}/spool\nlog-level-console=error\nlog-level-file=off\nprocess-max=2\n\
         compress-type=zst\ncompress-level=3\nrepo1-cipher-type=aes-256-cbc\n\
         repo1-cipher-pass=benchmark\n\n[main]\npg1-path={data}\npg1-socket-path={sockets}\n\
         pg1-port={port}\n"
    );
    let config = scratch.join("pgbackrest.conf");
    fs::write(&config, text)?;
    let mut command = programs.any(Path::new("pgbackrest"));
    command
        .arg(format!("--config={}", config.display()))
        .args(["--stanza=main", "stanza-create"]);
    succeeds(&mut command)
}

fn report(figures: &Figures, version: &str) -> String {
    let ratio = |one: &Samples, other: &Samples| {
        one.median().as_secs_f64() / other.median().as_secs_f64().max(0.0001)
    };
    let mut text = format!(
        "### Archiving the write-ahead log (segments of 16 MiB, PostgreSQL {version})\n\n\
         Seconds are min / median / max. Both: zstd 3, AES-256, a directory on this disk.\n\n\
         | | one call, s | {WAITING} that wait, s |\n|---|---|---|\n"
    );
    for (name, one, many) in [
        ("Boma", &figures.ours, &figures.our_rate),
        (
            "pgBackRest (at once; archive-async, process-max=2)",
            &figures.theirs,
            &figures.their_rate,
        ),
    ] {
        // Writing to a string does not fail.
        let _infallible = writeln!(text, "| {name} | {one} | {many} |");
    }
    let _infallible = writeln!(
        text,
        "\nOne call takes {:.2} of pgBackRest's; those that wait go {:.2} times as fast.",
        ratio(&figures.ours, &figures.theirs),
        ratio(&figures.their_rate, &figures.our_rate),
    );
    text
}

fn build(root: &Path) -> Result<()> {
    let status = Command::new("cargo")
        .args(["build", "--release", "-q", "-p", "boma", "-p", "boma-agent"])
        .args(["--bin", "boma", "--example", "wal"])
        .current_dir(root)
        .status()?;
    ensure!(status.success(), "build the programs: {status}");
    Ok(())
}

/// A program where the ordinary user can run it.
fn copied(root: &Path, program: &str, scratch: &Path) -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    let from = target.join("release").join(program);
    let to = scratch.join(from.file_name().unwrap_or_default());
    fs::copy(&from, &to).with_context(|| format!("copy {}", from.display()))?;
    Ok(to)
}

fn await_socket(socket: &Path) -> Result<()> {
    let begin = Instant::now();
    while std::os::unix::net::UnixStream::connect(socket).is_err() {
        ensure!(
            begin.elapsed() < Duration::from_secs(30),
            "the carrier does not listen"
        );
        std::thread::park_timeout(Duration::from_millis(10));
    }
    Ok(())
}

fn succeeds(command: &mut Command) -> Result<()> {
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
    Ok(())
}
