//! The end of a log, through a filter.
//!
//! For developers: a server's messages may quote rows, and a program prints what it likes.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use maud::{Markup, html};

use super::layout::{Place, page};
use super::parts::{application_path, database_path, problem_card};
use super::{application, database};
use crate::access::Session;
use crate::failure::Failure;
use crate::fields::Fields;
use crate::insight::LogOf;
use crate::people::Role;
use crate::site::Site;
use crate::world::World;

/// Messages that are shown, the newest ones.
const SHOWN: usize = 200;

/// A log that a page is asked for.
struct Asked {
    title: String,
    /// Where what it is about is shown, and its names.
    back: String,
    project: String,
    name: String,
    of: LogOf,
    /// Whether its lines say how bad they are.
    is_graded: bool,
}

/// Shows the log of a database's server.
pub(crate) async fn database_log(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Path(key): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Markup, Failure> {
    let world = World::of(site.state(), &session.who);
    let key = database::known(&world, &key)?;
    session.who.permit(Role::Developer, &key.project)?;
    let seen = world.state.observed.databases.get(&key);
    let seen = seen.ok_or_else(|| Failure::NotThere("server of that database".to_owned()))?;
    let asked = Asked {
        title: format!("Log of {}", key.name),
        back: database_path(&key),
        project: key.project.to_string(),
        name: key.name.to_string(),
        of: LogOf::Server(seen.id),
        is_graded: true,
    };
    Ok(shown(&site, &session, &asked, query.as_deref()).await)
}

/// Shows what an application has printed.
pub(crate) async fn application_log(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Path(key): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Markup, Failure> {
    let world = World::of(site.state(), &session.who);
    let key = application::known(&world, &key)?;
    session.who.permit(Role::Developer, &key.project)?;
    let asked = Asked {
        title: format!("Log of {}", key.name),
        back: application_path(&key),
        project: key.project.to_string(),
        name: key.name.to_string(),
        of: LogOf::Application(key),
        is_graded: false,
    };
    Ok(shown(&site, &session, &asked, query.as_deref()).await)
}

async fn shown(site: &Site, session: &Session, asked: &Asked, query: Option<&str>) -> Markup {
    let fields = Fields::of_query(query.unwrap_or_default());
    let wanted = Wanted {
        text: fields.get("text"),
        least: Grade::of_field(fields.get("least")),
    };
    let log = site.insight.log(&asked.of).await;
    let content = html! {
        p class="crumbs" { a href="/" { "Overview" } " › " (asked.project) " › " a href=(asked.back) { (asked.name) } }
        h1 { (asked.title) }
        (filter(asked, &wanted))
        section class="card" id="measured" aria-label="Log" hx-get="" hx-trigger="moment" hx-select="#measured" hx-swap="outerHTML" {
            @match log {
                Ok(Some(text)) => (lines(&text, &wanted, asked.is_graded)),
                Ok(None) => p class="muted" { "Nothing was written yet." },
                Err(problem) => (problem_card(&problem)),
            }
        }
    };
    page(site, session, (&asked.title, Place::Overview), &content)
}

fn filter(asked: &Asked, wanted: &Wanted<'_>) -> Markup {
    html! {
        form class="filter" role="search" {
            label for="text" { "With" }
            input id="text" name="text" type="search" value=(wanted.text);
            @if asked.is_graded {
                label for="least" { "At least" }
                select id="least" name="least" {
                    @for grade in [Grade::Any, Grade::Warning, Grade::Error] {
                        option value=(grade.field()) selected[grade == wanted.least] { (grade.words()) }
                    }
                }
            }
            button { "Show" }
        }
    }
}

/// How bad a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Grade {
    Any,
    Warning,
    Error,
}

impl Grade {
    fn of_field(text: &str) -> Self {
        match text {
            "warning" => Self::Warning,
            "error" => Self::Error,
            _ => Self::Any,
        }
    }

    fn field(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Any => "everything",
            Self::Warning => "warnings",
            Self::Error => "errors",
        }
    }

    fn style(self) -> &'static str {
        match self {
            Self::Any => "plain",
            Self::Warning => "warned",
            Self::Error => "failed",
        }
    }
}

/// What of a log is wanted.
struct Wanted<'t> {
    text: &'t str,
    least: Grade,
}

/// A message with the lines that go on with it.
struct Message<'t> {
    grade: Grade,
    lines: Vec<&'t str>,
}

impl Message<'_> {
    fn is_wanted(&self, wanted: &Wanted<'_>) -> bool {
        let text = wanted.text.to_lowercase();
        let mut lines = self.lines.iter();
        self.grade >= wanted.least && lines.any(|line| line.to_lowercase().contains(&text))
    }
}

