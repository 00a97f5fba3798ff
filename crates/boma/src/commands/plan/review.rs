//! `boma plan --base REF`: what a merge would do, from the manifests of two commits, and what runs.

use std::collections::BTreeSet;
use std::sync::Arc;

use boma_engine::catalog::{Basis, Catalog};
use boma_engine::look::look;
use boma_engine::observed::{Capabilities, Feature, Observed};
use boma_engine::plan::{Asked, Plan, plan};
use boma_engine::platform::Platform as _;
use boma_engine::review::{Review, ReviewView, Verdict, compare, markdown, place_below};
use boma_engine::source::{
    DirectorySource, Repository, Revision, Root, Roots, Snapshot, Tree, path_within,
};
use boma_problem::{Class, IntoProblem, Problem};
use jiff::Timestamp;

use super::{exit_of, new_id};
use crate::cli::{Global, PlanArgs, PlanFormat, PlatformName};
use crate::configuration::Configuration;
use crate::session::{ClusterSession, Loaded, Need, Session, others, state_dir};
use crate::sources::roots_of;
use crate::terminal::{Exit, Result, Terminal};

/// What is planned when no head is named.
const HEAD: &str = "HEAD";

/// A repository, and the directory in it whose manifests count.
struct Place {
    repository: Repository,
    directory: String,
    /// Other sources, which say the same on both sides.
    others: Vec<Root>,
}

impl Place {
    /// The one that was named.
    async fn of(args: &PlanArgs) -> Result<Self> {
        let repository = Repository::around(&args.source.source).await;
        let repository = repository.map_err(|error| error.problem())?;
        let directory = match &args.path {
            Some(path) => path_within(path).map_err(|error| error.problem())?,
            None => repository.below().to_owned(),
        };
        Ok(Self {
            repository,
            directory,
            others: others(&args.with)?,
        })
    }

    async fn commit(&self, name: &str) -> Result<Revision> {
        let commit = self.repository.commit(name).await;
        Ok(commit.map_err(|error| error.problem())?)
    }

    /// Reads the manifests of a tree. They are put into a directory for that, which is gone
    /// afterwards; killed before, it is left where temporary files are, and harms nobody.
    async fn read(&self, tree: &Tree, basis: impl FnOnce(Roots) -> Basis) -> Result<Loaded> {
        let unwritable =
            |error| Problem::from_error(Class::Config, "review-place-unwritable", &error);
        let place = tempfile::tempdir().map_err(unwritable)?;
        let written = self
            .repository
            .write(tree, &self.directory, place.path())
            .await;
        written.map_err(|error| error.problem())?;
        let snapshot = DirectorySource::new(place.path()).read();
        let others: Vec<Snapshot> = self.others.iter().map(read_other).collect();
        // Both sides are taken to be in one place, where the person has them: what a command's
        // directory is follows from it.
        let own = Root {
            label: String::new(),
            directory: self.repository.top().join(&self.directory),
        };
        let roots: Roots = self.others.iter().cloned().chain([own]).collect();
        let mut problems: Vec<Problem> = snapshot.problems().cloned().collect();
        let all = others.iter().chain([&snapshot]);
        let mut files: Vec<_> = all.flat_map(|one| &one.files).collect();
        files.sort_by(|one, other| one.source.name.cmp(&other.source.name));
        let parsed = files.into_iter().map(|file| &file.parsed);
        let (catalog, between) = Catalog::build(parsed, &Arc::new(basis(roots.clone())));
        problems.extend(between);
        let is_own = |problem: &mut Problem| {
            let file = problem.place.as_ref().map(|place| &place.file);
            let root = file.and_then(|file| roots.place(file));
            root.is_none_or(|(root, _)| root.label.is_empty())
        };
        let mut own: Vec<Problem> = problems.extract_if(.., is_own).collect();
        place_below(&self.directory, &mut own);
        problems.extend(own);
        problems.extend(others.iter().flat_map(Snapshot::problems).cloned());
        Ok(Loaded {
            roots,
            catalog,
            problems,
            manifests: snapshot.manifests().cloned().collect(),
        })
    }
}

/// The platform that a merge is compared with.
enum Running {
    Machine(Session),
    Cluster(ClusterSession),
}

/// Why one of several sources is not compared with what runs: all of the others would be missing.
fn one_of(count: usize) -> Problem {
    let message = format!("what runs comes from {count} sources, and one of them is reviewed");
    Problem::new(Class::User, "review-of-one-source", message).hint(
        "Leave `--running` out, and name the directories of the others with `--with`: the two \
         commits are compared with each other.",
    )
}

/// What another source says, for both sides.
fn read_other(root: &Root) -> Snapshot {
    DirectorySource::labelled(&root.directory, &root.label).read()
}

impl Running {
    async fn open(global: &Global) -> Result<Self> {
        Ok(match global.platform {
            PlatformName::Local => Self::Machine(Session::open(global, Need::Builds).await?),
            PlatformName::Kubernetes => Self::Cluster(ClusterSession::open(global).await?),
        })
    }

