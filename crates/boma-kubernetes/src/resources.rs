//! Custom resources as a source of manifests.
//!
//! ```text
//!   databases ─┐
//!   applications ─► caches ─► read: each as a file would have it ─► the source's snapshot
//!   namespaces ─┘             (whose project it is, its namespace says)
//!
//!   the engine's state ─► status (pure) ─► written where it has changed
//! ```
//!
//! Nothing but the status is written by itself, and no finalizer is set: data hangs on the records
//! of Boma and on volumes, not on these objects. People change specifications in the dashboard.

mod memo;
mod problem;
mod report;
mod status;
mod write;

use std::cell::LazyCell;
use std::collections::HashSet;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use boma_engine::catalog::Subject;
use boma_engine::keys::{ApplicationKey, DatabaseKey};
use boma_engine::source::{Former, Resource};
use boma_manifest::{Kind, ProjectIdentity};
use boma_problem::{IntoProblem, Place, Problem};
use kube::api::{Api, ListParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Client, ResourceExt};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::cache::{Cache, Heard, Many};
use crate::cluster::{FIRST_LISTS, watched};
use crate::definitions::{GROUP, VERSION};
use crate::error::KubernetesError;
use crate::kinds;
use crate::platform::Registry;
use crate::projects::{self, Owner};
use crate::watches::Watches;
use memo::Memo;
use problem::HomelessError;
pub use write::{ResourceChange, WrittenResource};

/// What the caches hold, in their order.
const NAMESPACES: usize = Kind::ALL.len();

/// The custom resources of a cluster. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct CustomResources {
    inner: Arc<Inner>,
    /// They end with the last clone.
    _tasks: Arc<JoinSet<()>>,
}

struct Inner {
    registry: Registry,
    caches: [Cache; NAMESPACES + 1],
    memo: Mutex<Memo>,
    watches: Watches,
    news: watch::Sender<u64>,
}

/// What the API server holds at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The manifests.
    pub resources: Vec<Resource>,
    /// What was in force and cannot be told any more: nothing should be acted upon.
    pub problems: Vec<Problem>,
    /// What is wrong with others.
    pub held_back: Vec<Problem>,
}

/// Name of a kind in addresses.
pub(crate) const fn plural(kind: Kind) -> &'static str {
    match kind {
        Kind::Database => "databases",
        Kind::Application => "applications",
    }
}

/// Group, version and path of a kind.
pub(crate) fn api_resource(kind: Kind) -> ApiResource {
    ApiResource {
        group: GROUP.to_owned(),
        version: VERSION.to_owned(),
        api_version: format!("{GROUP}/{VERSION}"),
        kind: kind.as_str().to_owned(),
        plural: plural(kind).to_owned(),
    }
}

impl CustomResources {
    /// Starts to watch, and returns when everything is known once.
    pub(crate) async fn open(registry: Registry) -> Result<Self, KubernetesError> {
        let client = registry.client();
        for kind in Kind::ALL {
            ensure_defined(&client, kind).await?;
        }
        let inner = Arc::new(Inner {
            registry,
            caches: [
                Cache::of(Many::Many),
                Cache::of(Many::Many),
                Cache::of(Many::Few),
            ],
            memo: Mutex::default(),
            watches: Watches::default(),
            news: watch::Sender::new(0),
        });
        let mut tasks = JoinSet::new();
        let mut whole = Vec::new();
        let kinds = Kind::ALL.map(api_resource).into_iter();
        for (at, resource) in kinds.chain([kinds::Kind::Namespace.resource()]).enumerate() {
            let is_whole = Arc::new(Notify::new());
            whole.push(is_whole.clone());
            let (inner, api) = (inner.clone(), Api::all_with(client.clone(), &resource));
            tasks.spawn(async move { inner.watch(at, api, &is_whole).await });
        }
        let all = async {
            for one in whole {
                one.notified().await;
            }
        };
        tokio::time::timeout(FIRST_LISTS, all)
            .await
            .map_err(|_too_late| inner.watches.not_listed())?;
        Ok(Self {
            inner,
            _tasks: Arc::new(tasks),
        })
    }

    /// What changes whenever something was heard of that may be read anew.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.inner.news.subscribe()
    }

    /// What the API server holds. What is being deleted counts as gone.
    pub fn read(&self) -> Held {
        self.inner.read()
    }
}

