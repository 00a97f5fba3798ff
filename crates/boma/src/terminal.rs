//! The terminal: results on standard output, everything else on standard error.
//!
//! This is the only module of Boma that prints. A reader that goes away (`boma get | head`) ends
//! the program quietly with exit code 3.

use std::io::{self, IsTerminal, Write};

use boma_problem::{Class, Problem};
use jiff::Timestamp;

use crate::cli::{Color, Global, LogFormat};

/// Says why a call of PostgreSQL's failed; it goes to the server's log.
pub(crate) fn complain(text: &str) {
    // Without standard error there is nobody to tell; the exit code says that it failed.
    let _unheard = writeln!(io::stderr(), "boma: {text}");
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well.
    Ok,
    /// What was asked for cannot be done, or the installation must be mended first.
    Problem,
    /// Standard output was closed.
    BrokenPipe,
    /// There is something to do, or what was to be done is not done yet.
    NotConverged,
    /// A defect of Boma.
    Internal,
}

impl Exit {
    /// The process's exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Problem => 1,
            Self::BrokenPipe => 3,
            Self::NotConverged => 4,
            Self::Internal => 255,
        }
    }

    /// What a problem ends the program with.
    pub(crate) fn of(problem: &Problem) -> Self {
        match problem.class {
            Class::User | Class::Config => Self::Problem,
            Class::Transient => Self::NotConverged,
            Class::Internal => Self::Internal,
        }
    }
}

/// Why a command did not end well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// To be shown.
    Problem(Box<Problem>),
    /// Shown already; only the exit code is left to say.
    Shown(Exit),
    /// Standard output or standard error could not be written.
    Output(io::Error),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl From<Box<Problem>> for Failure {
    fn from(problem: Box<Problem>) -> Self {
        Self::Problem(problem)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Result of a command.
pub(crate) type Result<T = Exit> = std::result::Result<T, Failure>;

/// A meaning that has a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Ok,
    Waiting,
    Failed,
    Id,
    Hint,
    Heading,
}

impl Tone {
    fn sgr(self) -> &'static str {
        match self {
            Self::Ok => "32",
            Self::Waiting => "33",
            Self::Failed => "1;31",
            Self::Id => "36",
            Self::Hint => "1;36",
            Self::Heading => "1",
        }
    }
}

/// The terminal as one command sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    out: Stream,
    err: Stream,
    quiet: bool,
    /// Whether lines of standard error are JSON, for programs that gather logs.
    json: bool,
}

/// What is known of standard output or standard error.
#[derive(Clone, Copy, Debug)]
struct Stream {
    is_terminal: bool,
    has_color: bool,
}

