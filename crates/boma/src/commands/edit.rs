//! `boma set`, `boma attach`, `boma detach`: manifests change, and nothing else of their files.
//!
//! ```text
//!   manifest + change ─► new text ─► all manifests with it, checked ─► difference shown ─► written
//!                                              └─ an error: shown, nothing is written
//! ```
//!
//! A file is replaced as a whole, by one rename: `boma serve` reads the former one or the new one.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use boma_engine::catalog::{Basis, Catalog};
use boma_engine::source::{DirectorySource, Snapshot};
use boma_manifest::edit::{Change, Step, Written, edit};
use boma_manifest::{Application, Manifest, Origin, Parsed, SourceFile, parse_file};
use boma_problem::{Class, IntoProblem, Problem};
use similar::{ChangeTag, TextDiff};

use crate::cli::{AttachArgs, DetachArgs, EditArgs, FieldChange, Global, SetArgs};
use crate::commands::validate::plans;
use crate::session::{Names, canonical, find_among, named, with_kind};
use crate::terminal::{Exit, Result, Terminal, Tone};

/// Where grants are in an application's manifest.
const GRANTS: [&str; 3] = ["spec", "accessControl", "databases"];

/// Lines shown around those that change.
const AROUND: usize = 3;

/// Changes fields.
pub(crate) fn set(args: &SetArgs, global: &Global, terminal: Terminal) -> Result {
    let opened = Opened::read(&args.edit.source)?;
    let manifest = opened.find(&args.name)?;
    let changes = args.fields.iter().map(change).collect();
    opened.write((manifest, changes), &args.edit, global, terminal)
}

/// Adds a grant.
pub(crate) fn attach(args: &AttachArgs, global: &Global, terminal: Terminal) -> Result {
    let opened = Opened::read(&args.edit.source)?;
    let (manifest, _) = opened.application(&args.application)?;
    let variable = Written::fields([("envVar", Written::Text(args.env.clone()))]);
    let grant = Written::fields([
        ("name", Written::Text(args.database.clone())),
        ("readOnly", Written::Flag(args.read_only)),
        ("secretSource", variable),
    ]);
    let change = Change::Append(fields(GRANTS), grant);
    opened.write((manifest, vec![change]), &args.edit, global, terminal)
}

/// Takes a grant out.
pub(crate) fn detach(args: &DetachArgs, global: &Global, terminal: Terminal) -> Result {
    let opened = Opened::read(&args.edit.source)?;
    let (manifest, application) = opened.application(&args.application)?;
    let grants = &application.spec.access_control.databases;
    let index = grants
        .iter()
        .position(|grant| grant.name.to_string() == args.database);
    let index = index.ok_or_else(|| not_attached(application, &args.database))?;
    let mut path = fields(GRANTS);
    path.push(Step::Item(index));
    let change = Change::Remove(path);
    opened.write((manifest, vec![change]), &args.edit, global, terminal)
}

fn not_attached(application: &Application, database: &str) -> Problem {
    let name = &application.metadata.name;
    let problem = Problem::new(
        Class::User,
        "not-attached",
        format!("{name} has no access to a database {database:?}"),
    );
    let grants = application.spec.access_control.databases.iter();
    let names: Vec<_> = grants.map(|grant| format!("`{}`", grant.name)).collect();
    if names.is_empty() {
        problem.hint("It has access to none.")
    } else {
        problem.hint(format!("It has access to {}.", names.join(", ")))
    }
}

fn fields<const N: usize>(names: [&str; N]) -> Vec<Step> {
    names.map(|name| Step::Field(name.to_owned())).into()
}

/// A change that was typed. Names of parameters may have dots in them.
fn change(typed: &FieldChange) -> Change {
    let mut parts = typed.field.split('.').peekable();
    let mut path = Vec::new();
    if !matches!(parts.peek(), Some(&("spec" | "metadata"))) {
        path.extend(fields(["spec"]));
    }
    while let Some(part) = parts.next() {
        path.extend(fields([part]));
        let rest: Vec<&str> = match part {
            "parameters" => parts.by_ref().collect(),
            _ => Vec::new(),
        };
        if !rest.is_empty() {
            path.push(Step::Field(rest.join(".")));
        }
    }
    match &typed.value {
        Some(value) => Change::Set(path, Written::typed(value)),
        None => Change::Remove(path),
    }
}

/// Manifests that one of is to be changed.
struct Opened {
    root: PathBuf,
    snapshot: Snapshot,
}

impl Opened {
    fn read(source: &Path) -> Result<Self> {
        let root = canonical(source)?;
        let snapshot = DirectorySource::new(&root).read();
        Ok(Self { root, snapshot })
    }

