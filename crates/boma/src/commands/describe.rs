//! `boma describe`.

use std::fmt::Write as _;

use boma_engine::computed::{
    self, ApplicationComputed, DatabaseComputed, GrantComputed, GranteeComputed, RotationComputed,
};
use boma_engine::keys::{ApplicationKey, DatabaseKey};
use boma_engine::observed::Life;
use boma_engine::plan::Stage;
use boma_engine::platform::RecordedEvent;
use boma_instance::{Access, Condition, Truth};
use boma_problem::Problem;
use jiff::Timestamp;

use crate::cli::{DescribeArgs, Global};
use crate::commands::get::Inventory;
use crate::session::{Named, Need, Session, find};
use crate::terminal::{Exit, Result, Terminal, Tone, printable};
use boma_engine::words::{self, bytes};

/// Shows everything about a database or an application.
pub(crate) async fn run(args: &DescribeArgs, global: &Global, terminal: Terminal) -> Result {
    let session = Session::open(global, Need::Builds).await?;
    let inventory = Inventory::take(&session).await?.with_plan();
    let named = find(&inventory.seen, &args.name.join("/"))?;
    let events = session.platform.events(Some(&named.subject()), 10).await?;
    show((&inventory, &named), events, terminal).await
}

/// Shows everything about what was named, with its newest events.
pub(crate) async fn show(
    (inventory, named): (&Inventory, &Named),
    events: Vec<RecordedEvent>,
    terminal: Terminal,
) -> Result {
    let mut page = match named {
        Named::Database(key) => {
            let one = inventory.database(key);
            let beside = Beside::of(key, &one, inventory);
            Page::of_database(terminal, key, &one, &beside)
        }
        Named::Application(key) => Page::of_application(terminal, key, &inventory.application(key)),
    };
    let written = inventory.written(named).await;
    let events = events.into_iter().map(|one| (one.last, one.event.message));
    page.end(written.as_deref(), &events.collect::<Vec<_>>());
    terminal.result(&page.text)?;
    Ok(Exit::Ok)
}

/// What is known of a database apart from what was measured of it.
#[derive(Default)]
pub(crate) struct Beside {
    /// What restores in place have replaced, and until when it was the database.
    replaced: Vec<(DatabaseKey, String)>,
    /// Users that no manifest asks for, and projects that may ask and do not.
    unmentioned: Vec<String>,
}

impl Beside {
    fn of(key: &DatabaseKey, one: &DatabaseComputed, inventory: &Inventory) -> Self {
        let replaced = computed::replaced(key, &inventory.seen);
        let replaced = replaced.into_iter().map(|(name, kept)| {
            let since = match kept.life {
                Life::Retired { since, .. } => words::second(since),
                Life::Active => String::new(),
            };
            (name.clone(), since)
        });
        Self {
            replaced: replaced.collect(),
            unmentioned: unmentioned(key, one, inventory),
        }
    }
}

/// All that is known of a resource, for people.
pub(crate) struct Page {
    terminal: Terminal,
    pub(crate) text: String,
}

impl Page {
    fn of(terminal: Terminal, title: &str) -> Self {
        let title = terminal.paint(Tone::Heading, title);
        Self {
            terminal,
            text: format!("{title}\n"),
        }
    }

    /// All that is known of a database.
    pub(crate) fn of_database(
        terminal: Terminal,
        key: &DatabaseKey,
        one: &DatabaseComputed,
        beside: &Beside,
    ) -> Self {
        let mut page = Self::of(terminal, &format!("Database {}", key.name));
        database(&mut page, key, one, beside);
        page
    }

    /// All that is known of an application.
    pub(crate) fn of_application(
        terminal: Terminal,
        key: &ApplicationKey,
        one: &ApplicationComputed,
    ) -> Self {
        let mut page = Self::of(terminal, &format!("Application {}", key.name));
        application(&mut page, key, one);
        page
    }

    fn heading(&mut self, text: &str) {
        let text = self.terminal.paint(Tone::Heading, text);
        self.push(&format!("\n{text}"));
    }

