//! Where the served manifests come from.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use boma_engine::retry;
use boma_engine::source::{GitLocation, GitSource, Snapshot};
use boma_problem::{IntoProblem, Problem};
use tokio::sync::watch;

use super::directory;
use crate::cli::ServeArgs;
use crate::session::{canonical, sources};
use crate::terminal::Result;

/// What the engine is told of the manifests.
pub(super) type Loaded = watch::Sender<Option<Arc<Snapshot>>>;

/// Where the served manifests come from.
pub(crate) enum Source {
    /// A directory of this machine.
    Directory(PathBuf),
    /// A repository, and how often it is asked for news.
    Repository(Box<GitSource>, Duration),
}

impl Source {
    /// The one that was named; what a repository holds is kept below the state directory.
    pub(crate) fn of(args: &ServeArgs, state: &Path) -> Result<Self> {
        let address = args.source.to_str();
        let Some(address) = address.filter(|text| GitLocation::is_address(text)) else {
            return Ok(Self::Directory(canonical(&args.source)?));
        };
        let path = args.path.as_deref().unwrap_or(Path::new(""));
        let location = GitLocation::new(address, &args.branch, path);
        let location = location.map_err(|error| error.problem())?;
        let place = sources(state).join(location.directory_name());
        let every = Duration::from_secs(args.poll);
        Ok(Self::Repository(
            Box::new(GitSource::new(location, place)),
            every,
        ))
    }

    /// The directory that the manifests are, or will be, in.
    pub(crate) fn root(&self) -> &Path {
        match self {
            Self::Directory(root) => root,
            Self::Repository(source, _) => source.root(),
        }
    }

    /// How it is remembered, and shown.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Directory(root) => root.to_string_lossy().into_owned(),
            Self::Repository(source, _) => source.location().to_string(),
        }
    }

    /// Reads it, now and whenever it changes.
    pub(super) async fn follow(self, loaded: Loaded) {
        match self {
            Self::Directory(root) => directory::follow(root, loaded).await,
            Self::Repository(source, every) => follow(*source, every, loaded).await,
        }
    }
}

/// Fetches again and again. What cannot be fetched is said, and changes nothing.
async fn follow(mut source: GitSource, every: Duration, loaded: Loaded) {
    let mut last = Snapshot::default();
    let mut told: Option<Problem> = None;
    loop {
        match source.read().await {
            Ok(Some(snapshot)) => {
                last = snapshot;
                told = None;
                loaded.send_replace(Some(Arc::new(last.clone())));
            }
            Ok(None) => {
                if told.take().is_some() {
                    loaded.send_replace(Some(Arc::new(last.clone())));
                }
            }
            Err(error) => {
                let problem = error.problem();
                if told.as_ref() != Some(&problem) {
                    let mut with = last.clone();
                    with.problems.push(problem.clone());
                    loaded.send_replace(Some(Arc::new(with)));
                    told = Some(problem);
                }
            }
        }
        // Many installations of one repository do not ask at one moment.
        tokio::time::sleep(every.mul_f64(0.9 + 0.2 * retry::random())).await;
    }
}
