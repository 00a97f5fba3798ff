//! What a server is asked to show.

use boma_engine::computed::{ApplicationComputed, DatabaseComputed};
use boma_engine::keys::{ApplicationKey, DatabaseKey};
use boma_engine::platform::{AuditEntry, RecordedEvent};
use boma_instance::backup::BackupSummary;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Items, Without, not_by_server, path};
use crate::cli::{
    AuditArgs, BackupListArgs, DescribeArgs, EventsArgs, GetArgs, ListFormat, LogsArgs, PlanArgs,
    PlanFormat,
};
use crate::commands::backup::{ListView, print_list};
use crate::commands::describe::{Beside, Page};
use crate::commands::events::{print_audit, print_event, print_events};
use crate::commands::get::Listed;
use crate::commands::plan::painted;
use crate::remote::Remote;
use crate::session::{Named, find_among, find_database_among};
use crate::terminal::{Exit, Result, Terminal, printable};

/// How many entries of a list a server answers with at most.
const MOST: u32 = 1000;

/// Something, as a server answers with it.
#[derive(Debug, Deserialize)]
struct Resource<C> {
    project: String,
    name: String,
    written: Option<WrittenAt>,
    computed: C,
}

#[derive(Debug, Deserialize)]
struct WrittenAt {
    file: String,
    line: u32,
}

/// What a plan comes to.
#[derive(Debug, Deserialize)]
struct Planned {
    empty: bool,
    blocked: Vec<Value>,
}

/// What was measured of one thing, from whatever a server answers with; another version's answer may be another
/// one.
fn read<C: serde::de::DeserializeOwned>(value: &Value) -> Result<Resource<C>> {
    Ok(Resource::deserialize(value).map_err(std::io::Error::other)?)
}

/// Lists databases and applications.
pub(super) async fn get(args: &GetArgs, server: &Remote, terminal: Terminal) -> Result {
    let (databases, applications) = chosen(args.what.as_deref(), server).await?;
    match args.output {
        ListFormat::Table | ListFormat::Name => {
            let listed = listed(&databases, &applications)?;
            if args.output == ListFormat::Name {
                terminal.result(&listed.names())?;
            } else {
                terminal.result(&listed.tables())?;
            }
        }
        ListFormat::Json => terminal.json(&kinds(databases, applications))?,
        ListFormat::Yaml => {
            let mut documents = Vec::new();
            for one in kinds(databases, applications) {
                let text = serde_saphyr::to_string(&manifest(&one));
                documents.push(text.map_err(std::io::Error::other)?);
            }
            terminal.result(&documents.join("---\n"))?;
        }
    }
    Ok(Exit::Ok)
}

async fn chosen(what: Option<&str>, server: &Remote) -> Result<(Vec<Value>, Vec<Value>)> {
    Ok(match what {
        None => (
            server.all("databases").await?,
            server.all("applications").await?,
        ),
        Some("databases" | "database" | "db") => (server.all("databases").await?, Vec::new()),
        Some("applications" | "application" | "app" | "apps") => {
            (Vec::new(), server.all("applications").await?)
        }
        Some(name) => {
            let named = find_among(&server.names().await?, name)?;
            let one = server.read(&path(&named)).await?;
            match named {
                Named::Database(_) => (vec![one], Vec::new()),
                Named::Application(_) => (Vec::new(), vec![one]),
            }
        }
    })
}

fn listed(databases: &[Value], applications: &[Value]) -> Result<Listed> {
    let mut listed = Listed::default();
    for one in databases {
        let one: Resource<DatabaseComputed> = read(one)?;
        let key = DatabaseKey::new(one.project, one.name);
        listed.databases.push((key, one.computed));
    }
    for one in applications {
        let one: Resource<ApplicationComputed> = read(one)?;
        let key = ApplicationKey::new(one.project, one.name);
        listed.applications.push((key, one.computed));
    }
    Ok(listed)
}

/// Each with its kind.
fn kinds(databases: Vec<Value>, applications: Vec<Value>) -> Vec<Value> {
    let of_kind = |kind: &'static str| {
        move |mut one: Value| {
            one["kind"] = json!(kind);
            one
        }
    };
    let databases = databases.into_iter().map(of_kind("Database"));
    let applications = applications.into_iter().map(of_kind("Application"));
    databases.chain(applications).collect()
}

/// A manifest that can be applied again, with what was measured.
fn manifest(one: &Value) -> Value {
    let project = one["project"].as_str().unwrap_or_default();
    let mut parts = project.split('/');
    let mut part = || parts.next().unwrap_or_default().to_owned();
    json!({
        "apiVersion": "lowops.manifests.v1",
        "kind": one["kind"],
        "metadata": {
            "name": one["name"],
            "organization": part(),
            "organizational-unit": part(),
            "environment": part(),
            "project": part(),
        },
        "spec": one["spec"],
        "computed": one["computed"],
    })
}

