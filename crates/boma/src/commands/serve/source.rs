//! Where the served manifests come from.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use boma_engine::catalog::Basis;
use boma_engine::retry;
use boma_engine::source::{
    Alone, CUSTOM_RESOURCES, GitCredential, GitLocation, GitSource, GitWriter, Note,
    ResourceSource, Root, Roots, Several, SharedCredential, Snapshot, labels,
};
use boma_kubernetes::CustomResources;
use boma_local::LocalPlatform;
use boma_problem::{Class, IntoProblem, Problem};
use boma_web::{Repository, Target, Writer, Writing};
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::JoinSet;

use super::directory;
use super::resources::{self, ResourceFiles};
use crate::cli::ServeArgs;
use crate::commands::secret::missing;
use crate::session::{canonical, committer};
use crate::sources::{remembered, sources};
use crate::terminal::Result;

/// What the engine is told of the manifests.
pub(super) type Loaded = watch::Sender<Option<Arc<Snapshot>>>;

/// Everything that is served.
pub(crate) struct Sources(Vec<Source>);

/// One source.
struct Source {
    /// What its files' names begin with; empty: it is the only one.
    label: String,
    kind: Kind,
    /// Whether nothing is written into it.
    is_read_only: bool,
}

/// Where the manifests of a source are.
enum Kind {
    /// In a directory of this machine.
    Directory(PathBuf),
    /// In the API server of a cluster.
    Resources(CustomResources),
    /// In a repository.
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

impl Sources {
    /// Those that were named; what repositories hold is kept below the state directory, and secrets
    /// that let Boma in are of `platform`; `resources` are those of the cluster, if they are named.
    pub(crate) fn of(
        args: &ServeArgs,
        state: &Path,
        platform: Option<&Arc<LocalPlatform>>,
        resources: Option<&CustomResources>,
    ) -> Result<Self> {
        let places: Vec<Place> = args
            .sources
            .iter()
            .map(|source| Place::of(source, args, resources))
            .collect::<Result<_>>()?;
        let addresses: Vec<String> = places.iter().map(Place::to_string).collect();
        refuse_twice(&addresses)?;
        let mut read_only = ReadOnly::of(&args.read_only);
        let mut credentials = Credentials::of(&args.credential);
        let labels = match &*addresses {
            [_] => vec![String::new()],
            _several => {
                let names = names(&places);
                labels(&names.iter().map(String::as_str).collect::<Vec<_>>())
            }
        };
        let mut all: Vec<Source> = Vec::new();
        for ((label, place), typed) in labels.into_iter().zip(places).zip(&args.sources) {
            let is_read_only = read_only.has(&[&place.address(), &typed.to_string_lossy()]);
            let kind = match place {
                Place::Directory(root) => Kind::Directory(root),
                Place::Resources(resources) => Kind::Resources(resources),
                Place::Repository(location) => {
                    let place = sources(state).join(location.directory_name());
                    let let_in = credentials.find(&location.url).zip(platform);
                    let let_in = let_in.map(|(secret, platform)| LetIn {
                        secret,
                        platform: platform.clone(),
                    });
                    Kind::Repository {
                        source: Box::new(GitSource::labelled(location, place, &label)),
                        every: Duration::from_secs(args.poll),
                        told: Arc::default(),
                        let_in,
                    }
                }
            };
            all.push(Source {
                label,
                kind,
                is_read_only,
            });
        }
        credentials.refuse_idle()?;
        read_only.refuse_idle()?;
        // However they were named, it is the same installation.
        all.sort_by(|one, other| one.label.cmp(&other.label));
        Ok(Self(all))
    }

    /// The directories that the manifests are, or will be, in.
    pub(crate) fn roots(&self) -> Roots {
        let root = |source: &Source| {
            Some(Root {
                label: source.label.clone(),
                directory: source.root()?.to_owned(),
            })
        };
        self.0.iter().filter_map(root).collect()
    }

    /// How they are remembered, and shown.
    pub(super) fn name(&self) -> String {
        let all = self.0.iter();
        let all: Vec<_> = all.map(|one| (&*one.label, one.name())).collect();
        remembered(&all)
    }

    /// Where the dashboard writes changes of manifests; what it keeps for that is below the state
    /// directory.
    pub(super) async fn targets(&self, state: &Path) -> Vec<Target> {
        let mut targets = Vec::new();
        for source in &self.0 {
            let label = match &source.kind {
                Kind::Resources(_) => ResourceSource::labelled(&source.label).label().to_owned(),
                Kind::Directory(_) | Kind::Repository { .. } => source.label.clone(),
            };
            let writing = source.writing(state).await;
            targets.push(Target { label, writing });
        }
        targets
    }

    /// What is notified when somebody has pushed; none: nothing is pushed to.
    pub(super) fn told(&self) -> Vec<Arc<Notify>> {
        let told = |source: &Source| match &source.kind {
            Kind::Directory(_) | Kind::Resources(_) => None,
            Kind::Repository { told, .. } => Some(told.clone()),
        };
        self.0.iter().filter_map(told).collect()
    }

