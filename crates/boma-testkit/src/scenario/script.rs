//! What stands in a file, read before anything of it is played.

use anyhow::{Context as _, Result, bail, ensure};

/// What happens, and what is seen then.
#[derive(Debug)]
pub(super) struct Step {
    /// Where it stands in its file.
    pub(super) line: usize,
    /// The command as it stands there.
    pub(super) text: String,
    pub(super) action: Action,
    pub(super) seen: Seen,
}

#[derive(Debug)]
pub(super) enum Action {
    Write {
        file: String,
        text: String,
    },
    Edit {
        file: String,
        old: String,
        new: String,
    },
    Remove {
        file: String,
    },
    Rename {
        from: String,
        to: String,
    },
    Boma {
        arguments: String,
        input: String,
    },
    Apply,
    ApplyAgain,
    Query {
        whom: Whom,
        sql: String,
    },
    Restart {
        application: String,
    },
    Session {
        application: String,
        turn: Turn,
    },
    Variable {
        application: String,
        name: String,
    },
    Repository {
        name: String,
    },
}

/// Who asks a database.
#[derive(Debug)]
pub(super) enum Whom {
    /// An application, with what it was given when it was started last.
    Now(String),
    /// With what it was given the time before.
    Former(String),
}

/// What becomes of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Opens,
    GoesOn,
    IsEnded,
}

/// How a step ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Of a program.
    Code(i32),
    /// A query that the server does not do.
    Refused,
    /// A connection that the server does not take.
    NotLetIn,
}

/// What is seen of a step.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) ending: Ending,
    /// Whether that is waited for.
    pub(super) is_awaited: bool,
    /// What its answer is called from then on.
    pub(super) called: Option<String>,
    pub(super) lines: Vec<String>,
    pub(super) without: Vec<String>,
}

impl Seen {
    fn nothing() -> Self {
        Self {
            ending: Ending::Code(0),
            is_awaited: false,
            called: None,
            lines: Vec::new(),
            without: Vec::new(),
        }
    }

    fn add(&mut self, line: &str) -> Result<()> {
        let Some(mark) = line
            .strip_prefix('[')
            .and_then(|mark| mark.strip_suffix(']'))
        else {
            self.lines.push(line.to_owned());
            return Ok(());
        };
        if let Some(code) = mark.strip_prefix("exit code ") {
            self.ending = Ending::Code(code.parse().context("an exit code is a number")?);
        } else if let Some(name) = mark.strip_prefix("call it $") {
            self.called = Some(name.to_owned());
        } else if let Some(text) = mark.strip_prefix("without ") {
            self.without.push(text.to_owned());
        } else {
            match mark {
                "refused" => self.ending = Ending::Refused,
                "not let in" => self.ending = Ending::NotLetIn,
                "eventually" => self.is_awaited = true,
                _ => bail!("no such mark: [{mark}]"),
            }
        }
        Ok(())
    }
}

/// Reads a whole file.
pub(super) fn read(name: &str, text: &str) -> Result<Vec<Step>> {
    let mut lines = (1..).zip(text.lines()).peekable();
    let mut steps = Vec::new();
    while let Some((number, line)) = lines.next() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let at = || format!("{name}:{number}: {line}");
        let command = line.strip_prefix("$ ");
        let command = command
            .context("no command comes before this")
            .with_context(at)?;
        let mut input = Vec::new();
        while let Some((_, more)) = lines.next_if(|(_, line)| line.starts_with('|')) {
            let more = more.get(1..).unwrap_or_default();
            input.push(more.strip_prefix(' ').unwrap_or(more));
        }
        let mut seen = Seen::nothing();
        let ends =
            |line: &str| line.is_empty() || line.starts_with(['#', '|']) || line.starts_with("$ ");
        while let Some((_, more)) = lines.next_if(|(_, line)| !ends(line)) {
            seen.add(more).with_context(at)?;
        }
        steps.push(Step {
            line: number,
            text: line.to_owned(),
            action: action(command, &input).with_context(at)?,
            seen,
        });
    }
    ensure!(!steps.is_empty(), "{name}: nothing happens");
    Ok(steps)
}

fn action(command: &str, input: &[&str]) -> Result<Action> {
    let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
    let (first, others) = rest.split_once(' ').unwrap_or((rest, ""));
    let reads = matches!(verb, "write" | "edit" | "boma");
    ensure!(reads || input.is_empty(), "it reads no lines with `|`");
    let text = || -> String { input.iter().flat_map(|line| [line, "\n"]).collect() };
    let named = first.to_owned();
    Ok(match (verb, first, others) {
        ("apply", "", "") => Action::Apply,
        ("apply", "again", "") => Action::ApplyAgain,
        ("boma", _, _) => Action::Boma {
            arguments: rest.to_owned(),
            input: text(),
        },
        (_, "", _) => bail!("there is no such command, or it lacks something"),
        ("write", _, "") => Action::Write {
            file: named,
            text: text(),
        },
        ("edit", _, "") => edit(named, input)?,
        ("remove", _, "") => Action::Remove { file: named },
        ("restart", _, "") => Action::Restart { application: named },
        ("repository", _, "") => Action::Repository { name: named },
        ("session", _, _) => Action::Session {
            application: named,
            turn: turn(others)?,
        },
        (_, _, "") => bail!("there is no such command, or it lacks something"),
        ("rename", _, _) => Action::Rename {
            from: named,
            to: others.to_owned(),
        },
        ("query", _, _) => query(named, others),
        ("variable", _, _) => Action::Variable {
            application: named,
            name: others.to_owned(),
        },
        _ => bail!("there is no such command"),
    })
}

fn query(application: String, rest: &str) -> Action {
    let (whom, sql) = match rest.split_once(' ') {
        Some((former, sql)) if application == "former" => (Whom::Former(former.to_owned()), sql),
        _ => (Whom::Now(application), rest),
    };
    Action::Query {
        whom,
        sql: sql.to_owned(),
    }
}

fn turn(text: &str) -> Result<Turn> {
    Ok(match text {
        "opens" => Turn::Opens,
        "goes on" => Turn::GoesOn,
        "is ended" => Turn::IsEnded,
        _ => bail!("a session `opens`, `goes on` or `is ended`"),
    })
}

fn edit(file: String, input: &[&str]) -> Result<Action> {
    let of = |sign: char| -> String {
        let lines = input.iter().filter_map(|line| line.strip_prefix(sign));
        lines.flat_map(|line| [line, "\n"]).collect()
    };
    let (old, new) = (of('-'), of('+'));
    ensure!(
        !old.is_empty(),
        "`edit` needs lines that are there, with `-`"
    );
    Ok(Action::Edit { file, old, new })
}