    /// Where the manifests are that were applied last: what directories of commands follow from.
    async fn roots(&self, global: &Global) -> Result<Option<Roots>> {
        let seen = match self {
            Self::Machine(session) => session.platform.observe().await?,
            Self::Cluster(session) => session.platform.observe().await?,
        };
        let state = state_dir(global)?;
        let roots = seen.source.map(|source| roots_of(&source, &state));
        match roots.as_ref().map_or(0, |roots| roots.all().len()) {
            0 | 1 => Ok(roots),
            count => Err(one_of(count).into()),
        }
    }

    /// What these manifests would do on what runs.
    async fn plan(&self, catalog: &Catalog) -> Result<Plan> {
        let asked = Asked::default();
        let planned = |seen: &Observed, now| plan(catalog, seen, &asked, now, &mut new_id);
        let looked = match self {
            Self::Machine(session) => look(&*session.platform, Timestamp::now, planned).await?,
            Self::Cluster(session) => look(&*session.platform, Timestamp::now, planned).await?,
        };
        Ok(looked.plan)
    }
}

/// Shows what a merge would do. No platform is asked, unless that is wanted.
pub(crate) async fn run(args: &PlanArgs, global: &Global, terminal: Terminal) -> Result {
    let place = Place::of(args).await?;
    let named = |name: &Option<String>| name.clone().unwrap_or_else(|| HEAD.to_owned());
    let base = place.commit(&named(&args.base)).await?;
    let head = place.commit(&named(&args.head)).await?;
    let merged = place.repository.merged(&base, &head).await;
    let merged = merged.map_err(|error| error.problem())?;
    let plans = state_dir(global).map_or_else(
        |_| Configuration::default(),
        |dir| Configuration::read(&dir).unwrap_or_default(),
    );
    let running = if args.running {
        Some(Running::open(global).await?)
    } else {
        None
    };
    let applied = match &running {
        Some(running) => running.roots(global).await?,
        None => None,
    };
    let basis = |roots: Roots| Basis {
        plans: plans.plans(),
        roots: applied.clone().unwrap_or(roots),
    };
    let before = place.read(&place.repository.tree(&base), basis).await?;
    let after = place.read(&merged, basis).await?;
    let standing = match &running {
        Some(running) if !before.has_errors() => {
            Some(Box::new(running.plan(&before.catalog).await?))
        }
        Some(_) | None => None,
    };
    let verdict = if after.has_errors() {
        Verdict::Invalid
    } else if let Some(running) = &running {
        placed(running.plan(&after.catalog).await?, &place).into()
    } else if before.has_errors() {
        Verdict::Unknown(before.problems)
    } else {
        let capabilities = capabilities(global.platform);
        let now = Timestamp::now();
        let plan = compare(&before.catalog, &after.catalog, capabilities, now);
        placed(plan, &place).into()
    };
    let review = Review {
        base: Some(base),
        head: Some(head),
        problems: after.problems,
        standing,
        verdict,
    };
    show(&review, args.output, terminal)
}

/// A plan whose places start from the top of the repository.
fn placed(mut plan: Plan, place: &Place) -> Plan {
    for blocked in &mut plan.blocked {
        place_below(&place.directory, std::slice::from_mut(&mut blocked.problem));
    }
    place_below(&place.directory, &mut plan.warnings);
    plan
}

/// Prints a review; what it ends the program with.
fn show(review: &Review, format: PlanFormat, terminal: Terminal) -> Result {
    terminal.problems(&review.problems);
    match format {
        PlanFormat::Text => terminal.result(&super::painted(&review.to_string(), terminal))?,
        PlanFormat::Json => terminal.json(&ReviewView::from(review))?,
        PlanFormat::Markdown => terminal.result(&markdown(review))?,
    }
    Ok(match &review.verdict {
        Verdict::Invalid => Exit::Problem,
        Verdict::Unknown(_) => Exit::NotConverged,
        Verdict::Planned { plan, .. } => exit_of(plan),
    })
}

/// What the platform is taken to be able to do, as far as it is known without it.
fn capabilities(platform: PlatformName) -> Capabilities {
    let (platform, features) = match platform {
        PlatformName::Local => (
            "on one machine",
            vec![
                Feature::Commands,
                Feature::Backups,
                Feature::Restore,
                Feature::Replace,
            ],
        ),
        PlatformName::Kubernetes => (
            "on Kubernetes",
            vec![
                Feature::Images,
                Feature::Workloads,
                Feature::Replicas,
                Feature::StorageClasses,
                Feature::Backups,
                Feature::Restore,
                Feature::OwnAgents,
            ],
        ),
    };
    Capabilities {
        platform: platform.to_owned(),
        servers: boma_kubernetes::known_builds(),
        searched: Vec::new(),
        features: BTreeSet::from_iter(features),
        ..Capabilities::default()
    }
}
