//! Writing the status of custom resources: when it has changed, and only then.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use boma_engine::engine::EngineState;
use boma_manifest::Kind;
use boma_problem::IntoProblem;
use futures_util::StreamExt;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use kube::core::DynamicObject;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::status::{About, Home, differ_by_rest_alone, status};
use super::{CustomResources, Inner, NAMESPACES, api_resource, name_of};
use crate::error::KubernetesError;
use crate::names::{MANAGER, digest_of};

/// What comes within this is one change: a pass of the engine says much.
const SETTLE: Duration = Duration::from_millis(200);
/// The most that what comes within is one change.
const UNSETTLED: Duration = Duration::from_secs(5);
/// How often what changes by itself is written.
const RESTLESS: Duration = Duration::from_mins(5);
/// After how long a write that failed is tried again.
const AGAIN: Duration = Duration::from_secs(15);

/// Writes at one time: enough to keep an API server busy, and no flood.
const SIDE_BY_SIDE: usize = 8;

/// What was written of all.
struct Writes {
    /// Since when; before, somebody else did.
    began: Instant,
    /// By the name of the resource.
    last: HashMap<String, Written>,
}

/// What was written last.
struct Written {
    at: Instant,
    /// Digests of what was sent, and of what the API server has made of it.
    wanted: String,
    kept: String,
}

impl Written {
    fn new(wanted: &Value, kept: &Value) -> Self {
        Self {
            at: Instant::now(),
            wanted: digest(wanted),
            kept: digest(kept),
        }
    }

    fn is(&self, wanted: &Value, kept: &Value) -> bool {
        self.wanted == digest(wanted) && self.kept == digest(kept)
    }
}

fn digest(value: &Value) -> String {
    digest_of(value.to_string().as_bytes())
}

impl CustomResources {
    /// Keeps every status as the engine knows it, for ever.
    pub async fn report(self, mut state: watch::Receiver<Arc<EngineState>>) {
        let mut news = self.news();
        let mut written = Writes {
            began: Instant::now(),
            last: HashMap::new(),
        };
        loop {
            news.borrow_and_update();
            let now = state.borrow_and_update().clone();
            let begun = Instant::now();
            let again = self.inner.write_all(&now, &mut written).await;
            // Where there is much to write, more is put together.
            let settle = begun.elapsed().clamp(SETTLE, UNSETTLED);
            let changed = async {
                // Both are cancel-safe: a change that is not taken is there the next time.
                tokio::select! {
                    changed = news.changed() => changed.is_ok(),
                    changed = state.changed() => changed.is_ok(),
                }
            };
            let goes_on = match again {
                Some(again) => tokio::time::timeout(again, changed).await.unwrap_or(true),
                None => changed.await,
            };
            if !goes_on {
                return;
            }
            tokio::time::sleep(settle).await;
        }
    }
}

impl Inner {
    /// Writes what has changed; answers when to look again although nothing is told.
    async fn write_all(&self, state: &EngineState, written: &mut Writes) -> Option<Duration> {
        let mut again: Option<Duration> = None;
        let mut seen = HashSet::new();
        let mut due_now = Vec::new();
        for kind in Kind::ALL {
            for object in self.caches[kind as usize].all() {
                let name = name_of(kind, &object);
                let wanted = self.wanted(kind, &object, &name, state);
                let due = wanted
                    .as_ref()
                    .and_then(|wanted| written.due(&name, wanted, &object.data["status"]));
                seen.insert(name.clone());
                let Some((wanted, due)) = wanted.zip(due) else {
                    continue;
                };
                if !due.is_zero() {
                    again = Some(again.map_or(due, |again| again.min(due)));
                    continue;
                }
                // Not the whole object: there may be a thousand.
                let of = (kind, object.namespace(), object.name_any(), object.uid());
                due_now.push(async move {
                    let kept = self.write(of, &wanted).await;
                    (name, wanted, kept)
                });
            }
        }
        let mut writes = futures_util::stream::iter(due_now).buffer_unordered(SIDE_BY_SIDE);
        while let Some((name, wanted, kept)) = writes.next().await {
            match kept {
                Ok(kept) => {
                    written.last.insert(name, Written::new(&wanted, &kept));
                }
                // It went away, or was changed meanwhile: it is told of again.
                Err(error) if error.is_not_found() || error.is_conflict() => {}
                Err(error) => {
                    tracing::warn!(error = %error.problem(), "a status is written later");
                    again = Some(again.map_or(AGAIN, |again| again.min(AGAIN)));
                }
            }
        }
        drop(writes);
        written.last.retain(|name, _| seen.contains(name));
        again
    }