    fn find(&self, name: &str) -> Result<&Manifest> {
        let names: Names = self.snapshot.manifests().collect();
        let wanted = find_among(&names, name)?;
        let found = self.snapshot.manifests().find(|one| named(one) == wanted);
        Ok(found.expect("what was found among the manifests should be one of them"))
    }

    fn application(&self, name: &str) -> Result<(&Manifest, &Application)> {
        let manifest = self.find(&with_kind("application", name))?;
        match manifest {
            Manifest::Application(application) => Ok((manifest, application)),
            Manifest::Database(database) => Err(Problem::new(
                Class::User,
                "not-an-application",
                format!("{} is a database", database.metadata.name),
            )
            .into()),
        }
    }

    /// Shows what the changes make of a manifest, and writes it if that may be.
    fn write(
        &self,
        (manifest, changes): (&Manifest, Vec<Change>),
        args: &EditArgs,
        global: &Global,
        terminal: Terminal,
    ) -> Result {
        let origin = manifest.origin();
        // Its manifests could not have been read from anything but text.
        let former = String::from_utf8_lossy(&origin.file().bytes);
        let new = changed(&former, origin, &changes)?;
        if new == former {
            terminal.status("Nothing to change: the manifest says so already.");
            return Ok(Exit::Ok);
        }
        let name = &origin.file().name;
        terminal.result(difference(&former, &new, name, terminal).trim_end())?;
        let problems = self.problems(name, &new, global);
        terminal.problems(&problems);
        if problems.iter().any(Problem::is_error) {
            terminal.status("Nothing was written.");
            return Ok(Exit::Problem);
        }
        if args.dry_run {
            return Ok(Exit::NotConverged);
        }
        let path = self.root.join(&**name);
        replace(&path, &new).map_err(|error| not_written(&path, &error))?;
        terminal.status(&format!(
            "Wrote `{}`. `boma plan` shows what it means.",
            path.display()
        ));
        Ok(Exit::Ok)
    }

    /// What is wrong with the manifests when one file says this.
    fn problems(&self, name: &str, text: &str, global: &Global) -> Vec<Problem> {
        let parsed: Vec<Arc<Parsed>> = self
            .snapshot
            .files
            .iter()
            .map(|file| {
                if *file.source.name == *name {
                    Arc::new(parse_file(&SourceFile::new(name, text.as_bytes())))
                } else {
                    Arc::clone(&file.parsed)
                }
            })
            .collect();
        let basis = Arc::new(Basis {
            plans: plans(global),
            root: Some(self.root.to_string_lossy().into_owned()),
        });
        let (_, between) = Catalog::build(&parsed, &basis);
        let of_files = parsed.iter().flat_map(|file| &file.problems);
        let problems = self.snapshot.problems.iter().chain(of_files).cloned();
        problems.chain(between).collect()
    }
}

fn changed(text: &str, origin: &Origin, changes: &[Change]) -> Result<String> {
    let mut new = text.to_owned();
    for change in changes {
        let done = edit(&new, origin.document(), change);
        new = done.map_err(|error| error.problem().at(origin.place(&change.to_string())))?;
    }
    Ok(new)
}

/// What changes, as `diff -u` shows it.
fn difference(former: &str, new: &str, name: &str, terminal: Terminal) -> String {
    let difference = TextDiff::from_lines(former, new);
    let mut text = format!("--- {name}\n+++ {name}\n");
    for part in difference
        .unified_diff()
        .context_radius(AROUND)
        .iter_hunks()
    {
        text.extend([&part.header().to_string(), "\n"]);
        for line in part.iter_changes() {
            let shown = format!(
                "{}{}",
                line.tag(),
                line.value().trim_end_matches(['\n', '\r'])
            );
            text.push_str(&match line.tag() {
                ChangeTag::Equal => shown,
                ChangeTag::Delete => terminal.paint(Tone::Failed, &shown),
                ChangeTag::Insert => terminal.paint(Tone::Ok, &shown),
            });
            text.push('\n');
        }
    }
    text
}

/// Replaces a file by one rename; its owner and its rights stay.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let path = fs::canonicalize(path)?;
    let former = fs::metadata(&path)?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text.as_bytes())?;
    fs::set_permissions(file.path(), former.permissions())?;
    // Who may not give files away owns this one already, or may not keep its owner.
    let _kept = chown(file.path(), Some(former.uid()), Some(former.gid()));
    file.as_file().sync_all()?;
    file.persist(&path)?;
    fs::File::open(directory)?.sync_all()
}

fn not_written(path: &Path, error: &std::io::Error) -> Problem {
    Problem {
        message: format!("write manifest `{}`", path.display()),
        causes: vec![error.to_string()],
        ..Problem::new(Class::User, "manifest-not-written", "")
    }
    .hint("It is as it was. Name a directory that you may write to.")
}
