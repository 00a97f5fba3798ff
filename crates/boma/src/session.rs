//! One installation, opened for one command.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use boma_backup::format::key::RepositoryKey;
use boma_engine::act::Surroundings;
use boma_engine::catalog::{Basis, Catalog};
use boma_engine::keys::{ApplicationKey, DatabaseKey};
use boma_engine::observed::Observed;
use boma_engine::source::{
    CUSTOM_RESOURCES, DirectorySource, Note, ResourceSource, Root, Roots, Snapshot, labels,
};
use boma_instance::Secret;
use boma_kubernetes::{CustomResources, KubernetesPlatform};
use boma_local::LocalPlatform;
use boma_local::config::{Builds, LocalConfig, default_state_dir};
use boma_manifest::{Kind, Manifest};
use boma_problem::{Class, IntoProblem, Problem};
use boma_web::{ProviderSettings, SigningKey};
use nix::unistd::{User, geteuid};

use crate::builds;
use crate::cli::{Global, PlatformName};
use crate::commands::secret;
use crate::configuration::{Configuration, DashboardSection};
use crate::terminal::Result;

/// What a command has to know of the PostgreSQL builds of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing: it plans nothing.
    NoBuilds,
    /// All of them: it plans.
    Builds,
}

/// An installation, opened for one command.
pub(crate) struct Opened<P> {
    /// Its platform.
    pub(crate) platform: Arc<P>,
    configuration: Configuration,
    state_dir: PathBuf,
}

/// The installation on this machine.
pub(crate) type Session = Opened<LocalPlatform>;

/// An installation in a Kubernetes cluster.
pub(crate) type ClusterSession = Opened<KubernetesPlatform>;

impl<P> Opened<P> {
    /// What manifests below a directory are read against.
    pub(crate) fn basis(&self, roots: Roots) -> Basis {
        basis(&self.configuration, roots)
    }

    /// Where this program keeps what it has to remember on this machine.
    pub(crate) fn state_dir(&self) -> &Path {
        &self.state_dir
    }
}

impl Session {
    /// Opens the installation that flags and environment name.
    pub(crate) async fn open(global: &Global, need: Need) -> Result<Self> {
        only_local(global)?;
        let state_dir = state_dir(global)?;
        let configuration = Configuration::read(&state_dir).map_err(|error| error.problem())?;
        let builds = match need {
            Need::NoBuilds => Builds::default(),
            Need::Builds => builds::discover()?,
        };
        let mut config = LocalConfig::new(state_dir.clone(), own_program()?, builds);
        config.new_key = Some(new_repository_key);
        config.judge_settings = Some(builds::judge_settings);
        configuration.apply_to(&mut config)?;
        let platform = LocalPlatform::open(config)
            .await
            .map_err(|error| error.problem())?;
        Ok(Self {
            platform: Arc::new(platform),
            configuration,
            state_dir,
        })
    }

    /// How people reach the dashboard.
    pub(crate) fn dashboard(&self) -> DashboardSection {
        self.configuration.dashboard().clone()
    }

    /// With whom people sign in who have no password here.
    pub(crate) async fn provider(&self) -> Result<Option<ProviderSettings>> {
        let dashboard = self.configuration.dashboard();
        let Some(section) = dashboard.provider() else {
            return Ok(None);
        };
        let secret = match &section.client_secret {
            Some(name) => {
                let secret = self.platform.named_secret(name).await?;
                Some(secret.ok_or_else(|| secret::missing(name))?)
            }
            None => None,
        };
        Ok(Some(section.settings(secret)))
    }

    /// Clock, passwords, and who acts.
    pub(crate) fn surroundings(command: &str) -> Surroundings {
        let around = Surroundings::new(actor(command));
        #[cfg(debug_assertions)]
        let around = crate::recorded::record(around);
        around
    }
}

