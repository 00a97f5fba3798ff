//! Manifests in a directory of this machine, read whenever the kernel tells of a change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use boma_engine::source::DirectorySource;
use notify::{RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::source::Loaded;

/// Editors write a file in several goes; what comes within this is one change.
const SETTLE: Duration = Duration::from_millis(5);

/// Where the kernel does not tell of changes (some network file systems), the directory is read
/// this often.
const READ_AGAIN: Duration = Duration::from_mins(1);

/// What the kernel told of the source since it was last read.
#[derive(Default)]
struct Told {
    paths: Mutex<Vec<PathBuf>>,
    some: Notify,
}

impl Told {
    fn add(&self, event: notify::Event) {
        // Reading a file is no change of it, and this very program reads them.
        if !event.kind.is_access() {
            self.lock().extend(event.paths);
            self.some.notify_one();
        }
    }

    fn take(&self) -> Vec<PathBuf> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<PathBuf>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the directory, now and whenever it changes.
pub(super) async fn follow((root, label): (PathBuf, String), loaded: Loaded) {
    let told = Arc::new(Told::default());
    let _watcher = watcher(&root, &told);
    let mut source = DirectorySource::labelled(&root, &label);
    loop {
        let paths = told.take();
        let reading = tokio::task::spawn_blocking(move || {
            // Without a path, time has come to look whether something was not told of.
            let snapshot = if paths.is_empty() {
                source.read()
            } else {
                source.read_changed(&paths)
            };
            (source, snapshot)
        });
        let Ok((again, snapshot)) = reading.await else {
            return;
        };
        source = again;
        let first = loaded.borrow().is_none();
        if first || snapshot.changes > 0 || !snapshot.problems.is_empty() {
            loaded.send_replace(Some(Arc::new(snapshot)));
        }
        // Cancel-safe: a permit that is not taken stays.
        drop(tokio::time::timeout(READ_AGAIN, told.some.notified()).await);
        tokio::time::sleep(SETTLE).await;
    }
}

/// Lets the kernel tell of changes; where it does not, the clock does.
fn watcher(root: &Path, told: &Arc<Told>) -> Option<notify::RecommendedWatcher> {
    let told = told.clone();
    let tell = move |event: notify::Result<notify::Event>| {
        if let Ok(event) = event {
            told.add(event);
        }
    };
    let watched = notify::recommended_watcher(tell).and_then(|mut watcher| {
        watcher.watch(root, RecursiveMode::Recursive)?;
        Ok(watcher)
    });
    watched
        .inspect_err(|error| tracing::warn!(%error, "changes of the manifests are seen late"))
        .ok()
}
