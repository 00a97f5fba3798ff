//! Changes of manifests that a server writes.

use boma_engine::keys::DatabaseKey;
use boma_manifest::edit::{Change, Step, Written};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Without, not_by_server, path};
use crate::cli::{
    AttachArgs, CreateArgs, DetachArgs, EditArgs, FieldChange, ForkArgs, NewKind, RestoreArgs,
    SetArgs, TargetArgs,
};
use crate::commands::edit::{change, not_attached};
use crate::remote::Remote;
use crate::session::{Named, find_among, find_application_among, find_database_among};
use crate::terminal::{Exit, Result, Terminal, Tone};
use boma_problem::{Problem, Severity};

/// What a change comes to.
#[derive(Debug, Deserialize)]
struct Changed {
    file: String,
    difference: String,
    problems: Vec<Problem>,
    written: bool,
    commit: Option<String>,
    branch: Option<String>,
}

/// Writes a new manifest.
pub(super) async fn create(args: &CreateArgs, server: &Remote, terminal: Terminal) -> Result {
    let kind = match args.kind {
        NewKind::Database => "databases",
        NewKind::Application => "applications",
    };
    let project = project(server, args.project.as_deref()).await?;
    let body = json!({"project": project, "name": args.name, "spec": patch(&args.fields)?});
    let request = Request {
        method: Method::POST,
        path: kind.to_owned(),
        version: None,
        body,
    };
    request.send(&args.edit, server, terminal).await
}

/// The project that was named, as a whole or by its own name; else the only one that there is.
async fn project(server: &Remote, name: Option<&str>) -> Result<String> {
    if let Some(whole) = name.filter(|name| name.matches('/').count() == 3) {
        return Ok(whole.to_owned());
    }
    let mut all = server.all("databases").await?;
    all.extend(server.all("applications").await?);
    let known = all.iter().filter_map(|one| one["project"].as_str());
    let known = known.map(str::to_owned).collect();
    crate::commands::edit::project_of(&known, name)
}

/// Changes fields.
pub(super) async fn set(args: &SetArgs, server: &Remote, terminal: Terminal) -> Result {
    let named = find_among(&server.names().await?, &args.name)?;
    let (_, version): (Value, _) = server.read_version(&path(&named)).await?;
    let request = Request {
        method: Method::PATCH,
        path: path(&named),
        version,
        body: json!({"spec": patch(&args.fields)?}),
    };
    request.send(&args.edit, server, terminal).await
}

/// Fields as a merge patch of `spec`.
fn patch(fields: &[FieldChange]) -> Result<Map<String, Value>> {
    let mut whole = Map::new();
    for typed in fields {
        let (path, value) = match change(typed) {
            Change::Set(path, written) => (path, json_of(written)),
            Change::Remove(path) | Change::Append(path, _) => (path, Value::Null),
        };
        let path: Vec<&str> = path.iter().filter_map(Step::field).collect();
        match &*path {
            ["spec", path @ ..] => put(&mut whole, path, value),
            _ => return Err(not_by_server(&Without::Installation("changes of `metadata`")).into()),
        }
    }
    Ok(whole)
}

