//! The plan for people: grouped by resource, `+` for what is made, `~` for what changes, `-` for
//! what is taken away, `!` for what cannot be done, `…` for what is waited for.

use std::collections::BTreeMap;
use std::fmt;

use boma_problem::Problem;
use jiff::Timestamp;

use super::action::{Action, RestartedBy, Roles, StartReason, StopReason};
use super::change::Change;
use super::deployment::Deployment;
use super::{Plan, WaitingOn};
use crate::catalog::Subject;
use crate::keys::GrantKey;
use crate::observed::{DatabaseRecord, Life};
use crate::platform::{Program, Workload};

/// What a step does, in one line, for the audit trail.
pub(crate) fn words_of(action: &Action) -> String {
    let lines: Vec<String> = lines(action).into_iter().map(|line| line.text).collect();
    if lines.is_empty() {
        return "register".to_owned();
    }
    lines.join("; ")
}

/// One line about one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// `+`, `~` or `-`.
    pub(crate) mark: char,
    pub(crate) text: String,
}

/// What a step does, in words; nothing for what goes without saying.
pub(super) fn lines(action: &Action) -> Vec<Line> {
    let one = |mark, text: String| vec![Line { mark, text }];
    match action {
        Action::RecordSource {
            source,
            former: None,
        } => one('+', format!("source {source}")),
        Action::RecordSource {
            source,
            former: Some(former),
        } => one('~', format!("source {former} → {source}")),
        Action::RecordDatabase { former: None, .. } => Vec::new(),
        Action::RecordDatabase {
            record,
            former: Some(former),
            ..
        } => recorded(former, record),
        Action::SetLife {
            life: Life::Active, ..
        } => one('+', "bring it back, with its data".to_owned()),
        Action::SetLife {
            life: Life::Retired { until, .. },
            ..
        } => one(
            '-',
            format!("retire: stopped, its data kept at least until {until}"),
        ),
        Action::Exchange { beside, .. } => one(
            '~',
            format!(
                "what was restored takes its place; what it was is kept as {}",
                beside.name
            ),
        ),
        Action::IssueCredential {
            grant,
            role,
            replaces: true,
            ..
        } => one(
            '+',
            format!("another password for {}, as user {role}", reached(grant)),
        ),
        Action::IssueCredential { grant, .. } => {
            one('+', format!("user and password for {}", reached(grant)))
        }
        Action::PutInstance(put) => put
            .changes
            .iter()
            .map(|change| line_of(change, &put.key.project))
            .collect(),
        Action::AwaitConverged { .. } => one('~', "wait until it is as its spec says".to_owned()),
        Action::DeliverEnvironment {
            deployment, is_new, ..
        } => one(if *is_new { '+' } else { '~' }, environment(deployment)),
        Action::RunPreDeploy { program, .. } => {
            one('~', format!("run preDeploy: {}", command(program)))
        }
        Action::RestartApplication { workload, why, .. } => one('~', start(*why, workload)),
        Action::StopApplication { why, .. } => one('-', stop(*why).to_owned()),
        Action::ActivateLogin {
            roles, restarts, ..
        } => one('~', takes_over(roles, *restarts)),
        Action::AwaitDrained { roles, until, .. } => one('~', drains(roles, *until)),
        Action::ReleaseLogin { roles, until, .. } => one('-', let_go(roles, *until)),
        Action::ForgetGrant { grant } => {
            one('-', format!("user and password for {}", reached(grant)))
        }
        Action::ForgetApplication { .. } => one('-', "the application".to_owned()),
    }
}

fn line_of(change: &Change, project: &str) -> Line {
    // Within its own project, an application's name says enough; another project's is access from
    // outside, which the database's manifest admits.
    let mut text = change.to_string().replace(&format!("{project}/"), "");
    if let Change::LoginAdded { comment, .. } = change
        && !comment.starts_with(&format!("{project}/"))
    {
        text.push_str(", from another project");
    }
    Line {
        mark: change.mark(),
        text,
    }
}

fn recorded(former: &DatabaseRecord, record: &DatabaseRecord) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut line = |text: String| lines.push(Line { mark: '~', text });
    match (former.deletion_protection, record.deletion_protection) {
        (true, false) => line(
            "deletion protection off: without its manifest the database is stopped and put away"
                .to_owned(),
        ),
        (false, true) => line("deletion protection on".to_owned()),
        _ => {}
    }
    let (from, to) = (former.retention_days, record.retention_days);
    if from != to {
        line(format!("retention {from} → {to} days"));
    }
    lines
}