impl ClusterSession {
    /// Opens the cluster that KUBECONFIG names, or the one around this program.
    pub(crate) async fn open(global: &Global) -> Result<Self> {
        let state_dir = state_dir(global)?;
        let configuration = Configuration::read(&state_dir).map_err(|error| error.problem())?;
        let mut config = configuration.kubernetes();
        config.new_key = Some(new_repository_key);
        let platform = KubernetesPlatform::open(config)
            .await
            .map_err(|error| error.problem())?;
        Ok(Self {
            platform: Arc::new(platform),
            configuration,
            state_dir,
        })
    }

    /// How people reach the dashboard.
    pub(crate) fn dashboard(&self) -> DashboardSection {
        self.configuration.dashboard().clone()
    }

    /// With whom people sign in who have no password here.
    pub(crate) async fn provider(&self) -> Result<Option<ProviderSettings>> {
        let Some(section) = self.configuration.dashboard().provider() else {
            return Ok(None);
        };
        let secret = match &section.client_secret {
            Some(name) => {
                let stored = self.platform.named_secret(name, CLIENT_SECRET).await?;
                let home = self.platform.home();
                Some(stored.ok_or_else(|| no_client_secret(home, name))?)
            }
            None => None,
        };
        Ok(Some(section.settings(secret)))
    }

    /// What sessions of the dashboard are signed with.
    pub(crate) async fn dashboard_key(&self) -> Result<SigningKey> {
        let new = boma_backup::store::random().map_err(|error| error.problem())?;
        let key = self.platform.dashboard_key(Secret::new(new)).await?;
        Ok(SigningKey::new(key.expose()))
    }

    /// The custom resources, if they are one of these sources.
    pub(crate) async fn resources(&self, sources: &[PathBuf]) -> Result<Option<CustomResources>> {
        if !reads_resources(sources) {
            return Ok(None);
        }
        let resources = self.platform.custom_resources().await;
        Ok(Some(resources.map_err(|error| error.problem())?))
    }

    /// Reads the manifests of a source.
    pub(crate) async fn load(&self, source: &Path) -> Result<Loaded> {
        match self.resources(&[source.to_owned()]).await? {
            Some(resources) => {
                let basis = |roots| self.basis(roots);
                Ok(load_cluster(&resources, Roots::default(), basis))
            }
            None => load(source, |roots| self.basis(roots)),
        }
    }
}

/// Whether the custom resources of a cluster are among these sources.
pub(crate) fn reads_resources(sources: &[PathBuf]) -> bool {
    let mut sources = sources.iter();
    sources.any(|source| source == Path::new(CUSTOM_RESOURCES))
}

/// The entry of a Secret that a provider knows the dashboard by.
const CLIENT_SECRET: &str = "client-secret";

fn no_client_secret(home: &str, name: &str) -> Problem {
    let message = format!("Secret {home}/{name} with entry `{CLIENT_SECRET}` is not there");
    Problem::new(Class::Config, "secret-missing", message).hint(format!(
        "`kubectl -n {home} create secret generic {name} --from-file={CLIENT_SECRET}=FILE` makes it."
    ))
}

/// Refuses what only works with processes on this machine.
fn only_local(global: &Global) -> Result<()> {
    match global.platform {
        PlatformName::Local => Ok(()),
        PlatformName::Kubernetes => Err(Problem::new(
            Class::User,
            "not-on-kubernetes",
            "this command works with databases on this machine only",
        )
        .hint("docs/kubernetes.md says what to use in its place; most often that is `kubectl`.")
        .into()),
    }
}

fn basis(configuration: &Configuration, roots: Roots) -> Basis {
    Basis {
        plans: configuration.plans(),
        roots,
    }
}

/// The state directory that flags and environment name.
pub(crate) fn state_dir(global: &Global) -> Result<PathBuf> {
    if let Some(dir) = &global.state_dir {
        return Ok(std::path::absolute(dir)?);
    }
    let var = |name: &str| std::env::var_os(name).map(PathBuf::from);
    default_state_dir(geteuid().is_root(), var).ok_or_else(|| {
        Problem::new(
            Class::User,
            "no-state-directory",
            "no state directory is known",
        )
        .hint("Name one with `--state-dir` or BOMA_STATE_DIR, or set HOME.")
        .into()
    })
}

