//! `boma agent archive` and `boma agent restore`: what PostgreSQL runs for each file of its
//! write-ahead log, which may be many times a second. Handled before the command line is parsed,
//! with nothing but a socket.
//!
//! PostgreSQL takes exit code 1 of a restore for "there is no such file", upon which recovery ends
//! and the server opens with what it has; from 126 on it stops instead. So 1 is said only when the
//! agent has said in as many words that the repository does not have the file.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use boma_instance::api;
use boma_instance::wal::command::verb;
use boma_problem::Problem;

/// A file is not there; only `restore` says it.
const ABSENT: u8 = 1;

/// `archive` failed; PostgreSQL keeps the file and asks again.
const NOT_ARCHIVED: u8 = 1;

/// `restore` failed; PostgreSQL stops recovery, and the agent starts it again.
const NOT_RESTORED: u8 = 126;

/// How long an agent is waited for that is just being started or replaced.
const AGENT_PATIENCE: Duration = Duration::from_secs(20);

/// How long an answer may take: longer than an agent tries one file.
const ANSWER_PATIENCE: Duration = Duration::from_mins(15);

/// What PostgreSQL asks for.
#[derive(Debug, PartialEq, Eq)]
enum Call {
    Archive {
        socket: PathBuf,
        file: String,
    },
    Restore {
        socket: PathBuf,
        file: String,
        to: PathBuf,
    },
}

/// What an agent answered.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Done,
    Absent,
    Failed(String),
}

/// How it ends: the exit code, and what is to be said.
pub(crate) struct Ended {
    pub(crate) code: u8,
    pub(crate) complaint: Option<String>,
}

/// Carries a call out; none: it is another command.
pub(crate) fn run(mut arguments: impl Iterator<Item = OsString>) -> Option<Ended> {
    let agent = arguments.next()? == "agent";
    let call = if agent {
        parse(arguments)?
    } else {
        return None;
    };
    let failed = match call {
        Call::Archive { .. } => NOT_ARCHIVED,
        Call::Restore { .. } => NOT_RESTORED,
    };
    let (code, complaint) = match carry_out(&call) {
        Ok(Answer::Done) => (0, None),
        Ok(Answer::Absent) if matches!(call, Call::Restore { .. }) => (ABSENT, None),
        Ok(Answer::Absent) => (failed, Some(api::ABSENT.to_owned())),
        Ok(Answer::Failed(why)) => (failed, Some(why)),
        Err(error) => (failed, Some(format!("ask the agent: {error}"))),
    };
    Some(Ended { code, complaint })
}

fn parse(mut arguments: impl Iterator<Item = OsString>) -> Option<Call> {
    let verb = arguments.next()?;
    if verb != verb::ARCHIVE && verb != verb::RESTORE {
        return None;
    }
    let flag = arguments.next()?;
    let socket = PathBuf::from(arguments.next()?);
    let file = arguments.next()?.into_string().ok()?;
    if flag != "--socket" {
        return None;
    }
    if verb == verb::ARCHIVE {
        return Some(Call::Archive { socket, file });
    }
    let to = PathBuf::from(arguments.next()?);
    Some(Call::Restore { socket, file, to })
}

fn carry_out(call: &Call) -> io::Result<Answer> {
    match call {
        Call::Archive { socket, file } => ask(socket, &format!("POST {}{file}", api::WAL)),
        Call::Restore { socket, file, to } => {
            // PostgreSQL runs it in the data directory.
            let to = std::path::absolute(to)?;
            let to = encoded(&to)
                .ok_or_else(|| io::Error::other("the data directory's path is not text"))?;
            ask(socket, &format!("GET {}{file}?to={to}", api::WAL))
        }
    }
}

fn ask(socket: &Path, what: &str) -> io::Result<Answer> {
    let mut stream = connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
    let request =
        format!("{what} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(read(&answer))
}

/// Connects; waits for an agent that is just being started.
fn connect(socket: &Path) -> io::Result<UnixStream> {
    let begin = Instant::now();
    loop {
        match UnixStream::connect(socket) {
            Err(error) if is_starting(&error) && begin.elapsed() < AGENT_PATIENCE => {
                std::thread::park_timeout(Duration::from_millis(50));
            }
            other => return other,
        }
    }
}

fn is_starting(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

fn read(answer: &str) -> Answer {
    let status = answer.split(' ').nth(1).unwrap_or_default();
    let body = answer
        .split_once("\r\n\r\n")
        .map_or("", |(_headers, body)| body);
    match status {
        "200" => Answer::Done,
        "404" if body == api::ABSENT => Answer::Absent,
        _ => Answer::Failed(serde_json::from_str::<Problem>(body).map_or_else(
            |_no_problem| format!("the agent answered with status {status:?}"),
            |problem| problem.to_string(),
        )),
    }
}

/// A path as part of a query.
fn encoded(path: &Path) -> Option<String> {
    let mut text = String::new();
    for byte in path.to_str()?.bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(&byte) {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").ok()?;
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str) -> Option<Call> {
        parse(line.split(' ').skip(1).map(OsString::from))
    }

    #[test]
    fn only_calls_of_postgresql_are_taken() {
        let archive = call("agent archive --socket /s 000000010000000000000001");
        assert!(matches!(archive, Some(Call::Archive { .. })), "{archive:?}");
        let restore = call("agent restore --socket /s 00000002.history pg_wal/RECOVERYHISTORY");
        assert!(matches!(restore, Some(Call::Restore { .. })), "{restore:?}");
        for line in [
            "agent",
            "agent --dir /d",
            "agent archive",
            "agent archive --dir /s x",
        ] {
            assert_eq!(call(line), None, "{line}");
        }
    }

    #[test]
    fn only_the_agents_own_words_mean_that_a_file_is_absent() {
        let say =
            |status: &str, body: &str| read(&format!("HTTP/1.1 {status}\r\na: b\r\n\r\n{body}"));
        assert_eq!(say("200 OK", ""), Answer::Done);
        assert_eq!(say("404 Not Found", api::ABSENT), Answer::Absent);
        // An agent that does not know the path.
        for (status, body) in [
            ("404 Not Found", ""),
            ("503 Service Unavailable", ""),
            ("", ""),
        ] {
            assert!(matches!(say(status, body), Answer::Failed(_)), "{status}");
        }
        assert!(matches!(read(""), Answer::Failed(_)));
    }

    #[test]
    fn an_agent_that_is_gone_is_a_failure_and_not_an_absence() {
        let socket = UnixStream::connect("/nonexistent/agent.sock").unwrap_err();
        assert!(is_starting(&socket));
    }

    #[test]
    fn a_path_is_one_part_of_a_query() {
        let text = encoded(Path::new("/a b/ä&to=x/RECOVERYXLOG")).unwrap();
        assert_eq!(text, "/a%20b/%C3%A4%26to%3Dx/RECOVERYXLOG");
    }
}
