//! How an agent process begins: into its cgroups, out of its parent's session, down from root.
//!
//! The order matters. Joining a cgroup needs root; everything after needs as little as possible,
//! so privileges are dropped before the first file of the instance is touched.

use std::fs;
use std::io;
use std::path::PathBuf;

use boma_problem::{Class, IntoProblem, Problem};
use nix::errno::Errno;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{self, User};

/// Why an agent could not begin.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// A cgroup could not be joined.
    #[error("join cgroup `{}`", path.display())]
    JoinCgroup {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no such system user.
    #[error("there is no system user {name:?}")]
    NoSuchUser {
        /// The name asked for.
        name: String,
    },
    /// The system users could not be looked up.
    #[error("look up system user {name:?}")]
    LookUpUser {
        /// The name asked for.
        name: String,
        /// Why.
        #[source]
        source: Errno,
    },
    /// Privileges could not be dropped.
    #[error("become system user {name:?}")]
    BecomeUser {
        /// The name asked for.
        name: String,
        /// Why.
        #[source]
        source: Errno,
    },
}

impl IntoProblem for EnterError {
    fn problem(&self) -> Problem {
        match self {
            Self::JoinCgroup { .. } => Problem::from_error(Class::Config, "cgroup-refused", self)
                .hint("Let Boma run as root, or delegate a cgroup to it."),
            Self::NoSuchUser { name } | Self::LookUpUser { name, .. } => {
                Problem::from_error(Class::Config, "system-user-missing", self)
                    .hint(format!("Create it: `useradd --system {name}`."))
            }
            Self::BecomeUser { .. } => {
                Problem::from_error(Class::Config, "system-user-refused", self)
                    .hint("Only root can become another user.")
            }
        }
    }
}

/// Keeps memory that is free from being kept: each thread of a backup or a restore would have an arena
/// of its own, and 16 of them hold 300 MiB of buffers after a restore of 700 MB. Two hold 30.
pub fn share_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        #[expect(unsafe_code, reason = "there is no other way to tell the C library")]
        // SAFETY: it sets a number of the allocator, and no other thread runs yet.
        let taken = unsafe { nix::libc::mallopt(nix::libc::M_ARENA_MAX, 2) };
        if taken == 0 {
            tracing::debug!("the allocator takes no number of arenas");
        }
    }
}

/// Joins cgroups: this process and everything it starts. Needs the right to write there.
pub fn join_cgroups(paths: &[PathBuf]) -> Result<(), EnterError> {
    for path in paths {
        // "0" is the writing process itself (cgroups(7)).
        fs::write(path.join("cgroup.procs"), "0").map_err(|source| EnterError::JoinCgroup {
            path: path.clone(),
            source,
        })?;
    }
    Ok(())
}

/// Leaves the parent's session, so that a closed terminal ends neither agent nor server, and makes
/// every new file private.
pub fn leave_session() {
    // Fails only for a process group leader, and then there is no session to leave behind.
    let _already_leader = unistd::setsid();
    umask(Mode::from_bits_truncate(0o077));
}

/// Becomes an unprivileged user for good.
pub fn become_user(name: &str) -> Result<(), EnterError> {
    let user = User::from_name(name)
        .map_err(|source| EnterError::LookUpUser {
            name: name.to_owned(),
            source,
        })?
        .ok_or_else(|| EnterError::NoSuchUser {
            name: name.to_owned(),
        })?;
    if unistd::geteuid() == user.uid {
        return Ok(());
    }
    // Supplementary groups first, then the group, then the user: the other order would lose the
    // right to do the rest.
    unistd::setgroups(&[user.gid])
        .and_then(|()| unistd::setgid(user.gid))
        .and_then(|()| unistd::setuid(user.uid))
        .map_err(|source| EnterError::BecomeUser {
            name: name.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_user_is_named_with_how_to_make_it() {
        let problem = become_user("no-such-user-here").unwrap_err().problem();
        assert_eq!(
            problem.message,
            "there is no system user \"no-such-user-here\""
        );
        assert!(problem.hints[0].contains("useradd --system no-such-user-here"));
    }

    #[test]
    fn a_cgroup_that_is_not_there_is_an_error_with_its_path() {
        let error = join_cgroups(&["/nonexistent/cgroup".into()]).unwrap_err();
        assert_eq!(error.to_string(), "join cgroup `/nonexistent/cgroup`");
        assert_eq!(error.problem().code, "cgroup-refused");
    }
}