/// Shows everything about a database or an application.
pub(super) async fn describe(args: &DescribeArgs, server: &Remote, terminal: Terminal) -> Result {
    let named = find_among(&server.names().await?, &args.name.join("/"))?;
    let one: Value = server.read(&path(&named)).await?;
    let (mut page, written) = match &named {
        Named::Database(key) => {
            let one: Resource<DatabaseComputed> = read(&one)?;
            let page = Page::of_database(terminal, key, &one.computed, &Beside::default());
            (page, one.written)
        }
        Named::Application(key) => {
            let one: Resource<ApplicationComputed> = read(&one)?;
            (
                Page::of_application(terminal, key, &one.computed),
                one.written,
            )
        }
    };
    let written = written.map(|at| format!("{}:{}", at.file, at.line));
    let mut events = newest(server, MOST).await?;
    events.retain(|one| one.event.subject == named.subject());
    let shown = events.len().saturating_sub(10);
    let events = events
        .drain(shown..)
        .map(|one| (one.last, one.event.message));
    page.end(written.as_deref(), &events.collect::<Vec<_>>());
    terminal.result(&page.text)?;
    Ok(Exit::Ok)
}

/// The newest events, newest last.
async fn newest(server: &Remote, limit: u32) -> Result<Vec<RecordedEvent>> {
    let limit = limit.clamp(1, MOST);
    let list: Items<RecordedEvent> = server.read(&format!("events?limit={limit}")).await?;
    Ok(list.items.into_iter().rev().collect())
}

/// Shows what happened, and what happens.
pub(super) async fn events(args: &EventsArgs, server: &Remote, terminal: Terminal) -> Result {
    let subject = match &args.name {
        Some(name) => Some(find_among(&server.names().await?, name)?.subject()),
        None => None,
    };
    let is_it = |one: &RecordedEvent| subject.as_ref().is_none_or(|it| one.event.subject == *it);
    let asked = if subject.is_some() { MOST } else { args.limit };
    let mut events = newest(server, asked).await?;
    events.retain(is_it);
    let shown = events.len().saturating_sub(args.limit as usize);
    print_events(&events[shown..], args.json, terminal)?;
    if args.follow {
        let told = |document: Value| -> Result<()> {
            let one = RecordedEvent::deserialize(document).map_err(std::io::Error::other)?;
            if is_it(&one) {
                print_event(&one, args.json, terminal)?;
            }
            Ok(())
        };
        server.follow("event", told).await?;
    }
    Ok(Exit::Ok)
}

/// Shows who changed what.
pub(super) async fn audit(args: &AuditArgs, server: &Remote, terminal: Terminal) -> Result {
    let limit = args.limit.clamp(1, MOST);
    let list: Items<AuditEntry> = server.read(&format!("audit?limit={limit}")).await?;
    print_audit(list.items.into_iter().rev().collect(), args.json, terminal)
}

/// Shows what is left to do.
pub(super) async fn plan(args: &PlanArgs, server: &Remote, terminal: Terminal) -> Result {
    if args.base.is_some() || args.change_source || args.source.source.as_os_str() != "." {
        return Err(not_by_server(&Without::Installation("a plan of manifests here")).into());
    }
    let plan: Value = server.read("plan").await?;
    let planned = Planned::deserialize(&plan).map_err(std::io::Error::other)?;
    match args.output {
        PlanFormat::Text => terminal.result(&painted(&server.text("plan").await?, terminal))?,
        PlanFormat::Json => terminal.json(&plan)?,
        PlanFormat::Markdown => {
            return Err(not_by_server(&Without::Installation("`-o markdown`")).into());
        }
    }
    Ok(if !planned.blocked.is_empty() {
        Exit::Problem
    } else if planned.empty {
        Exit::Ok
    } else {
        Exit::NotConverged
    })
}

/// Shows the end of a log.
pub(super) async fn logs(args: &LogsArgs, server: &Remote, terminal: Terminal) -> Result {
    if args.follow || args.agent {
        return Err(not_by_server(&Without::Installation("`--follow` and `--agent`")).into());
    }
    let named = find_among(&server.names().await?, &args.name)?;
    let lines = args.lines.clamp(1, 10_000);
    let at = format!("{}/log?lines={lines}", path(&named));
    terminal.result(&printable(&server.text(&at).await?))?;
    Ok(Exit::Ok)
}

/// The base backups of a database.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Backups {
    items: Vec<BackupSummary>,
    recoverable_from: Option<Timestamp>,
    recoverable_until: Option<Timestamp>,
}

/// Lists base backups.
pub(super) async fn backups(args: &BackupListArgs, server: &Remote, terminal: Terminal) -> Result {
    let key = find_database_among(&server.names().await?, &args.database)?;
    let list: Backups = server.read(&format!("databases/{key}/backups")).await?;
    let view = ListView {
        backups: &list.items,
        recoverable_from: list.recoverable_from,
        recoverable_until: list.recoverable_until,
    };
    print_list(&view, args.output, terminal)
}
