//! Watches that begin again whenever they end. What keeps them from being heard is said when it
//! begins and when it is over, and not each time that it is tried again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use boma_problem::IntoProblem;
use futures_util::StreamExt;
use kube::api::Api;
use kube::core::DynamicObject;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};

use crate::cluster::FIRST_LISTS;
use crate::error::KubernetesError;

/// The watches of a cluster.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    /// Those that are not heard, by what they watch, and why.
    unheard: Mutex<BTreeMap<String, KubernetesError>>,
}

impl Watches {
    /// Hands over what a watch tells, for ever.
    pub(crate) async fn follow(
        &self,
        api: Api<DynamicObject>,
        which: watcher::Config,
        mut told: impl FnMut(Event<DynamicObject>),
    ) {
        let watched = api.resource_url().to_owned();
        let mut events = watcher(api, which).default_backoff().boxed();
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    // A list that begins is not heard yet.
                    if !matches!(event, Event::Init) {
                        self.is_heard(&watched);
                    }
                    told(event);
                }
                Err(error) => self.fails(&watched, error),
            }
        }
    }

    /// Why the first lists did not come in time.
    pub(crate) fn not_listed(&self) -> KubernetesError {
        let why = self.lock().pop_first();
        let slow = KubernetesError::NotListed(FIRST_LISTS.as_secs());
        why.map_or(slow, |(_watched, why)| why)
    }

    fn fails(&self, watched: &str, error: watcher::Error) {
        let source = match error {
            // Every API server forgets after some minutes where a watch was.
            watcher::Error::WatchError(status) if status.code == 410 => return,
            watcher::Error::WatchError(status) => kube::Error::Api(status),
            watcher::Error::InitialListFailed(source)
            | watcher::Error::WatchStartFailed(source)
            | watcher::Error::WatchFailed(source) => source,
            error @ watcher::Error::NoResourceVersion => kube::Error::Service(error.into()),
        };
        let error = KubernetesError::api(format!("watch {watched}"))(source);
        let problem = error.problem();
        let mut unheard = self.lock();
        let mut known = unheard.values();
        if !known.any(|known| known.problem().causes == problem.causes) {
            tracing::warn!(%problem, "the cluster is not heard from; Boma tries again");
        }
        unheard.insert(watched.to_owned(), error);
    }

    fn is_heard(&self, watched: &str) {
        let mut unheard = self.lock();
        if unheard.remove(watched).is_some() && unheard.is_empty() {
            tracing::info!("the cluster is heard from again");
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, KubernetesError>> {
        self.unheard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn refused(code: u16, message: &str) -> watcher::Error {
        let status = Status::failure(message, "").with_code(code);
        watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn who_waits_in_vain_for_the_first_lists_is_told_why() {
        let watches = Watches::default();
        watches.fails("/api/v1/pods", refused(503, "etcd is away"));
        watches.is_heard("/api/v1/pods");
        let slow = watches.not_listed().problem();
        assert!(slow.message.starts_with("the API server did not list"));
        watches.fails("/api/v1/pods", refused(403, "User \"x\" cannot list pods"));
        let why = watches.not_listed().problem();
        assert_eq!(why.code, "kubernetes-forbidden");
        let text = why.to_string();
        assert!(text.starts_with("watch /api/v1/pods: "), "{text}");
        assert!(text.contains("User \"x\" cannot list pods"), "{text}");
        let gone = Status::failure("too old", "Expired").with_code(410);
        watches.fails("/api/v1/pods", watcher::Error::WatchError(Box::new(gone)));
        assert!(watches.lock().is_empty());
    }
}
