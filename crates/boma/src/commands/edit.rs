//! `boma create`, `boma set`, `boma attach`, `boma detach`: manifests change, and nothing else of their
//! files; in a directory, or as a commit in a repository.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use boma_engine::catalog::Basis;
use boma_engine::source::{
    DirectorySource, GitLocation, GitSource, GitWriter, Mark, NewManifest, Onto, Proposal, Roots,
    Snapshot,
};
use boma_manifest::edit::{Attachment, Change, Step, Written};
use boma_manifest::{Application, Kind, Manifest};
use boma_problem::{Class, IntoProblem, Problem};

use crate::cli::{
    AttachArgs, CreateArgs, DetachArgs, EditArgs, FieldChange, Global, NewKind, SetArgs,
};
use crate::commands::serve::LetIn;
use crate::commands::validate::plans;
use crate::session::{Names, Need, Session, canonical, committer, find_among, named, with_kind};
use crate::terminal::{Exit, Result, Terminal, Tone};

/// Writes a new manifest.
pub(crate) async fn create(args: &CreateArgs, global: &Global, terminal: Terminal) -> Result {
    let opened = Opened::read(&args.edit, global).await?;
    let (kind, word) = match args.kind {
        NewKind::Database => (Kind::Database, "database"),
        NewKind::Application => (Kind::Application, "application"),
    };
    let project = opened.project(args.project.as_deref())?;
    let new = NewManifest {
        kind,
        project: &project,
        name: &args.name,
        spec: args.fields.iter().map(change).collect(),
        label: "",
    };
    let proposal = new.propose(&opened.snapshot);
    let proposal = proposal.map_err(|error| error.problem())?;
    let edit = Edit {
        args: &args.edit,
        about: format!("{}: new {word}", args.name),
    };
    opened.write(&proposal, &edit, global, terminal).await
}

/// Changes fields.
pub(crate) async fn set(args: &SetArgs, global: &Global, terminal: Terminal) -> Result {
    let opened = Opened::read(&args.edit, global).await?;
    let manifest = opened.find(&args.name)?;
    let changes: Vec<Change> = args.fields.iter().map(change).collect();
    let fields: Vec<&str> = args.fields.iter().map(|one| &*one.field).collect();
    let proposal = Proposal::of(manifest, &changes)?;
    let edit = Edit {
        args: &args.edit,
        about: format!("{}: {}", manifest.metadata().name, fields.join(", ")),
    };
    opened.write(&proposal, &edit, global, terminal).await
}

/// Adds a grant.
pub(crate) async fn attach(args: &AttachArgs, global: &Global, terminal: Terminal) -> Result {
    let opened = Opened::read(&args.edit, global).await?;
    let (manifest, application) = opened.application(&args.application)?;
    let change = Attachment {
        database: args.database.clone(),
        variable: args.env.clone(),
        read_only: args.read_only,
    };
    let proposal = Proposal::of(manifest, &[change.into()])?;
    let edit = Edit {
        args: &args.edit,
        about: format!("{}: attach {}", application.metadata.name, args.database),
    };
    opened.write(&proposal, &edit, global, terminal).await
}

/// Takes a grant out.
pub(crate) async fn detach(args: &DetachArgs, global: &Global, terminal: Terminal) -> Result {
    let opened = Opened::read(&args.edit, global).await?;
    let (manifest, application) = opened.application(&args.application)?;
    let grants = &application.spec.access_control.databases;
    let index = grants
        .iter()
        .position(|grant| grant.name.to_string() == args.database);
    let names = grants.iter().map(|grant| grant.name.to_string());
    let names: Vec<String> = names.collect();
    let name = application.metadata.name.as_str();
    let index = index
        .ok_or_else(|| not_attached(name, &args.database, names.iter().map(String::as_str)))?;
    let proposal = Proposal::of(manifest, &[Change::detachment(index)])?;
    let edit = Edit {
        args: &args.edit,
        about: format!("{}: detach {}", application.metadata.name, args.database),
    };
    opened.write(&proposal, &edit, global, terminal).await
}

pub(super) fn not_attached<'n>(
    name: &str,
    database: &str,
    attached: impl Iterator<Item = &'n str>,
) -> Problem {
    let problem = Problem::new(
        Class::User,
        "not-attached",
        format!("{name} has no access to a database {database:?}"),
    );
    let names: Vec<_> = attached.map(|name| format!("`{name}`")).collect();
    if names.is_empty() {
        problem.hint("It has access to none.")
    } else {
        problem.hint(format!("It has access to {}.", names.join(", ")))
    }
}

/// A change that was typed. Names of parameters may have dots in them.
pub(super) fn change(typed: &FieldChange) -> Change {
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

/// A change that somebody has typed.
struct Edit<'e> {
    args: &'e EditArgs,
    /// What a commit of it says, unless the person says it.
    about: String,
}

/// Where changed manifests go.
enum Place {
    Directory,
    Repository(GitWriter),
}

/// Manifests that one of is to be changed, or added to.
struct Opened {
    root: PathBuf,
    snapshot: Snapshot,
    place: Place,
    /// What a repository was fetched to.
    _fetched: Option<tempfile::TempDir>,
}