    fn field(&mut self, name: &str, value: Option<String>) {
        let value = value.unwrap_or_else(|| "unknown".to_owned());
        self.push(&format!("  {name:<24}{}", printable(&value)));
    }

    fn line(&mut self, text: &str) {
        self.push(&format!("  {}", printable(text)));
    }

    fn push(&mut self, line: &str) {
        // Writing to a string does not fail.
        let _infallible = writeln!(self.text, "{line}");
    }

    /// Where it is written, and what happened to it last.
    pub(crate) fn end(&mut self, written: Option<&str>, events: &[(Timestamp, String)]) {
        self.heading("Manifest");
        self.line(written.unwrap_or("there is none any more"));
        self.heading("Events");
        for (last, message) in events {
            self.line(&format!(
                "{}  {message}",
                last.strftime("%Y-%m-%d %H:%M:%S")
            ));
        }
        if events.is_empty() {
            self.line("none");
        }
    }

    fn conditions(&mut self, conditions: &[Condition]) {
        self.heading("Conditions");
        for one in conditions {
            let (tone, word) = match one.status {
                Truth::True => (Tone::Ok, "true"),
                Truth::False => (Tone::Failed, "false"),
                Truth::Unknown => (Tone::Waiting, "unknown"),
            };
            let word = self.terminal.paint(tone, &format!("{word:<8}"));
            let line = format!("  {:<22}{word}{}", one.kind, printable(&one.message));
            self.push(&line);
        }
    }

    fn problems(&mut self, problems: &[Problem]) {
        if problems.is_empty() {
            return;
        }
        self.heading("Problems");
        for problem in problems {
            self.line(&problem.to_string());
            for hint in &problem.hints {
                let hint = self.terminal.paint(Tone::Hint, hint);
                self.push(&format!("    {hint}"));
            }
        }
    }
}

fn database(page: &mut Page, key: &DatabaseKey, one: &DatabaseComputed, beside: &Beside) {
    page.field("Project", Some(key.project.to_string()));
    page.field("Phase", Some(one.phase.to_string()));
    let age = one
        .observed_at
        .map(|at| format!("{} by its agent", at.strftime("%Y-%m-%d %H:%M:%S")));
    page.field("Measured", age);
    page.field("Host", one.host.clone());
    page.field("Port", one.port.map(|port| port.to_string()));
    page.field("Database name", Some(one.database_name.clone()));
    page.field("PostgreSQL", one.version.clone());
    page.field("Storage used", one.storage_bytes_used.map(bytes));
    page.field("Instance", one.id.map(|id| id.to_string()));
    page.field("Last backup", one.last_backup.map(words::second));
    page.field(
        "Proved by a restore",
        one.last_verified_restore.map(words::second),
    );
    let window = one.recoverable_from.zip(one.recoverable_until);
    let (from, until) = window
        .map(|(from, until)| words::window(from, until))
        .unzip();
    page.field("Recoverable from", from);
    page.field("Recoverable until", until);
    page.field(
        "Waiting to be archived",
        one.archive_waiting_bytes.map(|waiting| {
            match one.archive_waiting_since.zip(one.observed_at) {
                Some((since, now)) if waiting > 0 => {
                    let seconds = now.duration_since(since).as_secs().max(0);
                    format!("{}, for {seconds} s", bytes(waiting))
                }
                _ => bytes(waiting),
            }
        }),
    );
    if let (Some(running), Some(now)) = (&one.backup_running, one.observed_at) {
        page.field("Going on", Some(words::progress(running, now)));
    }
    if let Some(stage) = one.replacement {
        page.field("Restore in place", Some(stage_words(stage).to_owned()));
    }
    for (name, since) in &beside.replaced {
        let line = format!("{}, what it was until {since}", name.name);
        page.field("Replaced and kept", Some(line));
    }
    page.heading("Access");
    for grantee in &one.access {
        page.line(&access_line(grantee));
    }
    for line in &beside.unmentioned {
        page.line(line);
    }
    if one.access.is_empty() && beside.unmentioned.is_empty() {
        page.line("none: no application can connect");
    }
    page.conditions(&one.conditions);
    page.problems(&one.problems);
}

