//! The ordinary user that servers run as in tests.

use anyhow::Context;
use nix::unistd::{Gid, Uid, User, setgid, setgroups, setuid};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// A user and its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// The user that servers run as in tests: whoever runs the test, or where that is root, `postgres`,
/// else `nobody`.
pub fn unprivileged() -> anyhow::Result<Account> {
    if !Uid::effective().is_root() {
        return Ok(Account {
            uid: Uid::effective().as_raw(),
            gid: Gid::effective().as_raw(),
        });
    }
    for name in ["postgres", "nobody"] {
        if let Some(user) = User::from_name(name).context("look users up")? {
            return Ok(Account {
                uid: user.uid.as_raw(),
                gid: user.gid.as_raw(),
            });
        }
    }
    anyhow::bail!(
        "this test runs as root and needs a user `postgres` or `nobody` to run servers as"
    )
}

/// Turns this whole process, all its threads, into one of the ordinary user, if it is root's.
///
/// Tests run in processes of their own (`cargo nextest`), so no other test is touched; where they
/// do not, all tests of that binary must be able to run like this.
pub fn become_unprivileged() -> anyhow::Result<Account> {
    let account = unprivileged()?;
    if Uid::effective().is_root() {
        let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
        setgroups(&[gid]).context("leave root's groups")?;
        setgid(gid).context("change group")?;
        setuid(uid).context("change user")?;
        // Linux hides the /proc entries of a process that changed its user even from itself, which
        // is not how it is for an agent, that was started as this user.
        set_dumpable_behavior(DumpableBehavior::Dumpable).context("show /proc entries again")?;
    }
    Ok(account)
}
