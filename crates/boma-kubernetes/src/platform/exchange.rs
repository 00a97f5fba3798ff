//! Two instances change places: the end of a restore in place, and its undoing.
//!
//! ```text
//!   both servers stopped ─► both without a pod ─► one write ─► the engine goes on
//! ```
//!
//! Objects are not renamed. What is recorded of a database and of all that stands beside it is in
//! one Secret, and says which instance is which and what its objects are called; so the exchange is
//! that one write, and either happens or does not. The next pass makes the objects so: where the
//! Service leads, what pods are labelled with, and what volume claims say.

use boma_engine::keys::DatabaseKey;
use boma_engine::observed::{Life, Replacement};
use boma_engine::platform::PlatformError;
use boma_instance::{InstanceId, Power};
use jiff::Timestamp;
use kube::api::ListParams;

use super::databases::Registered;
use super::waiting::Going;
use super::{Inner, KubernetesPlatform};
use crate::error::{KubernetesError, boxed};
use crate::kinds::Kind;
use crate::names;

impl KubernetesPlatform {
    /// Remembers that a person wants a database replaced; tells whether that is new. The next pass,
    /// of whoever makes one, brings it about.
    ///
    /// # Errors
    /// Nothing of that name is on record, or the API server does not take it.
    pub async fn ask_replacement(
        &self,
        key: &DatabaseKey,
        wish: &Replacement,
    ) -> Result<bool, PlatformError> {
        let one = self.inner.registered_as(key).map_err(boxed)?;
        let asked = self
            .inner
            .change_lineage(&one.namespace, key, |lineage| {
                let is_new = lineage.wish.is_none();
                if is_new {
                    lineage.wish = Some(wish.clone());
                }
                Ok(is_new)
            })
            .await;
        asked.map_err(boxed)
    }

    /// Gives a replacement up that has not come to its end; tells whether there was one.
    ///
    /// # Errors
    /// Nothing of that name is on record, or the API server does not take it.
    pub async fn give_up_replacement(&self, key: &DatabaseKey) -> Result<bool, PlatformError> {
        let one = self.inner.registered_as(key).map_err(boxed)?;
        let given_up = self
            .inner
            .change_lineage(&one.namespace, key, |lineage| {
                Ok(lineage.wish.take().is_some())
            })
            .await;
        given_up.map_err(boxed)
    }
}

impl Inner {
    pub(super) async fn exchange(
        &self,
        key: &DatabaseKey,
        id: InstanceId,
        beside: &DatabaseKey,
        since: Timestamp,
    ) -> Result<(), KubernetesError> {
        let one = self.recorded_as(key)?;
        if one.row.id == id {
            // Done before; whoever repeats it is told the same.
            return Ok(());
        }
        let other = self.recorded_as(beside)?;
        for each in [&one, &other] {
            self.end_stopped(each).await?;
        }
        let former = one.row.id;
        let kept = Life::Retired {
            since,
            until: Timestamp::MAX,
        };
        self.change_lineage(&one.namespace, key, |lineage| {
            let given = lineage.first.id;
            if given == id {
                return Ok(());
            }
            if given != former {
                return Err(KubernetesError::OtherId {
                    key: key.clone(),
                    id,
                    given,
                });
            }
            // Whoever gives it up or purges one of them while pods are waited for is heard.
            let has_changed_places = lineage.exchange(beside, id, kept);
            has_changed_places
                .then_some(())
                .ok_or_else(|| KubernetesError::GivenUp { key: key.clone() })
        })
        .await
    }

    /// Sees to it that nothing runs of an instance that was stopped as its spec says; refuses any
    /// other. The API server is asked, not what was heard of.
    async fn end_stopped(&self, one: &Registered) -> Result<(), KubernetesError> {
        let key = || one.row.key.clone();
        if one.row.purging {
            return Err(KubernetesError::BeingPurged { key: key() });
        }
        let assignment = one.assignment.as_ref();
        let stopped = assignment.filter(|given| given.spec.power == Power::Off);
        if one.row.life == Life::Active && stopped.is_none() {
            return Err(KubernetesError::NotStopped { key: key() });
        }
        let (namespace, name) = (one.namespace.as_str(), one.objects.as_str());
        let server = self
            .cluster
            .read(Kind::StatefulSet, namespace, name)
            .await?;
        let is_down = server.is_none_or(|server| server.data["spec"]["replicas"] == 0);
        match stopped {
            // One whose data is lost is not suspended, and still has its pod.
            Some(assignment) if !is_down => self.scale_down(one, assignment).await?,
            None if !is_down => return Err(KubernetesError::NotStopped { key: key() }),
            Some(_) | None => {}
        }
        let (pod, mut going) = (names::pod(name), Going::begun(self.cluster.news()));
        while self.has_pod(namespace, &pod).await? {
            if !going.goes_on().await {
                return Err(KubernetesError::NotStopped { key: key() });
            }
        }
        Ok(())
    }

    /// Whether there is a pod of this name. It is listed: to get pods is a right that this does not
    /// have in a cluster.
    async fn has_pod(&self, namespace: &str, name: &str) -> Result<bool, KubernetesError> {
        let named = ListParams::default().fields(&format!("metadata.name={name}"));
        let pods = self.cluster.api(Kind::Pod, namespace).list(&named).await;
        let doing = format!("see whether Pod {namespace}/{name} is gone");
        let pods = pods.map_err(KubernetesError::api(doing))?;
        Ok(!pods.items.is_empty())
    }
}