    /// Reads them against the basis, now and whenever one changes.
    pub(super) async fn follow(self, loaded: Loaded, basis: Basis) {
        let several = match <[Source; 1]>::try_from(self.0) {
            Ok([one]) if !matches!(one.kind, Kind::Resources(_)) => {
                return one.follow(loaded).await;
            }
            Ok([one]) => vec![one],
            Err(several) => several,
        };
        let joined = Joined {
            several: Several::new(several.len()),
            alone: Alone::new(basis),
            loaded,
        };
        let together = Arc::new(std::sync::Mutex::new(joined));
        let mut following = JoinSet::new();
        for (at, source) in several.into_iter().enumerate() {
            let (own, mut changed) = watch::channel(None);
            following.spawn(source.follow(own));
            let together = together.clone();
            following.spawn(async move {
                while changed.changed().await.is_ok() {
                    let snapshot = changed.borrow_and_update().clone();
                    let mut together = together.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(snapshot) = snapshot {
                        together.take(at, snapshot);
                    }
                }
            });
        }
        while following.join_next().await.is_some() {}
    }
}

/// What several sources say together.
struct Joined {
    several: Several,
    /// What stands for itself among it.
    alone: Alone,
    loaded: Loaded,
}

impl Joined {
    /// Takes what one of them holds now.
    fn take(&mut self, at: usize, snapshot: Arc<Snapshot>) {
        self.several.take(at, snapshot);
        if let Some(all) = self.several.together() {
            let all = self.alone.judge(all);
            self.loaded.send_replace(Some(Arc::new(all)));
        }
    }
}

/// Where a source is, as a person wrote it.
enum Place {
    Directory(PathBuf),
    Resources(CustomResources),
    Repository(GitLocation),
}

impl Place {
    fn of(source: &Path, args: &ServeArgs, resources: Option<&CustomResources>) -> Result<Self> {
        if let Some(resources) = resources.filter(|_| source == Path::new(CUSTOM_RESOURCES)) {
            return Ok(Self::Resources(resources.clone()));
        }
        let address = source.to_str();
        let Some(address) = address.filter(|text| GitLocation::is_address(text)) else {
            return Ok(Self::Directory(canonical(source)?));
        };
        let path = args.path.as_deref().unwrap_or(Path::new(""));
        let location = GitLocation::of_address(address, &args.branch, path);
        Ok(Self::Repository(location.map_err(|error| error.problem())?))
    }

    /// A directory, or a repository without its branch.
    fn address(&self) -> String {
        match self {
            Self::Directory(root) => root.to_string_lossy().into_owned(),
            Self::Resources(_) => CUSTOM_RESOURCES.to_owned(),
            Self::Repository(location) => location.url.clone(),
        }
    }
}

/// What sources are called after: a repository, and its directory where several are of one.
fn names(places: &[Place]) -> Vec<String> {
    let name = |place: &Place| {
        let own = place.address();
        let same = places.iter().filter(|other| other.address() == own);
        let same = same.count();
        match place {
            Place::Repository(location) if same > 1 => {
                format!("{own}/{}", location.path.display())
            }
            Place::Repository(_) | Place::Directory(_) | Place::Resources(_) => own,
        }
    };
    places.iter().map(name).collect()
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(root) => write!(f, "{}", root.display()),
            Self::Resources(_) => f.write_str(CUSTOM_RESOURCES),
            Self::Repository(location) => {
                let GitLocation { url, branch, path } = location;
                write!(f, "{url}#{branch}:{}", path.display())
            }
        }
    }
}

/// One source that is named twice would have everything twice.
fn refuse_twice(addresses: &[String]) -> Result<()> {
    let twice = |at: &usize| addresses[..*at].contains(&addresses[*at]);
    match (0..addresses.len()).find(twice) {
        None => Ok(()),
        Some(at) => {
            let message = format!("`{}` is named twice", addresses[at]);
            Err(Problem::new(Class::User, "source-named-twice", message)
                .hint("Name each source once.")
                .into())
        }
    }
}

/// Which sources are not written.
struct ReadOnly<'a>(Vec<(&'a str, bool)>);

impl<'a> ReadOnly<'a> {
    fn of(args: &'a [String]) -> Self {
        Self(args.iter().map(|one| (&**one, false)).collect())
    }

    /// Whether a source of these names is among them.
    fn has(&mut self, names: &[&str]) -> bool {
        let mut has = false;
        for (one, is_used) in &mut self.0 {
            if names.iter().any(|name| begins_with(name, one)) {
                *is_used = true;
                has = true;
            }
        }
        has
    }

    /// One that is for no source is a mistake: that source would be written.
    fn refuse_idle(&self) -> Result<()> {
        match self.0.iter().find(|(_, is_used)| !is_used) {
            None => Ok(()),
            Some((idle, _)) => {
                let message = format!("`--read-only {idle}` is for no source");
                Err(Problem::new(Class::User, "read-only-unused", message)
                    .hint("Write a source as it is named to `boma serve`, or the beginning of its address, up to a `/`.")
                    .into())
            }
        }
    }
}

