//! The API server: what it told, and what is written to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use boma_instance::InstanceId;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::DynamicObject;
use kube::runtime::watcher::{self, Event};
use kube::{Client, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::cache::{Cache, Heard, Place, place_of};
use crate::compare::without_surplus;
use crate::desired::{Desired, Owner, secret_data, secret_entry};
use crate::error::KubernetesError;
use crate::kinds::Kind;
use crate::names::{INSTALLATION, MANAGER, PART, Part};
use crate::watches::Watches;

/// How long the first lists may take.
pub(crate) const FIRST_LISTS: Duration = Duration::from_secs(30);

/// How often a record is read and written again when somebody else was quicker.
const ATTEMPTS: u32 = 8;

/// Objects in a part of a list.
const LISTED: u32 = 50;

/// Entry of a Secret that holds a record.
const RECORD: &str = "record.json";

/// What to do with a record.
pub(crate) enum Change<T, A> {
    /// It is as it should be.
    Keep(A),
    /// It should be this.
    Write(T, A),
    /// It should be gone.
    Remove(A),
}

/// A cluster as Boma sees it.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    caches: [Cache; Kind::ALL.len()],
    /// Secrets of others that the configuration names, by name: each has a watch of its own.
    named: BTreeMap<String, Cache>,
    /// Counts what was heard of that was not known.
    news: watch::Sender<u64>,
    watches: Watches,
    /// Writes that the API server was asked for.
    writes: AtomicU64,
}

impl Cluster {
    /// Starts to watch, and returns when everything is known once.
    pub(crate) async fn open(
        client: Client,
        home: &str,
        named: BTreeSet<String>,
    ) -> Result<(Arc<Self>, JoinSet<()>), KubernetesError> {
        // What Boma is attached to is of the installation too, and managed by others.
        let ours = format!("{INSTALLATION}={home}");
        let cluster = Arc::new(Self {
            client,
            caches: Kind::ALL.map(|kind| Cache::of(kind.many())),
            named: named
                .iter()
                .map(|name| (name.clone(), Cache::default()))
                .collect(),
            news: watch::Sender::new(0),
            watches: Watches::default(),
            writes: AtomicU64::new(0),
        });
        let mut tasks = JoinSet::new();
        let mut whole = Vec::new();
        for kind in Kind::ALL {
            let is_whole = Arc::new(Notify::new());
            whole.push(is_whole.clone());
            let (cluster, ours) = (cluster.clone(), ours.clone());
            tasks.spawn(async move { cluster.watch(kind, &ours, &is_whole).await });
        }
        for name in named {
            let is_whole = Arc::new(Notify::new());
            whole.push(is_whole.clone());
            let (cluster, home) = (cluster.clone(), home.to_owned());
            tasks.spawn(async move { cluster.watch_named(&home, &name, &is_whole).await });
        }
        let all = async {
            for one in whole {
                one.notified().await;
            }
        };
        tokio::time::timeout(FIRST_LISTS, all)
            .await
            .map_err(|_too_late| cluster.watches.not_listed())?;
        Ok((cluster, tasks))
    }

    /// Keeps the cache of one kind, for ever.
    async fn watch(&self, kind: Kind, ours: &str, is_whole: &Notify) {
        let ours = if kind == Kind::Event {
            // They bear no labels.
            watched().fields("reason=FailedCreate")
        } else {
            watched().labels(ours)
        };
        let api = Api::<DynamicObject>::all_with(self.client.clone(), &kind.resource());
        self.follow(api, ours, self.cache(kind), is_whole).await;
    }

    /// Keeps one Secret that others made, for ever.
    async fn watch_named(&self, home: &str, name: &str, is_whole: &Notify) {
        let one = watched().fields(&format!("metadata.name={name}"));
        let api = self.api(Kind::Secret, home);
        if let Some(cache) = self.named.get(name) {
            self.follow(api, one, cache, is_whole).await;
        }
    }

    async fn follow(
        &self,
        api: Api<DynamicObject>,
        which: watcher::Config,
        cache: &Cache,
        is_whole: &Notify,
    ) {
        let told = |event| {
            let is_a_note = matches!(&event, Event::Apply(object) if is_a_note(object));
            match cache.heard(event) {
                Heard::News if !is_a_note => self.tell(),
                Heard::News | Heard::Nothing => {}
                Heard::Whole => {
                    is_whole.notify_one();
                    self.tell();
                }
            }
        };
        self.watches.follow(api, which, told).await;
    }

