//! How often those look that wait for instances, and how long a pod may take to go.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::build;

/// Pause of one between two looks, for each that waits. A look takes some 50 µs, and whatever is
/// heard of wakes all: so a thousand that wait take no more of a CPU than one does.
const EACH: Duration = Duration::from_millis(1);

/// After how long without news one looks all the same.
const WITHOUT_NEWS: Duration = Duration::from_secs(1);

/// How many wait.
#[derive(Default)]
pub(super) struct Waiting(Arc<AtomicU32>);

/// One that waits.
pub(super) struct OneWaits(Arc<AtomicU32>);

/// A wait for a pod to go, or for what goes with it.
pub(super) struct Going {
    until: Instant,
    news: watch::Receiver<u64>,
}

impl Going {
    /// It was just told to go; `news` are those of the cluster.
    pub(super) fn begun(news: watch::Receiver<u64>) -> Self {
        Self {
            until: Instant::now() + build::GOES_WITHIN,
            news,
        }
    }

    /// Waits until anything is heard of; answers whether there is time left.
    pub(super) async fn goes_on(&mut self) -> bool {
        let heard = tokio::time::timeout_at(self.until, self.news.changed());
        heard.await.is_ok()
    }
}

impl Waiting {
    /// Counts one that waits, until it is dropped.
    pub(super) fn one_more(&self) -> OneWaits {
        self.0.fetch_add(1, Ordering::Relaxed);
        OneWaits(self.0.clone())
    }
}

impl OneWaits {
    /// How long to leave out between two looks.
    pub(super) fn pause(&self) -> Duration {
        EACH * self.0.load(Ordering::Relaxed)
    }

    /// How long to wait for news before a look: what nobody tells of is time alone.
    pub(super) fn without_news(&self) -> Duration {
        WITHOUT_NEWS.max(self.pause() * 8)
    }
}

impl Drop for OneWaits {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_wait_the_seldomer_each_of_them_looks() {
        let waiting = Waiting::default();
        let first = waiting.one_more();
        assert_eq!(first.pause(), EACH);
        let second = waiting.one_more();
        assert_eq!(first.pause(), EACH * 2);
        assert_eq!(first.without_news(), WITHOUT_NEWS);
        let many: Vec<_> = (0..998).map(|_| waiting.one_more()).collect();
        assert_eq!(first.pause(), Duration::from_secs(1));
        assert_eq!(first.without_news(), Duration::from_secs(8));
        drop(many);
        drop(second);
        assert_eq!(first.pause(), EACH);
    }
}