impl Terminal {
    /// Looks at flags, environment and streams once.
    pub(crate) fn new(global: &Global) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let json = global.log_format == LogFormat::Json;
        let stream = |is_terminal: bool| Stream {
            is_terminal,
            has_color: match global.color {
                Color::Always => true,
                Color::Never => false,
                Color::Auto => is_terminal && !no_color,
            },
        };
        let err = stream(io::stderr().is_terminal());
        Self {
            out: stream(io::stdout().is_terminal()),
            err: Stream {
                is_terminal: err.is_terminal && !json,
                has_color: err.has_color && !json,
            },
            quiet: global.quiet,
            json,
        }
    }

    /// Whether standard error is a terminal, where lines may be written over.
    pub(crate) fn is_interactive(self) -> bool {
        self.err.is_terminal && !self.quiet
    }

    /// Colours a text for standard output.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        painted(self.out.has_color, tone, text)
    }

    /// Colours a text for standard error.
    pub(crate) fn paint_err(self, tone: Tone, text: &str) -> String {
        painted(self.err.has_color, tone, text)
    }

    /// Prints a result; `text` is whole lines.
    #[expect(
        clippy::unused_self,
        reason = "whoever prints has a terminal, so that this stays the only way"
    )]
    pub(crate) fn result(self, text: &str) -> Result<()> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                Err(Failure::Shown(Exit::BrokenPipe))
            }
            Err(error) => Err(Failure::Output(error)),
            Ok(()) => Ok(()),
        }
    }

    /// Prints a result as JSON.
    pub(crate) fn json(self, value: &impl serde::Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Failure::Output(io::Error::other(error)))?;
        self.result(&(text + "\n"))
    }

    /// Prints what is going on; nothing under `--quiet`.
    pub(crate) fn status(self, line: &str) {
        match (self.quiet, self.json) {
            (true, _) => {}
            (false, false) => self.error_line(line),
            (false, true) => self.logged("INFO", line, None),
        }
    }

    fn logged(self, level: &str, message: &str, problem: Option<&Problem>) {
        self.error_text(&logged(Timestamp::now(), level, message, problem));
    }

    /// Prints problems with their places and hints.
    pub(crate) fn problems(self, problems: &[Problem]) {
        if self.json {
            for problem in problems {
                let level = if problem.is_error() { "ERROR" } else { "WARN" };
                self.logged(level, &problem.to_string(), Some(problem));
            }
        } else if !problems.is_empty() {
            self.error_text(&boma_manifest::render::text(problems, self.render_color()));
        }
    }

    fn render_color(self) -> boma_manifest::render::Color {
        if self.err.has_color {
            boma_manifest::render::Color::Always
        } else {
            boma_manifest::render::Color::Never
        }
    }

    /// Prints a line on standard error, whatever `--quiet` says.
    pub(crate) fn error_line(self, line: &str) {
        if self.json {
            self.logged("ERROR", line, None);
        } else {
            self.error_text(&format!("{line}\n"));
        }
    }

    /// Prints whole lines on standard error, whatever `--quiet` says.
    #[expect(
        clippy::unused_self,
        reason = "whoever prints has a terminal, so that this stays the only way"
    )]
    pub(crate) fn error_text(self, text: &str) {
        // Where standard error is gone there is nobody left to tell.
        let _nobody = io::stderr().lock().write_all(text.as_bytes());
    }
}

/// A line of a log in JSON, with the names that the log of `tracing` has.
fn logged(at: Timestamp, level: &str, message: &str, problem: Option<&Problem>) -> String {
    let line = serde_json::json!({
        "timestamp": at.to_string(),
        "level": level,
        "message": message,
        "problem": problem,
    });
    format!("{line}\n")
}

fn painted(color: bool, tone: Tone, text: &str) -> String {
    let text = printable(text);
    if color {
        format!("\x1b[{}m{text}\x1b[0m", tone.sgr())
    } else {
        text
    }
}

/// Takes control characters out of data, so that no name or log line can steer the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_cannot_steer_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\tc\n"), "a\u{fffd}[2Jb\tc\n");
    }

    #[test]
    fn a_line_of_a_log_is_one_document() {
        let problem = Problem::new(Class::User, "broken", "it is\nbroken").hint("Mend it.");
        let line = logged(
            Timestamp::UNIX_EPOCH,
            "ERROR",
            "it is\nbroken",
            Some(&problem),
        );
        assert_eq!(line.lines().count(), 1);
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["timestamp"], "1970-01-01T00:00:00Z");
        assert_eq!(read["level"], "ERROR");
        assert_eq!(read["message"], "it is\nbroken");
        assert_eq!(read["problem"]["code"], "broken");
        assert_eq!(read["problem"]["hints"][0], "Mend it.");
    }

    #[test]
    fn exit_codes_are_those_of_the_documentation() {
        let codes: Vec<_> = [
            Exit::Ok,
            Exit::Problem,
            Exit::BrokenPipe,
            Exit::NotConverged,
            Exit::Internal,
        ]
        .into_iter()
        .map(Exit::code)
        .collect();
        assert_eq!(codes, [0, 1, 3, 4, 255]);
    }
}