/// The word of PostgreSQL's for how bad a line is; none: it goes on with the line before.
fn grade(line: &str) -> Option<Grade> {
    const WORDS: [(&str, Grade); 7] = [
        ("LOG", Grade::Any),
        ("INFO", Grade::Any),
        ("NOTICE", Grade::Any),
        ("WARNING", Grade::Warning),
        ("ERROR", Grade::Error),
        ("FATAL", Grade::Error),
        ("PANIC", Grade::Error),
    ];
    let (before, _) = line.split_once(":  ")?;
    let word = before.rsplit(' ').next()?;
    let known = WORDS.iter().find(|(name, _)| *name == word);
    let is_debug = word.starts_with("DEBUG");
    known
        .map(|(_, grade)| *grade)
        .or(is_debug.then_some(Grade::Any))
}

/// Messages of a log, oldest first. Where lines do not say how bad they are, each is one.
fn messages(text: &str, is_graded: bool) -> Vec<Message<'_>> {
    let mut messages: Vec<Message<'_>> = Vec::new();
    for line in text.lines() {
        let found = if is_graded {
            grade(line)
        } else {
            Some(Grade::Any)
        };
        match (found, messages.last_mut()) {
            (None, Some(before)) => before.lines.push(line),
            (grade, _) => messages.push(Message {
                grade: grade.unwrap_or(Grade::Any),
                lines: vec![line],
            }),
        }
    }
    messages
}

fn lines(text: &str, wanted: &Wanted<'_>, is_graded: bool) -> Markup {
    let all = messages(text, is_graded);
    let found: Vec<_> = all.iter().filter(|one| one.is_wanted(wanted)).collect();
    let shown = &found[found.len().saturating_sub(SHOWN)..];
    html! {
        @if shown.is_empty() {
            p class="muted" { "No such message in the end of the log." }
        } @else {
            p class="muted" {
                @if shown.len() < found.len() { "The last " (shown.len()) " of " (found.len()) " messages" } @else { (found.len()) @if found.len() == 1 { " message" } @else { " messages" } }
                ", the newest last."
            }
            pre class="log" tabindex="0" role="region" aria-label="Messages" {
                @for message in shown {
                    span class=(message.grade.style()) {
                        @for line in &message.lines { (printable(line)) "\n" }
                    }
                }
            }
        }
    }
}

/// A line without what is no letter.
fn printable(line: &str) -> String {
    let letter = |one: char| {
        if one.is_control() && one != '\t' {
            '\u{fffd}'
        } else {
            one
        }
    };
    line.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
2026-11-22 10:00:00.000 UTC [10] LOG:  database system is ready to accept connections
2026-11-22 10:00:01.000 UTC [11] web@orders app ERROR:  relation \"nothing\" does not exist at character 15
2026-11-22 10:00:01.000 UTC [11] web@orders app STATEMENT:  SELECT * FROM
\tnothing;
2026-11-22 10:00:02.000 UTC [12] WARNING:  out of <b>patience</b>\u{1b}[2J
2026-11-22 10:00:03.000 UTC [13] FATAL:  terminating";

    fn page(text: &str, least: Grade) -> String {
        lines(LOG, &Wanted { text, least }, true).into_string()
    }

    #[test]
    fn a_message_is_found_with_all_of_its_lines() {
        let all = page("", Grade::Any);
        assert!(all.contains("4 messages"), "{all}");
        let errors = page("", Grade::Error);
        assert!(
            errors.contains("2 messages") && errors.contains("\tnothing;"),
            "{errors}"
        );
        let warnings = page("", Grade::Warning);
        assert!(warnings.contains("3 messages"), "{warnings}");
        let one = page("NOTHING;", Grade::Any);
        assert!(
            one.contains("1 message, ") && one.contains("does not exist"),
            "{one}"
        );
        assert!(page("absent", Grade::Any).contains("No such message"));
    }

    #[test]
    fn what_stands_in_a_log_is_text() {
        let all = page("", Grade::Any);
        assert!(
            all.contains("&lt;b&gt;patience&lt;/b&gt;\u{fffd}[2J"),
            "{all}"
        );
        assert!(all.contains("<span class=\"failed\">") && all.contains("<span class=\"warned\">"));
    }

    #[test]
    fn only_the_newest_are_shown() {
        let all: Vec<String> = (0..500).map(|line| format!("line {line}")).collect();
        let text = all.join("\n");
        let wanted = Wanted {
            text: "line",
            least: Grade::Any,
        };
        let shown = lines(&text, &wanted, false).into_string();
        assert!(shown.contains("The last 200 of 500 messages"), "{shown}");
        assert!(
            !shown.contains("line 299\n") && shown.contains("line 300\n"),
            "{shown}"
        );
    }
}
