//! `boma get`.

use std::collections::BTreeMap;
use std::path::Path;

use boma_engine::catalog::Basis;
use boma_engine::computed::{self, ApplicationComputed, DatabaseComputed, GrantComputed};
use boma_engine::keys::{ApplicationKey, DatabaseKey};
use boma_engine::observed::Observed;
use boma_engine::plan::{self, Asked, Plan};
use boma_engine::platform::Platform;
use boma_instance::Access;
use boma_manifest::Manifest;
use boma_problem::Place;
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::{GetArgs, Global, ListFormat};
use crate::commands::plan::new_id;
use crate::session::{Loaded, Named, Need, Session, find, load_all, named};
use crate::sources::roots_of;
use crate::table::Table;
use crate::terminal::{Exit, Result, Terminal};
use boma_engine::source::{LastChange, Roots};
use boma_engine::words::{self, bytes};

/// What is there, with what its manifests say where they can be read.
pub(crate) struct Inventory {
    pub(crate) seen: Observed,
    loaded: Option<Loaded>,
    plan: Option<Plan>,
}

impl Inventory {
    /// Looks at the platform, and at the manifests that were last applied.
    pub(crate) async fn take(session: &Session) -> Result<Self> {
        let seen = session.platform.observe().await?;
        let state = session.platform.layout().root();
        Ok(Self::of(seen, state, |root| session.basis(root)))
    }

    /// What was seen, with the manifests that were last applied; those of repositories are below
    /// the state directory.
    pub(crate) fn of(seen: Observed, state: &Path, basis: impl FnOnce(Roots) -> Basis) -> Self {
        let source = seen.source.as_ref();
        let roots = source.map(|source| roots_of(source, state));
        // Manifests that are gone or broken hide nothing of what runs.
        let is_there = |roots: &Roots| roots.all().iter().all(|root| root.directory.exists());
        let loaded = roots.filter(is_there).map(|roots| load_all(roots, basis));
        Self::with(seen, loaded)
    }

    /// What was seen, with manifests where they can be read.
    pub(crate) fn with(seen: Observed, loaded: Option<Loaded>) -> Self {
        Self {
            seen,
            loaded,
            plan: None,
        }
    }

    /// Plans what is left to do, so that it can be said what is as its manifest says. Needs a
    /// session that knows the PostgreSQL builds.
    pub(crate) fn with_plan(mut self) -> Self {
        if let Some(loaded) = self.loaded.as_ref().filter(|loaded| !loaded.has_errors()) {
            let now = Timestamp::now();
            let asked = Asked::default();
            self.plan = Some(plan::plan(
                &loaded.catalog,
                &self.seen,
                &asked,
                now,
                &mut new_id,
            ));
        }
        self
    }

    fn manifest(&self, kind: &str, key: &str) -> Option<&Manifest> {
        self.loaded.as_ref()?.manifests.iter().find(|manifest| {
            let (its_kind, metadata) = match manifest {
                Manifest::Database(one) => ("Database", &one.metadata),
                Manifest::Application(one) => ("Application", &one.metadata),
            };
            its_kind == kind && format!("{}/{}", metadata.project, metadata.name) == key
        })
    }

    /// Where a resource is written, and who changed that last as far as it is known.
    pub(crate) async fn written(&self, named: &Named) -> Option<String> {
        let manifest = match named {
            Named::Database(key) => self.manifest("Database", &key.to_string()),
            Named::Application(key) => self.manifest("Application", &key.to_string()),
        }?;
        let place = manifest.origin().place("metadata.name");
        let line = format!("{}:{}", place.file, place.line);
        let roots = &self.loaded.as_ref()?.roots;
        let change = LastChange::of(roots, &place.file).await;
        Some(change.map_or(line.clone(), |change| {
            format!("{line}, last changed by {}", words::last_change(&change))
        }))
    }

    /// Where everything is written, by [`Named::subject`].
    async fn all_written(&self) -> BTreeMap<String, WrittenView> {
        let Some(loaded) = &self.loaded else {
            return BTreeMap::new();
        };
        let places: Vec<_> = loaded
            .manifests
            .iter()
            .map(|one| (named(one).subject(), one.origin().place("metadata.name")))
            .collect();
        let files = places.iter().map(|(_, place)| &*place.file).collect();
        let changes = LastChange::of_all(&loaded.roots, &files).await;
        let view = |(subject, place): (String, Place)| {
            let last_change = changes.get(&*place.file).map(Into::into);
            let written = WrittenView {
                file: place.file.clone(),
                line: place.line,
                last_change,
            };
            (subject, written)
        };
        places.into_iter().map(view).collect()
    }