/// Who acts, for the audit trail: the system user, the one behind sudo too, and the command.
pub(crate) fn actor(command: &str) -> String {
    let uid = geteuid();
    let user = match User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        Ok(None) | Err(_) => uid.to_string(),
    };
    match std::env::var("SUDO_USER") {
        Ok(behind) if !behind.is_empty() => format!("{behind} as {user}, boma {command}"),
        Ok(_) | Err(_) => format!("{user}, boma {command}"),
    }
}

/// Who commits, where git does not know: the system user, the one behind sudo, at this host.
pub(crate) async fn committer(message: String) -> Note {
    let behind = std::env::var("SUDO_USER")
        .ok()
        .filter(|user| !user.is_empty());
    let user = || {
        User::from_uid(geteuid())
            .ok()
            .flatten()
            .map(|user| user.name)
    };
    let name = behind.or_else(user).unwrap_or_else(|| "boma".to_owned());
    let host = nix::unistd::gethostname().unwrap_or_default();
    let email = format!("{name}@{}", host.to_string_lossy());
    Note::of(message, (name, email)).await
}

/// The program that agents are started with: this one, also after an upgrade has replaced its file.
fn own_program() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let text = program.to_string_lossy();
    Ok(text
        .strip_suffix(" (deleted)")
        .map_or_else(|| program.clone(), PathBuf::from))
}

/// The key of a new repository, in the form that people keep.
fn new_repository_key() -> std::result::Result<Secret<String>, Box<Problem>> {
    let bytes = boma_backup::store::random().map_err(|error| Box::new(error.problem()))?;
    Ok(RepositoryKey::new(bytes).export())
}

/// Manifests of directories, read and checked.
pub(crate) struct Loaded {
    /// The directories, absolute.
    pub(crate) roots: Roots,
    /// What they say together; not to be acted upon if a problem is an error.
    pub(crate) catalog: Catalog,
    /// Errors and warnings, all of them.
    pub(crate) problems: Vec<Problem>,
    /// Each manifest without errors.
    pub(crate) manifests: Vec<Manifest>,
}

impl Loaded {
    /// Whether there is an error.
    pub(crate) fn has_errors(&self) -> bool {
        self.problems.iter().any(Problem::is_error)
    }

    /// Where it comes from, as that is remembered; of several directories, the first.
    pub(crate) fn source(&self) -> Cow<'_, str> {
        match self.roots.all().first() {
            Some(root) => root.directory.to_string_lossy(),
            None => CUSTOM_RESOURCES.into(),
        }
    }

    /// The directory; of several, the first.
    pub(crate) fn root(&self) -> &Path {
        let first = self.roots.all().first();
        first.map_or(Path::new("."), |root| &root.directory)
    }
}

/// Reads the manifests of a directory.
pub(crate) fn load(source: &Path, basis: impl FnOnce(Roots) -> Basis) -> Result<Loaded> {
    Ok(load_all(Roots::one(canonical(source)?), basis))
}

/// The manifests that a cluster holds, and those below directories.
pub(crate) fn load_cluster(
    resources: &CustomResources,
    roots: Roots,
    basis: impl FnOnce(Roots) -> Basis,
) -> Loaded {
    let held = resources.read();
    let mut own = ResourceSource::labelled("").read(held.resources, Vec::new());
    own.problems = held.problems;
    // What somebody makes in a namespace that is no project's holds up nobody.
    let others = held.held_back.into_iter().map(Problem::warning);
    own.problems.extend(others);
    let mut snapshots = read_all(&roots);
    snapshots.push(own);
    loaded(roots, &snapshots, basis)
}