/// Which secret lets Boma into which repositories.
struct Credentials(Vec<Credential>);

struct Credential {
    /// What addresses begin with; empty: any.
    address: String,
    secret: String,
    is_used: bool,
}

impl Credentials {
    fn of(args: &[String]) -> Self {
        let credential = |arg: &String| {
            let (address, secret) = arg.rsplit_once('=').unwrap_or(("", arg));
            Credential {
                address: address.to_owned(),
                secret: secret.to_owned(),
                is_used: false,
            }
        };
        Self(args.iter().map(credential).collect())
    }

    /// The secret for an address: the one that says most of it.
    fn find(&mut self, url: &str) -> Option<String> {
        let fitting = self.0.iter_mut();
        let fitting = fitting.filter(|one| begins_with(url, &one.address));
        let found = fitting.max_by_key(|one| one.address.len())?;
        found.is_used = true;
        Some(found.secret.clone())
    }

    /// One that is for no source is a mistake, which would be found late.
    fn refuse_idle(&self) -> Result<()> {
        match self.0.iter().find(|one| !one.is_used) {
            None => Ok(()),
            Some(idle) => {
                let message = format!("the credential `{}` is for no source", idle.secret);
                Err(Problem::new(Class::User, "credential-unused", message)
                    .hint("Write `--credential ADDRESS=SECRET` with the beginning of a repository's address, up to a `/`, or leave it out.")
                    .into())
            }
        }
    }
}

/// Whether an address begins with another one: up to the end of a part, so that no other host or
/// repository is given a secret because its name goes on.
fn begins_with(url: &str, beginning: &str) -> bool {
    let beginning = beginning.trim_end_matches('/');
    let rest = url.strip_prefix(beginning);
    rest.is_some_and(|rest| beginning.is_empty() || rest.is_empty() || rest.starts_with('/'))
}

impl Source {
    fn root(&self) -> Option<&Path> {
        match &self.kind {
            Kind::Directory(root) => Some(root),
            Kind::Resources(_) => None,
            Kind::Repository { source, .. } => Some(source.root()),
        }
    }

    fn name(&self) -> String {
        match &self.kind {
            Kind::Directory(root) => root.to_string_lossy().into_owned(),
            Kind::Resources(_) => CUSTOM_RESOURCES.to_owned(),
            Kind::Repository { source, .. } => source.location().to_string(),
        }
    }

    async fn writing(&self, state: &Path) -> Writing {
        match &self.kind {
            _ if self.is_read_only => Writing::Nowhere,
            Kind::Directory(root) => Writing::Into(Writer::Directory(root.clone())),
            Kind::Resources(held) => {
                let writer = ResourceFiles::new(held.clone(), &self.label);
                Writing::Into(Writer::Resources(Arc::new(writer)))
            }
            Kind::Repository { source, told, .. } => {
                let credential = source.credential().clone();
                let location = source.location().clone();
                let place = sources(state).join(format!("{}.write", location.directory_name()));
                let branch = location.branch.clone();
                let Note { name, email, .. } = committer(String::new()).await;
                let repository = Repository {
                    writer: Mutex::new(GitWriter::new(location, place, credential)),
                    branch,
                    told: told.clone(),
                    name,
                    email,
                };
                Writing::Into(Writer::Repository(Box::new(repository)))
            }
        }
    }

    /// Reads it, now and whenever it changes.
    async fn follow(self, loaded: Loaded) {
        match self.kind {
            Kind::Directory(root) => directory::follow((root, self.label), loaded).await,
            Kind::Resources(held) => resources::follow((held, self.label), loaded).await,
            Kind::Repository {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::Failure;

    #[test]
    fn a_secret_is_for_the_repositories_that_it_names() {
        let args = ["all", "https://h/team=team", "https://h/team/a.git=a"];
        let mut credentials = Credentials::of(&args.map(str::to_owned));
        for (url, secret) in [
            ("https://h/team/a.git", "a"),
            ("https://h/team/b.git", "team"),
            ("https://h/teamwork/b.git", "all"),
        ] {
            assert_eq!(credentials.find(url).as_deref(), Some(secret), "{url}");
        }
        assert!(credentials.refuse_idle().is_ok());
        let mut only = Credentials::of(&["https://h/=x".to_owned()]);
        assert_eq!(only.find("https://h.evil/x.git"), None);
        let Err(Failure::Problem(problem)) = only.refuse_idle() else {
            panic!("it is refused");
        };
        assert_eq!(problem.code, "credential-unused");
        assert!(problem.to_string().contains("`x` is for no source"));
    }

    #[test]
    fn a_source_is_named_once() {
        let twice = ["/a", "/b", "/a"].map(str::to_owned);
        let Err(Failure::Problem(problem)) = refuse_twice(&twice) else {
            panic!("it is refused");
        };
        assert_eq!(problem.code, "source-named-twice");
        assert!(problem.to_string().contains("`/a` is named twice"));
        assert!(refuse_twice(&twice[..2]).is_ok());
    }
}
