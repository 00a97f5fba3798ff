//! Plays the steps of a scenario.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::runtime::Builder;

use super::Stage;
use super::script::{Action, Ending, Seen, Step, Turn, Whom};
use crate::{Ran, eventually};

/// How long `apply` goes on, in seconds.
const TO_THE_END: &str = "180";

/// A scenario under way.
pub(super) struct Play<'a, S> {
    stage: &'a mut S,
    /// What `$NAME` stands for.
    names: BTreeMap<String, String>,
    /// What was started of each application, the newest last.
    started: BTreeMap<String, Vec<String>>,
    sessions: BTreeMap<String, Session>,
}

/// psql that waits for the next query.
struct Session {
    process: Child,
    queries: ChildStdin,
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl<'a, S: Stage> Play<'a, S> {
    pub(super) fn new(stage: &'a mut S) -> Self {
        let given = stage.given().into_iter();
        Self {
            names: given
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            stage,
            started: BTreeMap::new(),
            sessions: BTreeMap::new(),
        }
    }

    pub(super) fn all(mut self, name: &str, steps: &[Step]) -> Result<()> {
        for step in steps {
            let at = || format!("{name}:{}: {}", step.line, step.text);
            self.step(step).with_context(at)?;
        }
        Ok(())
    }

    /// Plays a step until it is seen as it should be; only once, where that is not waited for.
    fn step(&mut self, step: &Step) -> Result<()> {
        let answer = if step.seen.is_awaited {
            let patience = self.stage.patience();
            let clock = Builder::new_current_thread().enable_time().build()?;
            let again = async || self.seen(step).map_err(|error| format!("{error:#}"));
            clock.block_on(eventually(patience, again))?
        } else {
            self.seen(step)?
        };
        if let Some(name) = &step.seen.called {
            self.names.insert(name.clone(), answer.trim().to_owned());
        }
        Ok(())
    }

    /// Plays a step and looks whether what came is what was expected. Gives the answer.
    fn seen(&mut self, step: &Step) -> Result<String> {
        let seen = self.resolved(&step.seen);
        match &step.action {
            Action::Query { whom, sql } => {
                let sql = self.named(sql);
                answered(self.query(whom, &sql)?, &seen)
            }
            Action::Variable { application, name } => {
                let value = self.stage.variable(application, name)?;
                printed(&value, &seen)?;
                Ok(value)
            }
            Action::Boma { arguments, input } => {
                let arguments = self.named(arguments);
                let arguments: Vec<&str> = arguments.split_whitespace().collect();
                ran(&self.stage.boma(&arguments, input)?, &seen)
            }
            Action::Apply => {
                let apply = ["apply", "--patience", TO_THE_END, "."];
                ran(&self.stage.boma(&apply, "")?, &seen)
            }
            Action::ApplyAgain => {
                let ran = self.stage.apply_again()?;
                let is_quiet = ran.code == 0 && ran.stderr.contains("Nothing to do");
                ensure!(is_quiet, "expected: nothing to do\ncame: {ran}");
                Ok(ran.stdout)
            }
            quiet @ (Action::Write { .. }
            | Action::Edit { .. }
            | Action::Remove { .. }
            | Action::Rename { .. }
            | Action::Restart { .. }
            | Action::Session { .. }
            | Action::Repository { .. }) => {
                ensure!(seen.lines.is_empty(), "it prints nothing");
                self.quietly(quiet)?;
                Ok(String::new())
            }
        }
    }

    fn quietly(&mut self, action: &Action) -> Result<()> {
        let place = |file: &str| self.stage.manifests().join(file);
        match action {
            Action::Write { file, text } => Ok(fs::write(place(file), self.named(text))?),
            Action::Remove { file } => Ok(fs::remove_file(place(file))?),
            Action::Rename { from, to } => Ok(fs::rename(place(from), place(to))?),
            Action::Edit { file, old, new } => {
                let text = fs::read_to_string(place(file))?;
                let (old, new) = (self.named(old), self.named(new));
                ensure!(
                    text.contains(&old),
                    "expected in {file}:\n{old}came:\n{text}"
                );
                Ok(fs::write(place(file), text.replacen(&old, &new, 1))?)
            }
            Action::Restart { application } => self.start(application),
            Action::Session { application, turn } => self.session(application, *turn),
            Action::Repository { name } => self.stage.repository(name),
            Action::Boma { .. }
            | Action::Apply
            | Action::ApplyAgain
            | Action::Query { .. }
            | Action::Variable { .. } => bail!("its answer is looked at"),
        }
    }

    fn start(&mut self, application: &str) -> Result<()> {
        let before = self.started.entry(application.to_owned()).or_default();
        let started = self.stage.start(application, before.len() + 1)?;
        before.push(started);
        Ok(())
    }

    /// psql of an application, which is started if it was not yet.
    fn psql(&mut self, whom: &Whom) -> Result<Command> {
        let (Whom::Now(application) | Whom::Former(application)) = whom;
        if !self.started.contains_key(application) {
            self.start(application)?;
        }
        let started = self.started.get(application).map(Vec::as_slice);
        let client = match (whom, started) {
            (Whom::Now(_), Some([.., now])) => now,
            (Whom::Former(_), Some([.., former, _])) => former,
            _ => bail!("{application} was started once only"),
        };
        let mut command = self.stage.psql(client)?;
        command.args(["-XAtq", "-v", "ON_ERROR_STOP=1"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(command)
    }

    fn query(&mut self, whom: &Whom, sql: &str) -> Result<Ran> {
        let mut child = self.psql(whom)?.stderr(Stdio::piped()).spawn()?;
        let mut queries = child.stdin.take().context("it has standard input")?;
        // Where it was not let in nobody reads this; the exit code says so.
        drop(writeln!(queries, "{sql}"));
        drop(queries);
        Ok(Ran::from(&child.wait_with_output()?))
    }

    fn session(&mut self, application: &str, turn: Turn) -> Result<()> {
        if turn == Turn::Opens {
            let psql = self.psql(&Whom::Now(application.to_owned()));
            let session = Session::open(psql?)?;
            self.sessions.insert(application.to_owned(), session);
            return Ok(());
        }
        let session = self.sessions.get_mut(application);
        let session = session.context("it did not open")?;
        let is_there = session.answers();
        match (turn, is_there) {
            (Turn::IsEnded, Ok(())) => bail!("expected: it is ended\ncame: it answers"),
            (Turn::IsEnded, Err(_)) => {
                self.sessions.remove(application);
                Ok(())
            }
            (Turn::Opens | Turn::GoesOn, is_there) => is_there.context("expected: it goes on"),
        }
    }

    /// A text with what its names stand for.
    fn named(&self, text: &str) -> String {
        let names = self.names.iter();
        names.fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("${name}"), value)
        })
    }