fn put(into: &mut Map<String, Value>, path: &[&str], value: Value) {
    match path {
        [] => {}
        [last] => {
            into.insert((*last).to_owned(), value);
        }
        [first, rest @ ..] => {
            let inner = into.entry(*first).or_insert_with(|| json!({}));
            if !inner.is_object() {
                *inner = json!({});
            }
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

/// A value that is to be written, as JSON.
fn json_of(written: Written) -> Value {
    match written {
        Written::Flag(flag) => Value::Bool(flag),
        Written::Number(number) => Value::from(number),
        Written::Text(text) => Value::String(text),
        Written::List(items) => items.into_iter().map(json_of).collect(),
        Written::Fields(fields) => {
            let fields = fields.into_iter();
            fields.map(|(name, value)| (name, json_of(value))).collect()
        }
    }
}

/// An application with the databases that its manifest names.
struct Granted {
    path: String,
    name: String,
    version: Option<String>,
    grants: Vec<Value>,
}

impl Granted {
    async fn of(name: &str, server: &Remote) -> Result<Self> {
        let key = find_application_among(&server.names().await?, name)?;
        let path = path(&Named::Application(key.clone()));
        let (one, version): (Value, _) = server.read_version(&path).await?;
        let grants = &one["spec"]["accessControl"]["databases"];
        Ok(Self {
            path,
            name: key.name.to_string(),
            version,
            grants: grants.as_array().cloned().unwrap_or_default(),
        })
    }

    fn change(self) -> Request {
        Request {
            method: Method::PATCH,
            path: self.path,
            version: self.version,
            body: json!({"spec": {"accessControl": {"databases": self.grants}}}),
        }
    }
}

/// Adds a grant.
pub(super) async fn attach(args: &AttachArgs, server: &Remote, terminal: Terminal) -> Result {
    let mut granted = Granted::of(&args.application, server).await?;
    let mut grant = json!({"name": args.database, "secretSource": {"envVar": args.env}});
    grant["readOnly"] = json!(args.read_only);
    granted.grants.push(grant);
    granted.change().send(&args.edit, server, terminal).await
}

/// Takes a grant out.
pub(super) async fn detach(args: &DetachArgs, server: &Remote, terminal: Terminal) -> Result {
    let mut granted = Granted::of(&args.application, server).await?;
    let is_it = |grant: &Value| grant["name"] == *args.database;
    let Some(at) = granted.grants.iter().position(is_it) else {
        let names = granted.grants.iter().filter_map(|one| one["name"].as_str());
        return Err(not_attached(&granted.name, &args.database, names).into());
    };
    granted.grants.remove(at);
    granted.change().send(&args.edit, server, terminal).await
}

/// A new database as another one was.
pub(super) async fn restore(args: &RestoreArgs, server: &Remote, terminal: Terminal) -> Result {
    let (Some(new), None) = (&args.new, args.instance) else {
        let what = "a restore of a database that is gone";
        return Err(not_by_server(&Without::Installation(what)).into());
    };
    let key = find_database_among(&server.names().await?, &args.database)?;
    restored(&key, (new, &args.target), server, terminal).await
}

/// A new database like another one.
pub(super) async fn fork(args: &ForkArgs, server: &Remote, terminal: Terminal) -> Result {
    let key = find_database_among(&server.names().await?, &args.database)?;
    restored(&key, (&args.new, &args.target), server, terminal).await
}

/// A moment, as a server is told it.
pub(super) fn target(target: &TargetArgs) -> Map<String, Value> {
    let position = target.to_lsn.map(|position| position.to_string());
    [
        ("targetTime", json!(target.to_time)),
        ("targetLsn", json!(position)),
        ("targetName", json!(target.to_name)),
        ("targetBackup", json!(target.to_backup)),
        ("timeline", json!(target.timeline)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

async fn restored(
    key: &DatabaseKey,
    (new, target): (&str, &TargetArgs),
    server: &Remote,
    terminal: Terminal,
) -> Result {
    let mut wish = self::target(target);
    wish.insert("name".to_owned(), json!(new));
    let request = Request {
        method: Method::POST,
        path: format!("databases/{key}/restores"),
        version: None,
        body: Value::Object(wish),
    };
    request.ask("", server, terminal).await
}

/// A change that a server is asked for.
struct Request {
    method: Method,
    path: String,
    version: Option<String>,
    body: Value,
}

impl Request {
    async fn send(&self, args: &EditArgs, server: &Remote, terminal: Terminal) -> Result {
        let is_elsewhere = args.source.as_os_str() != "." || args.path.is_some();
        if is_elsewhere || args.credential.is_some() {
            return Err(not_by_server(&Without::Installation(
                "`--source`, `--path` and `--credential`",
            ))
            .into());
        }
        let mut query = Vec::new();
        if args.dry_run {
            query.push("dryRun=true".to_owned());
        }
        if let Some(message) = &args.message {
            query.push(format!("message={}", escaped(message)));
        }
        if args.review.is_some() {
            query.push("review=true".to_owned());
        }
        self.ask(&query.join("&"), server, terminal).await
    }

    async fn ask(&self, query: &str, server: &Remote, terminal: Terminal) -> Result {
        let path = format!("{}?{query}", self.path);
        let version = self.version.as_deref();
        let asked = (self.method.clone(), &*path);
        let changed = server.send(asked, version, &self.body).await?;
        let changed = Changed::deserialize(changed).map_err(std::io::Error::other)?;
        if changed.difference.is_empty() {
            terminal.status("Nothing to change: the manifest says so already.");
            return Ok(Exit::Ok);
        }
        let file = &changed.file;
        let difference = format!("--- {file}\n+++ {file}\n{}", changed.difference);
        terminal.result(&coloured(&difference, terminal))?;
        terminal.problems(&changed.problems);
        let is_error = |problem: &Problem| problem.severity == Severity::Error;
        Ok(
            match (changed.written, changed.commit.zip(changed.branch)) {
                (true, Some((commit, branch))) => {
                    terminal.status(&format!("Commit {commit} is on branch {branch}."));
                    Exit::Ok
                }
                (true, None) => {
                    terminal.status(&format!(
                        "Wrote `{file}` there. `boma plan` shows what is left."
                    ));
                    Exit::Ok
                }
                (false, _) if changed.problems.iter().any(is_error) => {
                    terminal.status("Nothing was written.");
                    Exit::Problem
                }
                (false, _) => Exit::NotConverged,
            },
        )
    }
}

fn coloured(difference: &str, terminal: Terminal) -> String {
    let paint = |line: &str| match line.as_bytes().first() {
        Some(b'+') if !line.starts_with("+++") => terminal.paint(Tone::Ok, line),
        Some(b'-') if !line.starts_with("---") => terminal.paint(Tone::Failed, line),
        Some(_) | None => line.to_owned(),
    };
    difference.lines().map(|line| paint(line) + "\n").collect()
}

/// A text as a part of a query.
fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(fields: &[&str]) -> Value {
        let fields: Vec<FieldChange> = fields.iter().map(|one| one.parse().unwrap()).collect();
        patch(&fields).unwrap_or_default().into()
    }

    #[test]
    fn fields_are_a_merge_patch() {
        assert_eq!(
            patched(&[
                "storage.size=2Gi",
                "spec.storage.autogrow=true",
                "cpuCount=4",
                "memory-"
            ]),
            json!({"storage": {"size": "2Gi", "autogrow": true}, "cpuCount": 4, "memory": null})
        );
        assert_eq!(
            patched(&[
                "parameters.auto_explain.log_min_duration=250",
                "parameters.jit=off"
            ]),
            json!({"parameters": {"auto_explain.log_min_duration": 250, "jit": "off"}})
        );
        assert_eq!(escaped("a b&ü"), "a%20b%26%C3%BC");
    }
}