impl Opened {
    async fn read(args: &EditArgs, global: &Global) -> Result<Self> {
        let address = args.source.to_str();
        let Some(address) = address.filter(|text| GitLocation::is_address(text)) else {
            if args.review.is_some() || args.message.is_some() {
                return Err(not_committed(&args.source).into());
            }
            let root = canonical(&args.source)?;
            let snapshot = DirectorySource::new(&root).read();
            return Ok(Self {
                root,
                snapshot,
                place: Place::Directory,
                _fetched: None,
            });
        };
        let path = args.path.as_deref().unwrap_or(Path::new(""));
        let location = GitLocation::of_address(address, &args.branch, path);
        let location = location.map_err(|error| error.problem())?;
        let fetched = tempfile::tempdir()?;
        let mut source = GitSource::new(location.clone(), fetched.path().join("read"));
        let credential = source.credential().clone();
        if let Some(secret) = args.credential.clone() {
            let session = Session::open(global, Need::NoBuilds).await?;
            let platform = session.platform.clone();
            LetIn { secret, platform }.refresh(&credential).await?;
        }
        let snapshot = source.read().await.map_err(|error| error.problem())?;
        let write = fetched.path().join("write");
        Ok(Self {
            root: source.root().to_owned(),
            snapshot: snapshot.unwrap_or_default(),
            place: Place::Repository(GitWriter::new(location, write, credential)),
            _fetched: Some(fetched),
        })
    }

    fn project(&self, name: Option<&str>) -> Result<String> {
        let all = self.snapshot.manifests();
        let known = all.map(|manifest| manifest.metadata().project.to_string());
        project_of(&known.collect(), name)
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

    /// Shows what becomes of a file, and writes it if that may be.
    async fn write(
        &self,
        proposal: &Proposal,
        edit: &Edit<'_>,
        global: &Global,
        terminal: Terminal,
    ) -> Result {
        if proposal.is_empty() {
            terminal.status("Nothing to change: the manifest says so already.");
            return Ok(Exit::Ok);
        }
        terminal.result(difference(proposal, terminal).trim_end())?;
        let basis = Arc::new(Basis {
            plans: plans(global),
            roots: Roots::one(&self.root),
        });
        let (_, problems) = proposal.judge(&self.snapshot, &basis);
        terminal.problems(&problems);
        if problems.iter().any(Problem::is_error) {
            terminal.status("Nothing was written.");
            return Ok(Exit::Problem);
        }
        if edit.args.dry_run {
            return Ok(Exit::NotConverged);
        }
        match &self.place {
            Place::Directory => {
                let path = proposal.write(&self.root);
                let path = path.map_err(|error| error.problem())?;
                let path = path.display();
                terminal.status(&format!("Wrote `{path}`. `boma plan` shows what it means."));
            }
            Place::Repository(writer) => commit(writer, proposal, edit, terminal).await?,
        }
        Ok(Exit::Ok)
    }
}

/// Commits a change, and says where it is.
async fn commit(
    writer: &GitWriter,
    proposal: &Proposal,
    edit: &Edit<'_>,
    terminal: Terminal,
) -> Result<()> {
    let message = edit.args.message.clone();
    let note = committer(message.unwrap_or_else(|| edit.about.clone())).await;
    let review = edit.args.review.clone();
    let onto = review.map_or(Onto::Branch, Onto::Review);
    let done = writer.write(proposal, &note, &onto).await;
    let done = done.map_err(|error| error.problem())?;
    let (commit, branch, url) = (&done.commit, &done.branch, &writer.location().url);
    terminal.status(&match onto {
        Onto::Branch => format!("Commit {commit} is on branch {branch} of {url}."),
        Onto::Review(_) => format!(
            "Commit {commit} is on branch {branch} of {url}, for review: nothing is applied before it \
             is merged."
        ),
    });
    Ok(())
}

fn not_committed(source: &Path) -> Problem {
    let message = format!(
        "`{}` is a directory, in which nothing is committed",
        source.display()
    );
    Problem::new(Class::User, "source-without-commits", message).hint(
        "Name the address of a repository with `--source`, or leave `--review` and `--message` out \
         and commit the change yourself.",
    )
}

/// The project that was named, as a whole or by its own name; else the only one that there is.
pub(super) fn project_of(
    known: &std::collections::BTreeSet<String>,
    name: Option<&str>,
) -> Result<String> {
    let is_it = |project: &&String| {
        name.is_none_or(|name| *project == name || project.rsplit('/').next() == Some(name))
    };
    let found: Vec<&String> = known.iter().filter(is_it).collect();
    match (&*found, name) {
        ([one], _) => Ok((*one).clone()),
        (_, Some(whole)) if whole.matches('/').count() == 3 => Ok(whole.to_owned()),
        (_, _) => Err(unclear_project(known).into()),
    }
}

fn unclear_project(known: &std::collections::BTreeSet<String>) -> Problem {
    let problem = Problem::new(
        Class::User,
        "project-unclear",
        "it is not clear which project is meant",
    );
    let usual = "organization/organizational-unit/environment/project";
    if known.is_empty() {
        return problem.hint(format!("Name it: `--project {usual}`."));
    }
    let names: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    problem.hint(format!("Name it with `--project`: {}.", names.join(", ")))
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
