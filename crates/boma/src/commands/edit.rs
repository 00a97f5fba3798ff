//! `boma set`, `boma attach`, `boma detach`: manifests change, and nothing else of their files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use boma_engine::catalog::Basis;
use boma_engine::source::{DirectorySource, Mark, Proposal, Snapshot};
use boma_manifest::edit::{Attachment, Change, Step, Written};
use boma_manifest::{Application, Manifest};
use boma_problem::{Class, IntoProblem, Problem};

use crate::cli::{AttachArgs, DetachArgs, EditArgs, FieldChange, Global, SetArgs};
use crate::commands::validate::plans;
use crate::session::{Names, canonical, find_among, named, with_kind};
use crate::terminal::{Exit, Result, Terminal, Tone};

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
    let change = Attachment {
        database: args.database.clone(),
        variable: args.env.clone(),
        read_only: args.read_only,
    };
    opened.write(
        (manifest, vec![change.into()]),
        &args.edit,
        global,
        terminal,
    )
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
    let change = Change::detachment(index);
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

/// A change that was typed. Names of parameters may have dots in them.
fn change(typed: &FieldChange) -> Change {
    let mut parts = typed.field.split('.').peekable();
    let mut path = Vec::new();
    if !matches!(parts.peek(), Some(&("spec" | "metadata"))) {
        path.extend(Step::fields(["spec"]));
    }
    while let Some(part) = parts.next() {
        path.extend(Step::fields([part]));
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
        let proposal = Proposal::of(manifest, &changes)?;
        if proposal.is_empty() {
            terminal.status("Nothing to change: the manifest says so already.");
            return Ok(Exit::Ok);
        }
        terminal.result(difference(&proposal, terminal).trim_end())?;
        let basis = Arc::new(Basis {
            plans: plans(global),
            root: Some(self.root.to_string_lossy().into_owned()),
        });
        let (_, problems) = proposal.judge(&self.snapshot, &basis);
        terminal.problems(&problems);
        if problems.iter().any(Problem::is_error) {
            terminal.status("Nothing was written.");
            return Ok(Exit::Problem);
        }
        if args.dry_run {
            return Ok(Exit::NotConverged);
        }
        let path = proposal
            .write(&self.root)
            .map_err(|error| error.problem())?;
        terminal.status(&format!(
            "Wrote `{}`. `boma plan` shows what it means.",
            path.display()
        ));
        Ok(Exit::Ok)
    }
}

/// What changes, as `diff -u` shows it.
fn difference(proposal: &Proposal, terminal: Terminal) -> String {
    let name = proposal.name();
    let mut text = format!("--- {name}\n+++ {name}\n");
    for line in proposal.difference() {
        let shown = format!("{}{}", line.mark.letter(), line.text);
        text.push_str(&match line.mark {
            Mark::Place | Mark::Kept => shown,
            Mark::Removed => terminal.paint(Tone::Failed, &shown),
            Mark::Added => terminal.paint(Tone::Ok, &shown),
        });
        text.push('\n');
    }
    text
}