    /// What was measured of a database.
    pub(crate) fn database(&self, key: &DatabaseKey) -> DatabaseComputed {
        let catalog = self.loaded.as_ref().map(|loaded| &loaded.catalog);
        computed::database(key, catalog, &self.seen, self.plan.as_ref())
    }

    /// What was measured of an application.
    pub(crate) fn application(&self, key: &ApplicationKey) -> ApplicationComputed {
        let want = self
            .loaded
            .as_ref()
            .and_then(|loaded| loaded.catalog.application(key));
        let want = want.map(AsRef::as_ref);
        computed::application(key, want, &self.seen, self.plan.as_ref(), Timestamp::now())
    }
}

/// A resource for other programs.
#[derive(Serialize)]
struct View<C> {
    kind: &'static str,
    project: String,
    name: String,
    /// Where its manifest is; none: it has none that can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<WrittenView>,
    computed: C,
}

/// Where a resource is written, and who changed that file last.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenView {
    file: String,
    line: u32,
    /// None: the file is in no commit, or that cannot be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_change: Option<LastChangeView>,
}

/// The commit that changed a file last.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct LastChangeView {
    commit: String,
    author: String,
    at: Timestamp,
    subject: String,
    /// Whether it is this very commit; else one before it, which was not fetched.
    is_exact: bool,
    /// Whether the file says something else by now.
    is_modified: bool,
}

impl From<&LastChange> for LastChangeView {
    fn from(change: &LastChange) -> Self {
        let revision = change.revision.clone();
        Self {
            commit: revision.commit,
            author: revision.author,
            at: revision.at,
            subject: revision.subject,
            is_exact: change.is_exact,
            is_modified: change.is_modified,
        }
    }
}

/// What was asked for.
struct Chosen {
    databases: Vec<DatabaseKey>,
    applications: Vec<ApplicationKey>,
}

impl Chosen {
    fn of(what: Option<&str>, seen: &Observed) -> Result<Self> {
        let databases = || seen.databases.keys().cloned().collect();
        let applications = || seen.applications.keys().cloned().collect();
        Ok(match what {
            None => Self {
                databases: databases(),
                applications: applications(),
            },
            Some("databases" | "database" | "db") => Self {
                databases: databases(),
                applications: Vec::new(),
            },
            Some("applications" | "application" | "app" | "apps") => Self {
                databases: Vec::new(),
                applications: applications(),
            },
            Some(name) => match find(seen, name)? {
                Named::Database(key) => Self {
                    databases: vec![key],
                    applications: Vec::new(),
                },
                Named::Application(key) => Self {
                    databases: Vec::new(),
                    applications: vec![key],
                },
            },
        })
    }
}

/// Lists databases and applications.
pub(crate) async fn run(args: &GetArgs, global: &Global, terminal: Terminal) -> Result {
    let session = Session::open(global, Need::NoBuilds).await?;
    print(args, &Inventory::take(&session).await?, terminal).await
}

/// Prints what was asked for.
pub(crate) async fn print(args: &GetArgs, inventory: &Inventory, terminal: Terminal) -> Result {
    let chosen = Chosen::of(args.what.as_deref(), &inventory.seen)?;
    match args.output {
        ListFormat::Table => {
            let listed = Listed::of(inventory, &chosen);
            terminal.result(&listed.tables())?;
            if listed.is_empty() {
                terminal.status("There is nothing yet. `boma apply DIRECTORY` makes what its manifests describe.");
            }
        }
        ListFormat::Name => terminal.result(&Listed::of(inventory, &chosen).names())?,
        ListFormat::Json => terminal.json(&views(inventory, &chosen).await)?,
        ListFormat::Yaml => terminal.result(&yaml(inventory, &chosen)?)?,
    }
    Ok(Exit::Ok)
}

/// What is listed, as it was measured.
#[derive(Default)]
pub(crate) struct Listed {
    pub(crate) databases: Vec<(DatabaseKey, DatabaseComputed)>,
    pub(crate) applications: Vec<(ApplicationKey, ApplicationComputed)>,
}

