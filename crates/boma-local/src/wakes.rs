//! What wakes the engine: a status that changed, a process that ended.

use std::sync::Arc;

use tokio::sync::Notify;

/// Wakes whoever waits. Several wakes before anybody looks are one: what happened is seen by
/// looking, not by counting.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waker {
    notify: Arc<Notify>,
}

impl Waker {
    pub(crate) fn wake(&self) {
        self.notify.notify_one();
    }

    pub(crate) async fn woken(&self) {
        self.notify.notified().await;
    }
}
