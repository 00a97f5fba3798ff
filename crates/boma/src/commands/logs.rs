//! `boma logs`.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use boma_engine::platform::Platform;
use boma_problem::{Class, IntoProblem, Problem};

use crate::cli::{Global, LogsArgs};
use crate::session::{Named, Need, Session, find};
use crate::terminal::{Exit, Result, Terminal, printable};

/// How often a followed log is looked at: quicker than a person notices, and cheap.
const LOOK: Duration = Duration::from_millis(200);

/// A line of a log is rarely longer than this; only the end of a log is read.
const BYTES_PER_LINE: u64 = 1000;

/// Shows the end of a log.
pub(crate) async fn run(args: &LogsArgs, global: &Global, terminal: Terminal) -> Result {
    let session = Session::open(global, Need::NoBuilds).await?;
    let seen = session.platform.observe().await?;
    let layout = session.platform.layout();
    let path: PathBuf = match find(&seen, &args.name)? {
        Named::Database(key) => match seen.databases.get(&key) {
            Some(one) if args.agent => layout.agent_log(one.id),
            Some(one) => layout.instance(one.id).join(boma_agent::LOG),
            None => return Ok(Exit::Ok),
        },
        Named::Application(key) => layout
            .application_log(&key)
            .map_err(|error| error.problem())?,
    };
    let mut log = File::open(&path).map_err(|error| unreadable(&path, &error))?;
    terminal.result(&tail(&mut log, args.lines)?)?;
    if args.follow {
        follow(&mut log, terminal).await?;
    }
    Ok(Exit::Ok)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    Problem {
        message: format!("read log `{}`", path.display()),
        causes: vec![error.to_string()],
        ..Problem::new(Class::User, "log-unreadable", "")
    }
    .hint("It is there once the server or the application was started; it belongs to the user that this runs as.")
}

fn tail(log: &mut File, lines: usize) -> std::io::Result<String> {
    let length = log.metadata()?.len();
    let wanted = BYTES_PER_LINE.saturating_mul(lines.max(1) as u64);
    let from = length.saturating_sub(wanted);
    log.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    log.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    // A cut first line is no line.
    let whole = match text.split_once('\n') {
        Some((_cut, whole)) if from > 0 && !whole.is_empty() => whole,
        Some(_) | None => &text,
    };
    Ok(last_lines(whole, lines))
}

/// The last lines of a text, as a terminal may be shown them.
pub(crate) fn last_lines(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    let last = &all[all.len().saturating_sub(lines)..];
    last.iter().map(|line| printable(line) + "\n").collect()
}

async fn follow(log: &mut File, terminal: Terminal) -> Result<()> {
    loop {
        // A log that was cut starts again at its beginning.
        if log.metadata()?.len() < log.stream_position()? {
            log.seek(SeekFrom::Start(0))?;
        }
        let mut bytes = Vec::new();
        log.read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            tokio::time::sleep(LOOK).await;
        } else {
            terminal.result(&printable(&String::from_utf8_lossy(&bytes)))?;
        }
    }
}
