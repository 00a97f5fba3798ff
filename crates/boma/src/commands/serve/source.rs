//! Where the served manifests come from.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use boma_engine::retry;
use boma_engine::source::{
    GitCredential, GitLocation, GitSource, GitWriter, Note, SharedCredential, Snapshot,
};
use boma_local::LocalPlatform;
use boma_problem::{IntoProblem, Problem};
use boma_web::{Repository, Writing};
use tokio::sync::{Mutex, Notify, watch};

use super::directory;
use crate::cli::ServeArgs;
use crate::commands::secret::missing;
use crate::session::{canonical, committer, sources};
use crate::terminal::Result;

/// What the engine is told of the manifests.
pub(super) type Loaded = watch::Sender<Option<Arc<Snapshot>>>;

/// Where the served manifests come from.
pub(crate) enum Source {
    /// A directory of this machine.
    Directory(PathBuf),
    /// A repository.
    Repository {
        /// Its files.
        source: Box<GitSource>,
        /// How often it is asked for news.
        every: Duration,
        /// Notified when there are some.
        told: Arc<Notify>,
        /// What is done before each time, so that an exchanged credential is used.
        let_in: Option<LetIn>,
    },
}

/// Looks up what lets Boma into a repository.
pub(crate) struct LetIn {
    /// The name of the secret.
    pub(crate) secret: String,
    /// Where it is.
    pub(crate) platform: Arc<LocalPlatform>,
}

impl LetIn {
    /// Hands the secret that the name has now to whoever talks to the repository.
    pub(crate) async fn refresh(
        &self,
        credential: &SharedCredential,
    ) -> std::result::Result<(), Box<Problem>> {
        let stored = self.platform.named_secret(&self.secret).await?;
        let stored = stored.ok_or_else(|| Box::new(missing(&self.secret)))?;
        credential.set(Some(GitCredential::of(&stored)));
        Ok(())
    }
}

impl Source {
    /// The one that was named; what a repository holds is kept below the state directory.
    pub(crate) fn of(args: &ServeArgs, state: &Path, let_in: Option<LetIn>) -> Result<Self> {
        let address = args.source.to_str();
        let Some(address) = address.filter(|text| GitLocation::is_address(text)) else {
            return Ok(Self::Directory(canonical(&args.source)?));
        };
        let path = args.path.as_deref().unwrap_or(Path::new(""));
        let location = GitLocation::new(address, &args.branch, path);
        let location = location.map_err(|error| error.problem())?;
        let place = sources(state).join(location.directory_name());
        let every = Duration::from_secs(args.poll);
        Ok(Self::Repository {
            source: Box::new(GitSource::new(location, place)),
            every,
            told: Arc::default(),
            let_in,
        })
    }

    /// The directory that the manifests are, or will be, in.
    pub(crate) fn root(&self) -> &Path {
        match self {
            Self::Directory(root) => root,
            Self::Repository { source, .. } => source.root(),
        }
    }

    /// How it is remembered, and shown.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Directory(root) => root.to_string_lossy().into_owned(),
            Self::Repository { source, .. } => source.location().to_string(),
        }
    }

    /// Where the dashboard writes changes of manifests; what it keeps for that is below the state
    /// directory.
    pub(super) async fn writing(&self, state: &Path) -> Writing {
        match self {
            Self::Directory(root) => Writing::Directory(root.clone()),
            Self::Repository { source, told, .. } => {
                let credential = source.credential().clone();
                let location = source.location().clone();
                let place = sources(state).join(format!("{}.write", location.directory_name()));
                let branch = location.branch.clone();
                let Note { name, email, .. } = committer(String::new()).await;
                Writing::Repository(Repository {
                    writer: Mutex::new(GitWriter::new(location, place, credential)),
                    branch,
                    told: told.clone(),
                    name,
                    email,
                })
            }
        }
    }

    /// What is notified when somebody has pushed; none: it is not pushed to.
    pub(super) fn told(&self) -> Option<Arc<Notify>> {
        match self {
            Self::Directory(_) => None,
            Self::Repository { told, .. } => Some(told.clone()),
        }
    }

    /// Reads it, now and whenever it changes.
    pub(super) async fn follow(self, loaded: Loaded) {
        match self {
            Self::Directory(root) => directory::follow(root, loaded).await,
            Self::Repository {
                source,
                every,
                told,
                let_in,
            } => follow((*source, let_in), (every, told), loaded).await,
        }
    }
}

/// Fetches again and again, and whenever somebody has pushed. What cannot be fetched is said, and
/// changes nothing.
async fn follow(
    (mut source, let_in): (GitSource, Option<LetIn>),
    (every, push): (Duration, Arc<Notify>),
    loaded: Loaded,
) {
    let mut last = Snapshot::default();
    let mut told: Option<Problem> = None;
    loop {
        match read(&mut source, let_in.as_ref()).await {
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
            Err(problem) => {
                let problem = *problem;
                if told.as_ref() != Some(&problem) {
                    let mut with = last.clone();
                    with.problems.push(problem.clone());
                    loaded.send_replace(Some(Arc::new(with)));
                    told = Some(problem);
                }
            }
        }
        // Many installations of one repository do not ask at one moment.
        let pause = every.mul_f64(0.9 + 0.2 * retry::random());
        // Cancel-safe: a permit that is not taken stays, and so does one given during a fetch.
        drop(tokio::time::timeout(pause, push.notified()).await);
    }
}

/// Fetches, with what lets Boma in now.
async fn read(
    source: &mut GitSource,
    let_in: Option<&LetIn>,
) -> std::result::Result<Option<Snapshot>, Box<Problem>> {
    if let Some(let_in) = let_in {
        let_in.refresh(source.credential()).await?;
    }
    source
        .read()
        .await
        .map_err(|error| Box::new(error.problem()))
}