    fn wanted(
        &self,
        kind: Kind,
        object: &DynamicObject,
        name: &str,
        state: &EngineState,
    ) -> Option<Value> {
        let namespace = object.namespace()?;
        let namespace = self.caches[NAMESPACES].get("", &namespace)?;
        let project = self.project(&namespace)?;
        let project = project.map_err(|error| error.problem());
        let text = project.as_ref().ok().map(|project| {
            let mut memo = self.memo.lock().unwrap_or_else(PoisonError::into_inner);
            (project.to_string(), memo.text(kind, project, object, name))
        });
        let own = object.name_any();
        let home = match (&project, &text) {
            (Err(problem), _) => Err(problem),
            (Ok(_), Some((project, text))) => Ok(Home {
                project,
                own: &own,
                text,
            }),
            (Ok(_), None) => return None,
        };
        let about = About {
            kind,
            name,
            generation: object.metadata.generation.unwrap_or_default(),
            status: &object.data["status"],
            home,
        };
        status(&about, state, Timestamp::now())
    }

    async fn write(
        &self,
        (kind, namespace, name, uid): (Kind, Option<String>, String, Option<String>),
        wanted: &Value,
    ) -> Result<Value, KubernetesError> {
        let resource = api_resource(kind);
        let namespace = namespace.unwrap_or_default();
        let body = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            // One that was made anew has another status.
            "metadata": {"name": name, "namespace": namespace, "uid": uid},
            "status": wanted,
        });
        let client = self.registry.client();
        let api = Api::<DynamicObject>::namespaced_with(client, &namespace, &resource);
        let params = PatchParams::apply(MANAGER).force();
        let answer = api.patch_status(&name, &params, &Patch::Apply(&body)).await;
        let doing = format!("write the status of {} {namespace}/{name}", resource.kind);
        let answer = answer.map_err(KubernetesError::api(doing))?;
        let kept = answer.data["status"].clone();
        self.caches[kind as usize].put(answer);
        Ok(kept)
    }
}

impl Writes {
    /// When a status is to be written: now, or in a while; none: it is so.
    fn due(&self, name: &str, wanted: &Value, found: &Value) -> Option<Duration> {
        if found == wanted {
            return None;
        }
        let last = self.last.get(name);
        // The API server makes something else of it, and would do so again.
        if last.is_some_and(|last| last.is(wanted, found)) {
            return None;
        }
        if !differ_by_rest_alone(wanted, found) {
            return Some(Duration::ZERO);
        }
        let since = last.map_or(self.began, |last| last.at);
        Some(RESTLESS.saturating_sub(since.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_changes_by_itself_is_written_seldom() {
        let mut writes = Writes {
            began: Instant::now(),
            last: HashMap::new(),
        };
        let status = |phase: &str, used: u64| json!({"phase": phase, "storageBytesUsed": used});
        let found = status("Ready", 1);
        assert_eq!(writes.due("a", &found, &found), None);
        assert_eq!(
            writes.due("a", &status("Failed", 1), &found),
            Some(Duration::ZERO)
        );
        // So it is after a start, too: a thousand databases are no thousand writes then.
        assert_eq!(writes.due("a", &status("Ready", 2), &found), Some(RESTLESS));
        tokio::time::advance(RESTLESS).await;
        assert_eq!(
            writes.due("a", &status("Ready", 2), &found),
            Some(Duration::ZERO)
        );
        let written = Written::new(&status("Ready", 2), &found);
        writes.last.insert("a".to_owned(), written);
        assert_eq!(
            writes.due("a", &status("Ready", 2), &found),
            None,
            "not taken again"
        );
        assert_eq!(writes.due("a", &status("Ready", 3), &found), Some(RESTLESS));
    }
}