    fn resolved(&self, seen: &Seen) -> Seen {
        let all = |lines: &[String]| lines.iter().map(|line| self.named(line)).collect();
        Seen {
            ending: seen.ending,
            is_awaited: seen.is_awaited,
            called: seen.called.clone(),
            lines: all(&seen.lines),
            without: all(&seen.without),
        }
    }
}

impl Session {
    fn open(mut psql: Command) -> Result<Self> {
        let mut process = psql.stderr(Stdio::null()).spawn()?;
        let queries = process.stdin.take().context("it has standard input")?;
        let mut session = Self { process, queries };
        session.answers().context("expected: it opens")?;
        Ok(session)
    }

    /// Asks something, and reads the answer.
    fn answers(&mut self) -> Result<()> {
        writeln!(self.queries, "select 'it answers';")?;
        let output = self.process.stdout.as_mut();
        // There is nothing more to be read than this one line.
        let mut output = BufReader::new(output.context("it has standard output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        ensure!(line == "it answers\n", "came: {line:?}");
        Ok(())
    }
}

/// Whether a text has this line, or its parts around ` .. ` in one line.
fn has(text: &str, expected: &str) -> bool {
    text.lines().any(|mut line| {
        expected.split(" .. ").all(|part| {
            let rest = line.split_once(part).map(|(_, rest)| rest);
            line = rest.unwrap_or_default();
            rest.is_some()
        })
    })
}

/// Whether what was printed has all lines, and none that it must not have.
fn printed(said: &str, seen: &Seen) -> Result<()> {
    for line in &seen.lines {
        ensure!(has(said, line), "expected: {line}\ncame: {said}");
    }
    for line in &seen.without {
        ensure!(!has(said, line), "expected without: {line}\ncame: {said}");
    }
    Ok(())
}

/// Whether `boma` ended as it should. Gives its standard output.
fn ran(ran: &Ran, seen: &Seen) -> Result<String> {
    let Ending::Code(code) = seen.ending else {
        bail!("a command ends with an exit code");
    };
    ensure!(ran.code == code, "expected: exit code {code}\ncame: {ran}");
    printed(&format!("{}{}", ran.stdout, ran.stderr), seen)?;
    Ok(ran.stdout.clone())
}

/// Whether a query was answered so. Gives the answer.
fn answered(ran: Ran, seen: &Seen) -> Result<String> {
    // psql ends with 2 where it has no connection, with 3 where a statement fails.
    let (code, what) = match seen.ending {
        Ending::Code(code) => (code, "an answer"),
        Ending::Refused => (3, "it is refused"),
        Ending::NotLetIn => (2, "it is not let in"),
    };
    ensure!(ran.code == code, "expected: {what}\ncame: {ran}");
    if code != 0 {
        printed(&ran.stderr, seen)?;
    } else if seen.called.is_none() {
        let expected = seen.lines.join("\n");
        let came = ran.stdout.trim();
        ensure!(came == expected, "expected: {expected}\ncame: {came}");
    }
    Ok(ran.stdout)
}