fn environment(deployment: &Deployment) -> String {
    let bound = deployment
        .bindings
        .iter()
        .map(|binding| binding.env_var.as_str());
    let secret = deployment.variables.secrets.keys().map(String::as_str);
    let plain = deployment.variables.plain.keys().map(String::as_str);
    let mut names: Vec<&str> = bound.chain(secret).chain(plain).collect();
    names.sort_unstable();
    if names.is_empty() {
        return "environment: no variables".to_owned();
    }
    format!("environment: {}", names.join(", "))
}

/// The command as a person would type it.
fn command(program: &Program) -> String {
    match program.command.as_slice() {
        [shell, flag, line] if shell == "/bin/sh" && flag == "-c" => clean(line),
        words => clean(&words.join(" ")),
    }
}

/// Without control characters, and cut where it is long.
fn clean(text: &str) -> String {
    const LONGEST: usize = 80;
    let clean = text
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char });
    let mut text: String = clean.take(LONGEST + 1).collect();
    if text.chars().count() > LONGEST {
        text.pop();
        text.push('…');
    }
    text
}

fn start(why: StartReason, workload: &Workload) -> String {
    let what = match workload {
        Workload::Process(program) => command(program),
        Workload::Containers {
            image, replicas: 1, ..
        } => format!("image {}", clean(image)),
        Workload::Containers {
            image, replicas, ..
        } => format!("image {}, {replicas} replicas", clean(image)),
        Workload::Attached { kind, name } => format!("{kind}/{name}"),
    };
    match (why, workload) {
        (StartReason::NotRunning, Workload::Attached { .. }) => {
            format!("give {what} its environment, and restart it")
        }
        (StartReason::NotRunning, _) => format!("start: {what}"),
        (StartReason::Changed, Workload::Process(_)) => {
            format!("restart, its environment or command changed: {what}")
        }
        (StartReason::Changed, _) => {
            format!("roll out, its environment or what runs changed: {what}")
        }
        (StartReason::Exited(at), _) => format!("start again, it ended at {at}: {what}"),
        (StartReason::Asked, _) => format!("restart, as asked: {what}"),
    }
}

/// The database of a grant; one of another project by its whole name.
fn reached(grant: &GrantKey) -> String {
    if grant.database.project == grant.application.project {
        format!("Database {}", grant.database.name)
    } else {
        format!("Database {} of another project", grant.database)
    }
}

fn takes_over(roles: &Roles, restarts: RestartedBy) -> String {
    let Roles { next, former } = roles;
    match restarts {
        RestartedBy::Boma => format!("user {next} takes over from {former}, which stays open"),
        RestartedBy::Owner => format!(
            "user {next} takes over from {former}, which stays open until the application was \
             restarted with its new environment"
        ),
    }
}

fn drains(Roles { next, former }: &Roles, until: Timestamp) -> String {
    format!("wait until it connects as {next} and no more as {former}, at most until {until}")
}

fn let_go(Roles { next, former }: &Roles, until: Option<Timestamp>) -> String {
    match until {
        None => format!("user {former} is let go"),
        Some(until) => format!(
            "user {former} is let go once {next} is in use and it is not, at the latest at {until}"
        ),
    }
}

fn stop(why: StopReason) -> &'static str {
    match why {
        StopReason::Removed => "stop it: it has no manifest any more",
        StopReason::NoCommand => "stop it: its manifest names no command any more",
        StopReason::Held => "stop it, as asked",
    }
}

/// All that is said about one resource.
#[derive(Default)]
pub(crate) struct Group<'p> {
    lines: Vec<Line>,
    pub(crate) blocked: Vec<&'p Problem>,
    pub(crate) waiting: Vec<&'p WaitingOn>,
    /// Waits, which are said only when nothing else is.
    awaits: Vec<Line>,
}