    /// Counts what was heard of: grows with each change.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// A Secret of others that the configuration names.
    pub(crate) fn named(&self, namespace: &str, name: &str) -> Option<Arc<DynamicObject>> {
        self.named.get(name)?.get(namespace, name)
    }

    /// How many writes were asked for.
    pub(crate) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Objects of a kind.
    pub(crate) fn all(&self, kind: Kind) -> impl Iterator<Item = Arc<DynamicObject>> + use<> {
        self.cache(kind).all()
    }

    /// Secrets that are this to Boma.
    pub(crate) fn secrets(&self, part: Part) -> impl Iterator<Item = Arc<DynamicObject>> + use<> {
        self.cache(Kind::Secret).of_part(part)
    }

    /// Where the Secrets are that are this to Boma, and their versions.
    pub(crate) fn versions_of(&self, part: Part) -> Vec<(Place, u64)> {
        self.cache(Kind::Secret).versions_of(part)
    }

    /// The version of one object.
    pub(crate) fn version(&self, kind: Kind, namespace: &str, name: &str) -> Option<u64> {
        self.cache(kind).version(namespace, name)
    }

    /// An object of a kind that belongs to an instance.
    pub(crate) fn of_instance(&self, kind: Kind, id: InstanceId) -> Option<Arc<DynamicObject>> {
        self.cache(kind).of_instance(id)
    }

