//! From a push that is told of to the end of the first step of its plan, with ten thousand manifests.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Effort;
use super::boma::{self, Boma};
use super::samples::Samples;
use super::scratch::Scratch;

/// How many manifests the repository holds.
const MANIFESTS: usize = 10_000;

/// Pushes for each round of the other tables.
const EACH_ROUND: usize = 3;

/// How long `boma serve` may take until everything is as the manifests say.
const FIRST_PASS: Duration = Duration::from_mins(5);

/// After this long without a word, all is said.
const SILENCE: Duration = Duration::from_millis(500);

/// How long anything else may take.
const PATIENCE: Duration = Duration::from_mins(1);

pub(super) fn run(root: &Path, effort: Effort) -> Result<String> {
    let scratch = Scratch::make("webhook")?;
    let repository = Repository::make(scratch.path())?;
    let boma = Boma::install(root, &scratch.path().join("boma"))?;
    let secret = scratch.path().join("secret");
    let token = token()?;
    fs::write(&secret, &token)?;
    let source = format!("file://{}", repository.remote.display());
    let file = secret.to_string_lossy();
    let arguments = [
        "serve",
        &source,
        "--poll",
        "86400",
        "--webhook=127.0.0.1:0",
        "--webhook-secret",
        &file,
    ];
    let (serving, said) = boma.speaking(&arguments)?;
    let lines = lines(said);
    let address = told_at(&lines)?;
    wait_for(&lines, "Everything is as the manifests say", FIRST_PASS)?;
    let (mut told, mut by_hand) = (Samples::new(), Samples::new());
    for number in 0..effort.rounds * EACH_ROUND {
        repository.push(number)?;
        // What is said of the push before must not be taken for what is said of this one.
        while lines.recv_timeout(SILENCE).is_ok() {}
        let begun = Instant::now();
        tell(&address, &token, number)?;
        let first = wait_for(&lines, "step done", PATIENCE)?;
        told.push(first.duration_since(begun));
        by_hand.push(repository.fetch_by_hand()?);
    }
    drop(serving);
    let ratio = told.median().as_secs_f64() / by_hand.median().as_secs_f64();
    Ok(format!(
        "### A push to the first step of its plan ({MANIFESTS} manifests, one changed)\n\n\
        | | s | of by hand |\n|---|---|---|\n\
        | by hand: `git fetch`, `git checkout`, nothing read | {by_hand} | 1 |\n\
        | `boma serve`, from the webhook's delivery to the end of the first step | {told} | {ratio:.1} |\n"
    ))
}

/// A secret that nobody else has.
fn token() -> Result<String> {
    let mut bytes = [0_u8; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u128::from_ne_bytes(bytes).to_string())
}

/// A repository that is pushed to, a working tree of it, and somebody's copy.
struct Repository {
    remote: PathBuf,
    work: PathBuf,
    copy: PathBuf,
}

impl Repository {
    fn make(scratch: &Path) -> Result<Self> {
        let repository = Self {
            remote: scratch.join("remote.git"),
            work: scratch.join("work"),
            copy: scratch.join("copy"),
        };
        let remote = repository.remote.to_string_lossy();
        git(scratch, &["init", "-q", "--bare", "-b", "main", &remote])?;
        git(scratch, &["clone", "-q", &remote, "work"])?;
        for number in 2..MANIFESTS {
            repository.write_idle(number)?;
        }
        fs::write(
            repository.work.join("orders.yaml"),
            boma::database("orders", "1"),
        )?;
        repository.write(0)?;
        repository.commit("all of them")?;
        git(
            scratch,
            &[
                "clone",
                "-q",
                "--depth=1",
                &format!("file://{remote}"),
                "copy",
            ],
        )?;
        Ok(repository)
    }

    /// An application without access: with ten thousand servers, the machine would be measured.
    fn write_idle(&self, number: usize) -> Result<()> {
        let directory = self.work.join(format!("team-{:03}", number % 100));
        fs::create_dir_all(&directory)?;
        let name = format!("app-{number}");
        let text = boma::application_elsewhere(&name, "  env: { ROLE: idle }\n");
        Ok(fs::write(directory.join(format!("{name}.yaml")), text)?)
    }

    /// The application whose environment changes with each push.
    fn write(&self, value: usize) -> Result<()> {
        let spec = format!(
            "  env: {{ VALUE: '{value}' }}\n  accessControl: {{ databases: [{{ name: orders }}] }}\n"
        );
        let text = boma::application_elsewhere("changing", &spec);
        Ok(fs::write(self.work.join("changing.yaml"), text)?)
    }

    fn commit(&self, subject: &str) -> Result<()> {
        git(&self.work, &["add", "-A"])?;
        let who = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"];
        let commit = ["commit", "-q", "-m", subject];
        git(&self.work, &[&who[..], &commit].concat())?;
        git(&self.work, &["push", "-q", "origin", "HEAD:main"])
    }

    fn push(&self, number: usize) -> Result<()> {
        self.write(number + 1)?;
        self.commit(&format!("change {number}"))
    }

    fn fetch_by_hand(&self) -> Result<Duration> {
        let begun = Instant::now();
        git(&self.copy, &["fetch", "-q", "--depth=1", "origin", "main"])?;
        git(&self.copy, &["checkout", "-q", "--detach", "FETCH_HEAD"])?;
        Ok(begun.elapsed())
    }
}

fn git(place: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("git");
    let status = command.arg("-C").arg(place).args(arguments).status()?;
    ensure!(status.success(), "git {}: {status}", arguments.join(" "));
    Ok(())
}

/// What a process says, each line with the moment at which it came.
fn lines(said: impl Read + Send + 'static) -> Receiver<(Instant, String)> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(said).lines().map_while(Result::ok) {
            if sender.send((Instant::now(), line)).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Waits for a line; answers when it came.
fn wait_for(
    lines: &Receiver<(Instant, String)>,
    wanted: &str,
    patience: Duration,
) -> Result<Instant> {
    let until = Instant::now() + patience;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let next = lines.recv_timeout(left);
        let (at, line) = next.with_context(|| format!("boma never said {wanted:?}"))?;
        if line.contains(wanted) {
            return Ok(at);
        }
    }
}

/// Where deliveries are taken: `address:port`.
fn told_at(lines: &Receiver<(Instant, String)>) -> Result<String> {
    loop {
        let (_, line) = lines
            .recv_timeout(PATIENCE)
            .context("boma serves nothing")?;
        let address = line.split_once("Pushes are told at http://");
        if let Some((address, _)) = address.and_then(|(_, rest)| rest.split_once("/hooks/git")) {
            return Ok(address.to_owned());
        }
    }
}

/// Tells of a push as GitLab does.
fn tell(address: &str, token: &str, number: usize) -> Result<()> {
    let body = format!("{{\"number\":{number}}}");
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "POST /hooks/git HTTP/1.1\r\nhost: localhost\r\nx-gitlab-event: Push Hook\r\n\
         x-gitlab-event-uuid: {number}\r\nx-gitlab-token: {token}\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    Ok(())
}