impl Listed {
    fn of(inventory: &Inventory, chosen: &Chosen) -> Self {
        let databases = chosen.databases.iter();
        let applications = chosen.applications.iter();
        Self {
            databases: databases
                .map(|key| (key.clone(), inventory.database(key)))
                .collect(),
            applications: applications
                .map(|key| (key.clone(), inventory.application(key)))
                .collect(),
        }
    }

    /// Whether nothing is.
    pub(crate) fn is_empty(&self) -> bool {
        self.databases.is_empty() && self.applications.is_empty()
    }

    /// `kind/name`, one a line.
    pub(crate) fn names(&self) -> String {
        let databases = self.databases.iter();
        let databases = databases.map(|(key, _)| format!("database/{}\n", key.name));
        let applications = self.applications.iter();
        let applications = applications.map(|(key, _)| format!("application/{}\n", key.name));
        databases.chain(applications).collect()
    }

    /// Columns for people.
    pub(crate) fn tables(&self) -> String {
        let mut text = String::new();
        if !self.databases.is_empty() {
            let mut table = Table::new(&[
                "DATABASE", "PROJECT", "PHASE", "VERSION", "HOST", "PORT", "STORAGE",
            ]);
            for (key, one) in &self.databases {
                table.row([
                    key.name.to_string(),
                    key.project.to_string(),
                    one.phase.to_string(),
                    one.version.clone().unwrap_or_default(),
                    one.host.clone().unwrap_or_default(),
                    one.port.map(|port| port.to_string()).unwrap_or_default(),
                    one.storage_bytes_used.map(bytes).unwrap_or_default(),
                ]);
            }
            text.push_str(&table.render());
        }
        if !self.applications.is_empty() {
            if !text.is_empty() {
                text.push('\n');
            }
            let headings = ["APPLICATION", "PROJECT", "PHASE", "DATABASES", "VARIABLES"];
            let mut table = Table::new(&headings);
            for (key, one) in &self.applications {
                let grants: Vec<_> = one.grants.iter().map(granted).collect();
                table.row([
                    key.name.to_string(),
                    key.project.to_string(),
                    one.phase.to_string(),
                    grants.join(", "),
                    one.environment.join(", "),
                ]);
            }
            text.push_str(&table.render());
        }
        text
    }
}

fn granted(grant: &GrantComputed) -> String {
    match grant.access {
        Access::ReadOnly => format!("{} (read-only)", grant.database.name),
        Access::ReadWrite => grant.database.name.to_string(),
    }
}

async fn views(inventory: &Inventory, chosen: &Chosen) -> Vec<serde_json::Value> {
    let all = inventory.all_written().await;
    let written = |named: Named| all.get(&named.subject()).cloned();
    let databases = chosen.databases.iter().map(|key| {
        serde_json::to_value(View {
            kind: "Database",
            project: key.project.to_string(),
            name: key.name.to_string(),
            written: written(Named::Database(key.clone())),
            computed: inventory.database(key),
        })
    });
    let applications = chosen.applications.iter().map(|key| {
        serde_json::to_value(View {
            kind: "Application",
            project: key.project.to_string(),
            name: key.name.to_string(),
            written: written(Named::Application(key.clone())),
            computed: inventory.application(key),
        })
    });
    databases
        .chain(applications)
        .filter_map(std::result::Result::ok)
        .collect()
}

/// Manifests that can be applied again, each with its `computed` block.
fn yaml(inventory: &Inventory, chosen: &Chosen) -> Result<String> {
    let mut documents = Vec::new();
    for key in &chosen.databases {
        let manifest = inventory.manifest("Database", &key.to_string());
        let computed = block(&inventory.database(key))?;
        documents.extend(manifest.map(|manifest| manifest.to_yaml() + &computed));
    }
    for key in &chosen.applications {
        let manifest = inventory.manifest("Application", &key.to_string());
        let computed = block(&inventory.application(key))?;
        documents.extend(manifest.map(|manifest| manifest.to_yaml() + &computed));
    }
    Ok(documents.join("---\n"))
}

/// A `computed` block.
fn block(computed: &impl Serialize) -> Result<String> {
    #[derive(Serialize)]
    struct Block<'c, C> {
        computed: &'c C,
    }
    Ok(serde_saphyr::to_string(&Block { computed }).map_err(std::io::Error::other)?)
}