    /// One object.
    pub(crate) fn get(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Option<Arc<DynamicObject>> {
        self.cache(kind).get(namespace, name)
    }

    /// Makes an object so, unless it is. Tells what it is then.
    pub(crate) async fn apply(
        &self,
        wanted: &Desired,
    ) -> Result<Arc<DynamicObject>, KubernetesError> {
        let Desired {
            kind,
            namespace,
            name,
            ..
        } = wanted;
        if let Some(found) = self.get(*kind, namespace, name)
            && wanted.is_met_by(&found)
        {
            return Ok(found);
        }
        let params = match wanted.owner {
            Owner::Boma => PatchParams::apply(MANAGER).force(),
            Owner::Others => PatchParams::apply(MANAGER),
        };
        let object = wanted.object();
        self.wrote();
        let answer = self
            .api(*kind, namespace)
            .patch(name, &params, &Patch::Apply(&object))
            .await
            .map_err(KubernetesError::api(format!(
                "write {}",
                said(*kind, namespace, name)
            )))?;
        let mut answer = self.keep(*kind, answer);
        if let Some(patch) = without_surplus(&wanted.body, &answer.data)
            && wanted.owner == Owner::Boma
        {
            answer = self.merge(*kind, (namespace, name), &patch).await?;
        }
        // Applied again and again it would be no better: whoever asks is told, and asks less often.
        if wanted.is_met_by(&answer) {
            Ok(answer)
        } else {
            Err(KubernetesError::NotKept {
                what: said(*kind, namespace, name),
            })
        }
    }

    async fn merge(
        &self,
        kind: Kind,
        (namespace, name): (&str, &str),
        patch: &Value,
    ) -> Result<Arc<DynamicObject>, KubernetesError> {
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        self.wrote();
        let answer = self
            .api(kind, namespace)
            .patch(name, &params, &Patch::Merge(patch))
            .await
            .map_err(KubernetesError::api(format!(
                "write {}",
                said(kind, namespace, name)
            )))?;
        Ok(self.keep(kind, answer))
    }

    /// Takes everything back that Boma has written into an object of others, if it still is the
    /// one that was looked at.
    pub(crate) async fn release(
        &self,
        kind: Kind,
        object: &DynamicObject,
    ) -> Result<(), KubernetesError> {
        let (namespace, name) = place_of(object);
        let resource = kind.resource();
        // What a field manager applies no longer, the API server removes.
        let nothing = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {"name": name, "namespace": namespace, "uid": object.uid()},
        });
        self.wrote();
        let answer = self
            .api(kind, &namespace)
            .patch(
                &name,
                &PatchParams::apply(MANAGER).force(),
                &Patch::Apply(&nothing),
            )
            .await
            .map_err(KubernetesError::api(format!(
                "let go of {}",
                said(kind, &namespace, &name)
            )));
        match answer {
            Ok(_released) => {}
            Err(error) if error.is_not_found() || error.is_conflict() => {}
            Err(error) => return Err(error),
        }
        self.cache(kind).remove(&namespace, &name);
        Ok(())
    }

    /// Writes one annotation of an object, or takes it away, if it still is the one that was looked
    /// at. What is applied otherwise does not speak of it.
    pub(crate) async fn annotate(
        &self,
        kind: Kind,
        object: &DynamicObject,
        (key, value): (&str, Option<&str>),
    ) -> Result<(), KubernetesError> {
        let (namespace, name) = place_of(object);
        let patch = json!({"metadata": {"uid": object.uid(), "annotations": {key: value}}});
        let params = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        self.wrote();
        let answer = self
            .api(kind, &namespace)
            .patch(&name, &params, &Patch::Merge(&patch))
            .await
            .map_err(KubernetesError::api(format!(
                "write {}",
                said(kind, &namespace, &name)
            )))?;
        self.keep(kind, answer);
        Ok(())
    }

    /// Makes an object that must not be there yet; none: it is.
    pub(crate) async fn create(
        &self,
        wanted: &Desired,
    ) -> Result<Option<Arc<DynamicObject>>, KubernetesError> {
        let object =
            serde_json::from_value::<DynamicObject>(wanted.object()).map_err(|source| {
                KubernetesError::Record {
                    namespace: wanted.namespace.clone(),
                    name: wanted.name.clone(),
                    source,
                }
            })?;
        let params = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        self.wrote();
        let doing = format!(
            "make {}",
            said(wanted.kind, &wanted.namespace, &wanted.name)
        );
        let answer = self
            .api(wanted.kind, &wanted.namespace)
            .create(&params, &object)
            .await
            .map_err(KubernetesError::api(doing));
        match answer {
            Ok(answer) => Ok(Some(self.keep(wanted.kind, answer))),
            Err(error) if error.is_conflict() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes an object away, if it still is the one that was looked at.
    pub(crate) async fn delete(
        &self,
        kind: Kind,
        object: &DynamicObject,
    ) -> Result<(), KubernetesError> {
        let is_it = Preconditions {
            uid: object.uid(),
            resource_version: None,
        };
        self.delete_if(kind, object, is_it).await
    }

    async fn delete_if(
        &self,
        kind: Kind,
        object: &DynamicObject,
        preconditions: Preconditions,
    ) -> Result<(), KubernetesError> {
        let (namespace, name) = place_of(object);
        let params = DeleteParams::background().preconditions(preconditions);
        self.wrote();
        let answer = self
            .api(kind, &namespace)
            .delete(&name, &params)
            .await
            .map_err(KubernetesError::api(format!(
                "delete {}",
                said(kind, &namespace, &name)
            )));
        match answer {
            // One with finalizers, or whose pods end first, stays for a while, and says that it ends.
            Ok(either) => {
                match either.left() {
                    Some(ending) => {
                        self.keep(kind, ending);
                    }
                    None => {
                        self.cache(kind).remove(&namespace, &name);
                    }
                }
                Ok(())
            }
            Err(error) if error.is_not_found() => {
                self.cache(kind).remove(&namespace, &name);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Reads an object anew, past the cache.
    pub(crate) async fn read(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<DynamicObject>>, KubernetesError> {
        let known = self.cache(kind).version(namespace, name);
        let found = self
            .api(kind, namespace)
            .get_opt(name)
            .await
            .map_err(KubernetesError::api(format!(
                "read {}",
                said(kind, namespace, name)
            )))?;
        if found.is_none() {
            self.cache(kind).forget(namespace, name, known);
        }
        Ok(found.map(|found| self.keep(kind, found)))
    }

    /// Changes a record: reads, decides, writes, and does so again when somebody else was quicker.
    /// `empty` says where the record is and what it is labelled with.
    pub(crate) async fn change<T, A>(
        &self,
        empty: &Desired,
        decide: impl Fn(Option<T>) -> Result<Change<T, A>, KubernetesError> + Send,
    ) -> Result<A, KubernetesError>
    where
        T: Serialize + DeserializeOwned + Send,
        A: Send,
    {
        let (namespace, name) = (empty.namespace.as_str(), empty.name.as_str());
        for _ in 0..ATTEMPTS {
            let found = self.get(Kind::Secret, namespace, name);
            let record = found.as_deref().map(record::<T>).transpose()?;
            match (decide(record)?, found) {
                (Change::Keep(answer), _) | (Change::Remove(answer), None) => return Ok(answer),
                (Change::Remove(answer), Some(found)) => {
                    // Nothing may have been added since it was decided that nothing is left.
                    let is_unchanged = Preconditions {
                        uid: found.uid(),
                        resource_version: found.resource_version(),
                    };
                    match self.delete_if(Kind::Secret, &found, is_unchanged).await {
                        Ok(()) => return Ok(answer),
                        Err(error) if error.is_conflict() => {}
                        Err(error) => return Err(error),
                    }
                }
                (Change::Write(record, answer), None) => {
                    let mut wanted = empty.clone();
                    wanted.body = body(&record, empty)?;
                    if self.create(&wanted).await?.is_some() {
                        return Ok(answer);
                    }
                }
                (Change::Write(record, answer), Some(found)) => {
                    let object = DynamicObject {
                        data: body(&record, empty)?,
                        ..DynamicObject::clone(&found)
                    };
                    match self.replace(&object).await {
                        Ok(()) => return Ok(answer),
                        Err(error) if error.is_conflict() || error.is_not_found() => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            self.read(Kind::Secret, namespace, name).await?;
        }
        Err(KubernetesError::Contended {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    async fn replace(&self, object: &DynamicObject) -> Result<(), KubernetesError> {
        let (namespace, name) = place_of(object);
        let params = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        self.wrote();
        let answer = self
            .api(Kind::Secret, &namespace)
            .replace(&name, &params, object)
            .await
            .map_err(KubernetesError::api(format!(
                "write {}",
                said(Kind::Secret, &namespace, &name)
            )))?;
        self.keep(Kind::Secret, answer);
        Ok(())
    }

    pub(crate) fn api(&self, kind: Kind, namespace: &str) -> Api<DynamicObject> {
        let resource = kind.resource();
        if namespace.is_empty() {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), namespace, &resource)
        }
    }

    fn cache(&self, kind: Kind) -> &Cache {
        &self.caches[kind.place()]
    }

    fn keep(&self, kind: Kind, object: DynamicObject) -> Arc<DynamicObject> {
        let place = place_of(&object);
        let own = Arc::new(object.clone());
        let is_quiet = is_a_note(&object);
        if self.cache(kind).put(object) && !is_quiet {
            self.tell();
        }
        self.get(kind, &place.0, &place.1).unwrap_or(own)
    }

    fn tell(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    /// Counts a write that is about to be asked for.
    pub(crate) fn wrote(&self) {
        self.writes.fetch_add(1, Ordering::Relaxed);
    }
}

/// How everything is watched: lists come in parts, which are in memory as trees before they are packed.
pub(crate) fn watched() -> watcher::Config {
    watcher::Config::default().page_size(LISTED)
}

impl Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

/// Whether an object notes what was done. Nothing follows from it: were it news, each look at the
/// world would lead to the next one.
fn is_a_note(object: &DynamicObject) -> bool {
    object.labels().get(PART).map(String::as_str) == Some(Part::Journal.word())
}

/// Reads the record of a Secret.
pub(crate) fn record<T: DeserializeOwned>(secret: &DynamicObject) -> Result<T, KubernetesError> {
    let bytes = secret_entry(secret, RECORD).unwrap_or_default();
    serde_json::from_slice(&bytes).map_err(|source| {
        let (namespace, name) = place_of(secret);
        KubernetesError::Record {
            namespace,
            name,
            source,
        }
    })
}

fn body<T: Serialize>(record: &T, place: &Desired) -> Result<Value, KubernetesError> {
    let bytes = serde_json::to_vec(record).map_err(|source| KubernetesError::Record {
        namespace: place.namespace.clone(),
        name: place.name.clone(),
        source,
    })?;
    Ok(json!({
        "type": "lowops.manifests/record",
        "data": secret_data([(RECORD, bytes.as_slice())]),
    }))
}

fn said(kind: Kind, namespace: &str, name: &str) -> String {
    let kind = kind.resource().kind;
    if namespace.is_empty() {
        format!("{kind} {name}")
    } else {
        format!("{kind} {namespace}/{name}")
    }
}