/// Directories that are read beside another one.
pub(crate) fn others(directories: &[PathBuf]) -> Result<Vec<Root>> {
    let directories: Vec<PathBuf> = directories
        .iter()
        .map(|one| canonical(one))
        .collect::<Result<_>>()?;
    let names: Vec<_> = directories
        .iter()
        .map(|one| one.to_string_lossy())
        .collect();
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    let labels = labels(&names);
    let root = |(label, directory)| Root { label, directory };
    Ok(labels
        .into_iter()
        .zip(directories.clone())
        .map(root)
        .collect())
}

/// Reads the manifests of several sources.
pub(crate) fn load_all(roots: Roots, basis: impl FnOnce(Roots) -> Basis) -> Loaded {
    let snapshots = read_all(&roots);
    loaded(roots, &snapshots, basis)
}

fn read_all(roots: &Roots) -> Vec<Snapshot> {
    let read = |root: &Root| DirectorySource::labelled(&root.directory, &root.label).read();
    roots.all().iter().map(read).collect()
}

fn loaded(roots: Roots, snapshots: &[Snapshot], basis: impl FnOnce(Roots) -> Basis) -> Loaded {
    let snapshots = || snapshots.iter();
    let mut problems: Vec<Problem> = snapshots().flat_map(Snapshot::problems).cloned().collect();
    let mut files: Vec<_> = snapshots().flat_map(|one| &one.files).collect();
    files.sort_by(|one, other| one.source.name.cmp(&other.source.name));
    let parsed = files.into_iter().map(|file| &file.parsed);
    let (catalog, more) = Catalog::build(parsed, &Arc::new(basis(roots.clone())));
    problems.extend(more);
    let manifests = snapshots().flat_map(Snapshot::manifests).cloned().collect();
    Loaded {
        roots,
        catalog,
        problems,
        manifests,
    }
}

/// The directory of manifests, absolute; it must be there.
pub(crate) fn canonical(source: &Path) -> Result<PathBuf> {
    std::fs::canonicalize(source).map_err(|error| {
        Problem {
            message: format!("read manifests in `{}`", source.display()),
            causes: vec![error.to_string()],
            ..Problem::new(Class::User, "source-unreadable", "")
        }
        .hint("Name the directory that holds the manifests: `boma apply DIRECTORY`.")
        .into()
    })
}

/// A database or an application that a person named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Named {
    Database(DatabaseKey),
    Application(ApplicationKey),
}

impl Named {
    /// What it is about, as events word it.
    pub(crate) fn subject(&self) -> String {
        match self {
            Self::Database(key) => format!("Database {key}"),
            Self::Application(key) => format!("Application {key}"),
        }
    }
}

/// What can be named.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    databases: Vec<DatabaseKey>,
    applications: Vec<ApplicationKey>,
}

impl Names {
    /// These.
    pub(crate) fn of(databases: Vec<DatabaseKey>, applications: Vec<ApplicationKey>) -> Self {
        Self {
            databases,
            applications,
        }
    }
}

impl From<&Observed> for Names {
    fn from(seen: &Observed) -> Self {
        Self {
            databases: seen.databases.keys().cloned().collect(),
            applications: seen.applications.keys().cloned().collect(),
        }
    }
}

impl<'m> FromIterator<&'m Manifest> for Names {
    fn from_iter<I: IntoIterator<Item = &'m Manifest>>(manifests: I) -> Self {
        let mut names = Self::default();
        for manifest in manifests {
            match named(manifest) {
                Named::Database(key) => names.databases.push(key),
                Named::Application(key) => names.applications.push(key),
            }
        }
        names
    }
}

/// What a manifest is about.
pub(crate) fn named(manifest: &Manifest) -> Named {
    let metadata = manifest.metadata();
    let (project, name) = (metadata.project.to_string(), metadata.name.as_str());
    match manifest.kind() {
        Kind::Database => Named::Database(DatabaseKey::new(project, name)),
        Kind::Application => Named::Application(ApplicationKey::new(project, name)),
    }
}