fn application(page: &mut Page, key: &ApplicationKey, one: &ApplicationComputed) {
    page.field("Project", Some(key.project.to_string()));
    page.field("Phase", Some(one.phase.to_string()));
    if let Some(process) = &one.process {
        page.field("Process", process.pid.map(|pid| pid.to_string()));
        page.field("Since", process.since.map(|at| at.to_string()));
    }
    page.heading("Environment");
    for name in &one.environment {
        page.line(name);
    }
    page.heading("Databases");
    for grant in &one.grants {
        let may = may(grant.access);
        let whose = if grant.other_project {
            "; it belongs to another project, which admits this one"
        } else {
            ""
        };
        let role = grant.role.as_deref().unwrap_or("no user yet");
        page.line(&format!(
            "{}  {may}, as {role}, in {}{whose}",
            grant.database, grant.env_var
        ));
        if let Some(line) = rotation(grant) {
            page.line(&format!("  {line}"));
        }
    }
    if let Some(run) = &one.pre_deploy {
        page.heading("preDeploy");
        page.line(&format!(
            "last run {}",
            run.at.strftime("%Y-%m-%d %H:%M:%S")
        ));
        if let Some(failure) = &run.failure {
            page.line(&failure.to_string());
        }
    }
    page.conditions(&one.conditions);
}

/// How old a password is, and how far its exchange.
fn rotation(grant: &GrantComputed) -> Option<String> {
    let day = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M:%S").to_string();
    let since = grant.password_since.map(day).unwrap_or_default();
    let role = grant.role.as_deref().unwrap_or_default();
    Some(match grant.rotation? {
        RotationComputed::Steady { due: None } => format!("password since {since}"),
        RotationComputed::Steady { due: Some(due) } => {
            format!("password since {since}, exchanged at {}", day(due))
        }
        RotationComputed::Due => format!("password since {since}, being exchanged: to be made"),
        RotationComputed::Opening => {
            format!("password since {since}, being exchanged: the new user is being opened")
        }
        RotationComputed::Draining { since, .. } => format!(
            "being exchanged: {role} took over at {}, the former user stays open until the \
             application uses the new one",
            day(since)
        ),
    })
}

fn access_line(grantee: &GranteeComputed) -> String {
    let roles = grantee.roles.join(", ");
    let may = may(grantee.access);
    let whose = if grantee.other_project {
        "; it belongs to another project, which `access.projects` admits"
    } else {
        ""
    };
    format!("{}  {may}, as {roles}{whose}", grantee.application)
}

fn stage_words(stage: Stage) -> &'static str {
    match stage {
        Stage::Making => "what it was is being restored beside it",
        Stage::Stopping => "both are being stopped, to change places",
        Stage::Swapping => "the two change places",
    }
}

/// Users that no manifest asks for any more, and projects that may ask and do not.
fn unmentioned(key: &DatabaseKey, one: &DatabaseComputed, inventory: &Inventory) -> Vec<String> {
    let is_known = |application: &ApplicationKey| {
        one.access
            .iter()
            .any(|known| known.application == *application)
    };
    let grants = inventory.seen.grants.keys();
    let left = grants.filter(|grant| grant.database == *key && !is_known(&grant.application));
    let left = left.map(|grant| format!("{}  no manifest asks for it", grant.application));
    let mut lines: Vec<String> = left.collect();
    let is_used = |project: &String| {
        let mut granted = one.access.iter();
        granted.any(|known| *known.application.project == **project)
    };
    let unused = one.admitted_projects.iter().filter(|one| !is_used(one));
    lines.extend(unused.map(|project| {
        format!("project {project} may ask for access (`access.projects`); nothing of it does")
    }));
    lines
}

fn may(access: Access) -> &'static str {
    match access {
        Access::ReadOnly => "read-only",
        Access::ReadWrite => "read/write",
    }
}
