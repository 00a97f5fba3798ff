//! Memory that is free, and that the allocator keeps.
//!
//! A look at a thousand databases takes some megabytes for a moment, and what stays of it lies between
//! what is free again: glibc keeps all of that (docs/decisions/0157).

use std::time::Duration;

use tokio::sync::watch;

/// How long after something happened free memory is given back: what happens within that is one
/// occasion.
const AFTER: Duration = Duration::from_secs(1);

/// Gives free memory back a while after each change, until there will be none any more.
pub(crate) async fn give_back<T>(mut changes: watch::Receiver<T>) {
    while changes.changed().await.is_ok() {
        // What changes meanwhile is a change afterwards.
        tokio::time::sleep(AFTER).await;
        trim();
    }
}

fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        #[expect(unsafe_code, reason = "there is no other way to tell the C library")]
        // SAFETY: it takes the allocator's locks, and touches nothing but what is free.
        let _was_any = unsafe { nix::libc::malloc_trim(0) };
    }
}
