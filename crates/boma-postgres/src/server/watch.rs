//! Being told when a file in a directory changes.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Where the kernel does not tell (a user may have only so many watches), this often is looked:
/// a server takes about 40 ms to start.
const INTERVAL: Duration = Duration::from_millis(5);

/// Lets the runtime wait until a handle is readable.
#[expect(
    unsafe_code,
    reason = "tokio deprecated the safe way, which took handles it could not trust"
)]
pub(super) fn readable(handle: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open for as long as it lives, and is always the same descriptor; the
    // `AsyncFd` owns it.
    let registered = unsafe { AsyncFd::register_with_interest(handle, Interest::READABLE) };
    registered.map_err(|error| error.into_parts().1)
}

/// A watch on the files directly in a directory.
pub(super) struct Watch(Option<AsyncFd<OwnedFd>>);

impl Watch {
    /// Begins to watch. What changes after this is told; look at the files after it.
    pub(super) fn begin(directory: &Path) -> Self {
        Self(Self::inotify(directory).ok())
    }

    fn inotify(directory: &Path) -> std::io::Result<AsyncFd<OwnedFd>> {
        let handle = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let changes = WatchFlags::CREATE | WatchFlags::MODIFY | WatchFlags::MOVED_TO;
        add_watch(&handle, directory, changes)?;
        readable(handle)
    }

    /// Waits for a change. Cancel-safe: a change that came meanwhile is told the next time.
    pub(super) async fn changed(&self) {
        let Some(handle) = &self.0 else {
            return tokio::time::sleep(INTERVAL).await;
        };
        // The runtime only fails here when it shuts down.
        let Ok(mut ready) = handle.readable().await else {
            return;
        };
        // Which changes does not matter; they are only taken out of the queue.
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(handle.get_ref(), &mut buffer);
        while events.next().is_ok() {}
        ready.clear_ready();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_is_told_and_where_the_kernel_does_not_tell_it_is_looked() -> anyhow::Result<()>
    {
        let scratch = boma_testkit::ScratchDir::new()?;
        let watch = Watch::begin(scratch.path());
        assert!(watch.0.is_some());
        std::fs::write(scratch.path().join("file"), "text")?;
        watch.changed().await;
        // Taken out of the queue: nothing is told twice.
        let again = tokio::time::timeout(Duration::from_millis(50), watch.changed());
        assert!(again.await.is_err());

        let blind = Watch::begin(&scratch.path().join("nothing"));
        assert!(blind.0.is_none());
        blind.changed().await;
        Ok(())
    }
}