impl CustomResources {
    /// Takes what was just stored.
    fn keep(&self, kind: Kind, object: DynamicObject) {
        if self.inner.caches[kind as usize].put(object) {
            self.inner.news.send_modify(|count| *count += 1);
        }
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// What is known of a namespace: its project, or why it has none; none: it is another
    /// installation's. And whether it is being deleted.
    pub(crate) async fn namespace(
        &self,
        name: &str,
    ) -> (Option<Result<ProjectIdentity, Box<Problem>>>, bool) {
        let inner = &self.inner;
        let told = |namespace: &DynamicObject| {
            let project = inner.project(namespace);
            let project = project.map(|one| one.map_err(|error| Box::new(error.problem())));
            (project, namespace.metadata.deletion_timestamp.is_some())
        };
        let cached = inner.caches[NAMESPACES].get("", name);
        let cached = cached.as_deref().map(told);
        // One that was made or given to a project a moment ago may not have been told of yet.
        match cached {
            Some((Some(Ok(_)) | None, _)) => {}
            Some((Some(Err(_)), _)) | None => {
                let resource = kinds::Kind::Namespace.resource();
                let api = Api::<DynamicObject>::all_with(inner.registry.client(), &resource);
                if let Ok(Some(namespace)) = api.get_opt(name).await {
                    return told(&namespace);
                }
            }
        }
        cached.unwrap_or((None, false))
    }
}

/// Refuses a cluster that does not know a kind: without its list, everything would be missing.
async fn ensure_defined(client: &Client, kind: Kind) -> Result<(), KubernetesError> {
    let api = Api::<DynamicObject>::all_with(client.clone(), &api_resource(kind));
    let listed = api.list(&ListParams::default().limit(1)).await;
    match listed.map_err(KubernetesError::api(format!("list {}", plural(kind)))) {
        Ok(_some) => Ok(()),
        Err(error) if error.is_not_found() => Err(KubernetesError::NoDefinitions),
        Err(error) => Err(error),
    }
}

impl Inner {
    async fn watch(&self, at: usize, api: Api<DynamicObject>, is_whole: &Notify) {
        let told = |event| match self.caches[at].heard(event) {
            Heard::Nothing => {}
            Heard::News => self.news.send_modify(|count| *count += 1),
            Heard::Whole => {
                is_whole.notify_one();
                self.news.send_modify(|count| *count += 1);
            }
        };
        self.watches.follow(api, watched(), told).await;
    }

    fn read(&self) -> Held {
        let registered = LazyCell::new(|| self.registry.subjects());
        let mut memo = self.memo.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held = Held::default();
        let mut seen = HashSet::new();
        for kind in Kind::ALL {
            for object in self.caches[kind as usize].all() {
                let Some(namespace) = object
                    .namespace()
                    .and_then(|name| self.caches[NAMESPACES].get("", &name))
                else {
                    continue;
                };
                if object.metadata.deletion_timestamp.is_some() {
                    continue;
                }
                let name = name_of(kind, &object);
                match self.project(&namespace) {
                    None => {}
                    Some(Ok(project)) => {
                        let former = former(kind, &project, &object, &registered);
                        held.resources.push(Resource {
                            text: memo.text(kind, &project, &object, &name),
                            name: name.clone(),
                            former,
                        });
                        seen.insert(name);
                    }
                    Some(Err(error)) => held.without_project(&error, &object, &name),
                }
            }
        }
        memo.keep_only(&seen);
        held
    }

    /// The project of a namespace; none: it is another installation's.
    fn project(&self, namespace: &DynamicObject) -> Option<Result<ProjectIdentity, HomelessError>> {
        let name = || namespace.name_any();
        let home = self.registry.home();
        let identity = match projects::owner(home, namespace) {
            Owner::OtherInstallation => return None,
            Owner::Nobody => {
                let (namespace, home) = (name(), home.to_owned());
                return Some(Err(HomelessError::NoProject { namespace, home }));
            }
            Owner::Project(identity) => identity,
        };
        let parsed = identity.parse::<ProjectIdentity>();
        let own = self.registry.namespace(&identity);
        Some(match (parsed, own) {
            (Err(source), _) => Err(HomelessError::Identity {
                namespace: name(),
                source,
            }),
            (Ok(_), Some(own)) if own != name() => Err(HomelessError::OtherNamespace {
                namespace: name(),
                project: identity,
                own,
            }),
            (Ok(project), _) => Ok(project),
        })
    }
}

impl Held {
    /// One whose namespace is no project's is nobody's; one that was in force has to be missed.
    fn without_project(&mut self, error: &HomelessError, object: &DynamicObject, name: &str) {
        let place = Place {
            file: format!("{}/{name}", boma_engine::source::CUSTOM_RESOURCES),
            line: 1,
            column: 1,
            length: 1,
            text: String::new(),
        };
        let problem = error.problem().at(place);
        if was_in_force(object) {
            self.problems.push(problem);
        } else {
            self.held_back.push(problem);
        }
    }
}

/// What names a resource among all of the cluster: `namespace/databases/name`.
pub(crate) fn name_of(kind: Kind, object: &DynamicObject) -> String {
    let namespace = object.namespace().unwrap_or_default();
    format!("{namespace}/{}/{}", plural(kind), object.name_any())
}

fn was_in_force(object: &DynamicObject) -> bool {
    object.data["status"]["observedGeneration"].is_i64()
}

fn former(
    kind: Kind,
    project: &ProjectIdentity,
    object: &DynamicObject,
    registered: &impl Deref<Target = HashSet<Subject>>,
) -> Former {
    if was_in_force(object) {
        return Former::InForce;
    }
    let (project, name) = (project.to_string(), object.name_any());
    let subject = match kind {
        Kind::Database => Subject::from(&DatabaseKey::new(project, name)),
        Kind::Application => Subject::from(&ApplicationKey::new(project, name)),
    };
    if registered.contains(&subject) {
        Former::Perhaps(subject)
    } else {
        Former::New
    }
}