/// What is said about each resource.
pub(crate) fn groups(plan: &Plan) -> BTreeMap<Subject, Group<'_>> {
    let mut groups: BTreeMap<Subject, Group<'_>> = BTreeMap::new();
    for step in &plan.steps {
        let group = groups.entry(step.action.subject()).or_default();
        if step.action.is_passive() {
            group.awaits.extend(lines(&step.action));
        } else {
            group.lines.extend(lines(&step.action));
        }
    }
    for blocked in &plan.blocked {
        groups
            .entry(blocked.subject.clone())
            .or_default()
            .blocked
            .push(&blocked.problem);
    }
    for waiting in &plan.waiting {
        groups
            .entry(waiting.subject())
            .or_default()
            .waiting
            .push(waiting);
    }
    groups
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            writeln!(f, "Nothing to do.")?;
        }
        for (subject, group) in groups(self) {
            writeln!(f, "{subject}")?;
            write!(f, "{group}")?;
        }
        for warning in &self.warnings {
            write_problem(f, "warning: ", warning)?;
        }
        if !self.is_empty() {
            writeln!(f, "{}", Summary::of(self))?;
        }
        Ok(())
    }
}

impl Group<'_> {
    /// What is done; where that is only to wait, that.
    pub(crate) fn lines(&self) -> &[Line] {
        if self.lines.is_empty() {
            &self.awaits
        } else {
            &self.lines
        }
    }
}

impl fmt::Display for Group<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.blocked {
            write_problem(f, "  ! ", problem)?;
        }
        for line in self.lines() {
            writeln!(f, "  {} {}", line.mark, line.text)?;
        }
        for waiting in &self.waiting {
            writeln!(f, "  … {waiting}")?;
        }
        Ok(())
    }
}

fn write_problem(f: &mut fmt::Formatter<'_>, before: &str, problem: &Problem) -> fmt::Result {
    write!(f, "{before}{problem}")?;
    if let Some(place) = &problem.place {
        write!(f, " ({place})")?;
    }
    writeln!(f)?;
    let indent = before.chars().count();
    for hint in &problem.hints {
        writeln!(f, "{:indent$}{hint}", "")?;
    }
    Ok(())
}

/// How many resources of which fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    created: usize,
    changed: usize,
    removed: usize,
    blocked: usize,
    waiting: usize,
}

impl Summary {
    pub(crate) fn of(plan: &Plan) -> Self {
        let mut summary = Self {
            blocked: plan.blocked.len(),
            waiting: plan.waiting.len(),
            ..Self::default()
        };
        for fate in fates(plan).values() {
            match fate {
                Fate::Changed => summary.changed += 1,
                Fate::Created => summary.created += 1,
                Fate::Removed => summary.removed += 1,
            }
        }
        summary
    }
}

/// What becomes of each resource.
pub(crate) fn fates(plan: &Plan) -> BTreeMap<Subject, Fate> {
    let mut fates: BTreeMap<Subject, Fate> = BTreeMap::new();
    for step in &plan.steps {
        let fate = fates.entry(step.action.subject()).or_insert(Fate::Changed);
        *fate = (*fate).max(Fate::of(&step.action));
    }
    fates.remove(&Subject::Installation);
    fates
}

/// What becomes of a resource, the most telling last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    Changed,
    Created,
    Removed,
}

impl Fate {
    fn of(action: &Action) -> Self {
        match action {
            Action::RecordDatabase { former: None, .. }
            | Action::SetLife {
                life: Life::Active, ..
            }
            | Action::DeliverEnvironment { is_new: true, .. } => Self::Created,
            Action::PutInstance(put) if matches!(put.changes[..], [Change::Create { .. }, ..]) => {
                Self::Created
            }
            Action::SetLife {
                life: Life::Retired { .. },
                ..
            }
            | Action::ForgetApplication { .. } => Self::Removed,
            Action::RecordSource { .. }
            | Action::RecordDatabase { .. }
            | Action::Exchange { .. }
            | Action::IssueCredential { .. }
            | Action::PutInstance(_)
            | Action::AwaitConverged { .. }
            | Action::DeliverEnvironment { .. }
            | Action::RunPreDeploy { .. }
            | Action::RestartApplication { .. }
            | Action::StopApplication { .. }
            | Action::ActivateLogin { .. }
            | Action::AwaitDrained { .. }
            | Action::ReleaseLogin { .. }
            | Action::ForgetGrant { .. } => Self::Changed,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            created,
            changed,
            removed,
            blocked,
            waiting,
        } = self;
        write!(
            f,
            "Plan: {created} to make, {changed} to change, {removed} to remove"
        )?;
        if *blocked > 0 {
            write!(f, ", {blocked} blocked")?;
        }
        if *waiting > 0 {
            write!(f, ", {waiting} waiting")?;
        }
        f.write_str(".")
    }
}