/// Finds what a person named: `name`, `kind/name`, or `kind/` and the whole identity.
pub(crate) fn find(seen: &Observed, text: &str) -> Result<Named> {
    find_among(&seen.into(), text)
}

/// The same, among names.
pub(crate) fn find_among(names: &Names, text: &str) -> Result<Named> {
    let (kind, name) = match text.split_once('/') {
        Some(("database" | "databases" | "db", name)) => (Some("database"), name),
        Some(("application" | "applications" | "app", name)) => (Some("application"), name),
        Some(_) | None => (None, text),
    };
    let is_it = |key_name: &str, whole: &str| key_name == name || whole == name;
    let databases = names
        .databases
        .iter()
        .filter(|key| kind != Some("application") && is_it(&key.name, &key.to_string()))
        .cloned()
        .map(Named::Database);
    let applications = names
        .applications
        .iter()
        .filter(|key| kind != Some("database") && is_it(&key.name, &key.to_string()))
        .cloned()
        .map(Named::Application);
    let mut found: Vec<_> = databases.chain(applications).collect();
    match (found.pop(), found.as_slice()) {
        (Some(one), []) => Ok(one),
        (Some(one), others) => {
            let mut names: Vec<_> = others.iter().chain([&one]).map(spelt_out).collect();
            names.sort();
            Err(Problem::new(
                Class::User,
                "name-ambiguous",
                format!("{text:?} is the name of {} resources", names.len()),
            )
            .hint(format!("Say which one: {}.", names.join(", ")))
            .into())
        }
        (None, _) => Err(unknown(names, kind, name)),
    }
}

fn spelt_out(named: &Named) -> String {
    match named {
        Named::Database(key) => format!("`database/{key}`"),
        Named::Application(key) => format!("`application/{key}`"),
    }
}

fn unknown(names: &Names, kind: Option<&str>, name: &str) -> crate::terminal::Failure {
    let databases = names.databases.iter().map(|key| key.name.to_string());
    let applications = names.applications.iter().map(|key| key.name.to_string());
    let known = databases.chain(applications);
    let nearest = known
        .map(|known| (strsim::jaro_winkler(&known, name), known))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    let problem = Problem::new(
        Class::User,
        "name-unknown",
        format!(
            "there is no {} {name:?}",
            kind.unwrap_or("database or application")
        ),
    );
    match nearest {
        Some((_, known)) => problem.hint(format!("Did you mean `{known}`?")),
        None => problem.hint("`boma get` lists what there is; `boma apply` makes what is new."),
    }
    .into()
}

/// The application that a person named.
pub(crate) fn find_application(seen: &Observed, text: &str) -> Result<ApplicationKey> {
    find_application_among(&seen.into(), text)
}

/// The same, among names.
pub(crate) fn find_application_among(names: &Names, text: &str) -> Result<ApplicationKey> {
    match find_among(names, &with_kind("application", text))? {
        Named::Application(key) => Ok(key),
        Named::Database(key) => Err(Problem::new(
            Class::User,
            "not-an-application",
            format!("{} is a database", key.name),
        )
        .into()),
    }
}

/// The database that a person named.
pub(crate) fn find_database(seen: &Observed, text: &str) -> Result<DatabaseKey> {
    find_database_among(&seen.into(), text)
}

/// The same, among names.
pub(crate) fn find_database_among(names: &Names, text: &str) -> Result<DatabaseKey> {
    match find_among(names, &with_kind("database", text))? {
        Named::Database(key) => Ok(key),
        Named::Application(key) => Err(Problem::new(
            Class::User,
            "not-a-database",
            format!("{} is an application", key.name),
        )
        .into()),
    }
}

pub(crate) fn with_kind(kind: &str, text: &str) -> String {
    let said = [
        "database",
        "databases",
        "db",
        "application",
        "applications",
        "app",
    ];
    match text.split_once('/') {
        Some((first, _)) if said.contains(&first) => text.to_owned(),
        Some(_) | None => format!("{kind}/{text}"),
    }
}
