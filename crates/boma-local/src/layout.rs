//! Where everything is, below the state directory.
//!
//! | path | owner, mode | what |
//! |---|---|---|
//! | `boma.sqlite` (`-wal`, `-shm`) | Boma, 0600 | databases, addresses, sealed secrets, events, audit trail |
//! | `key` | Boma, 0600 | 256 bits that seal the secrets in `boma.sqlite` |
//! | `locks/` | Boma, 0700 | `init`, `serve`, `pass`, `place`: locked, never removed |
//! | `ca/ca.pem` | Boma, 0644 | certificate of the installation's authority, for clients |
//! | `instances/<uuid>/` | system user, 0700 | the agent's assignment and lock, `data/`, `log/` |
//! | `run/<short id>/` | system user, 0700 | sockets of agent and server |
//! | `templates/` | system user, 0700 | clusters made ahead, kept by agents |
//! | `applications/<project>/<name>/` | Boma, 0700 | logs of an application with a `command` |
//!
//! "Boma" is whoever runs `boma`; "system user" is the same one, unless Boma runs as root.

use std::fs::{DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use boma_engine::keys::ApplicationKey;
use boma_instance::InstanceId;
use boma_problem::{Class, IntoProblem, Problem};
use nix::unistd::{Gid, Uid};

use crate::user::SystemUser;

/// Longest path of a Unix socket: 108 bytes with the end mark (unix(7)); macOS has 104.
const LONGEST_SOCKET_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// The longest socket name in a run directory: PostgreSQL's, with a port of five digits.
const LONGEST_SOCKET_NAME: &str = "00000000/.s.PGSQL.65535";

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A directory could not be made or looked at.
    #[error("{doing} `{path}`")]
    Io {
        /// `create`, `inspect`, `give away`.
        doing: &'static str,
        /// Which path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It belongs to somebody else.
    #[error("state directory `{path}` belongs to user {owner}, and this is user {me}")]
    Owner {
        /// The state directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who asks.
        me: u32,
    },
    /// Others may write in it.
    #[error("state directory `{path}` can be written by other users (mode {mode:04o})")]
    Exposed {
        /// The state directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The system user cannot get there.
    #[error("user {user} cannot enter `{blocked}`, and servers run as this user below `{path}`")]
    Unreachable {
        /// The state directory.
        path: PathBuf,
        /// The directory that keeps the user out.
        blocked: PathBuf,
        /// The system user.
        user: String,
    },
    /// Unix sockets in it would have too long a path.
    #[error(
        "state directory `{path}` is too deep for Unix sockets: {length} bytes with the socket's \
         name, and the system allows {LONGEST_SOCKET_PATH}"
    )]
    TooDeep {
        /// The state directory.
        path: PathBuf,
        /// Bytes of the longest socket path.
        length: usize,
    },
    /// A name that would lead out of the state directory.
    #[error("{name:?} cannot be the name of a directory")]
    Name {
        /// The name.
        name: String,
    },
}

impl IntoProblem for LayoutError {
    fn problem(&self) -> Problem {
        let problem = |class, code| Problem::from_error(class, code, self);
        match self {
            Self::Io { path, source, .. } => self.io_problem(path, source.kind()),
            Self::Owner { owner, .. } => problem(Class::Config, "state-wrong-owner").hint(
                if *owner == 0 {
                    "Run the command with `sudo`, or choose a state directory of your own with `--state-dir`.".to_owned()
                } else {
                    format!("Run the command as the user with id {owner}, or choose another place with `--state-dir`.")
                },
            ),
            Self::Exposed { path, .. } => problem(Class::Config, "state-exposed")
                .hint(format!("Take the right away: `chmod go-w {}`.", path.display())),
            Self::Unreachable { blocked, .. } => problem(Class::Config, "state-unreachable")
                .hint(format!(
                    "Choose another place with `--state-dir`, such as /var/lib/boma, or let users pass: `chmod o+x {}`.",
                    blocked.display()
                )),
            Self::TooDeep { .. } => problem(Class::Config, "socket-path-too-long")
                .hint("Choose a shorter place with `--state-dir`."),
            Self::Name { .. } => problem(Class::User, "unsafe-name")
                .hint("Names of projects and resources are made of a-z, 0-9 and hyphens."),
        }
    }
}

impl LayoutError {
    fn io_problem(&self, path: &Path, kind: io::ErrorKind) -> Problem {
        use io::ErrorKind as Kind;
        let problem = |class, code| Problem::from_error(class, code, self);
        if matches!(kind, Kind::PermissionDenied | Kind::ReadOnlyFilesystem) {
            return problem(Class::Config, "state-not-writable").hint(format!(
                "Make `{}` writable for you, or choose another place with `--state-dir`.",
                path.display()
            ));
        }
        if matches!(kind, Kind::NotADirectory | Kind::AlreadyExists) {
            return problem(Class::Config, "state-not-a-directory").hint(format!(
                "Something that is not a directory stands at or above `{}`: move it away, or choose another place with `--state-dir`.",
                path.display()
            ));
        }
        if kind == Kind::StorageFull {
            return problem(Class::Config, "disk-full").hint(crate::files::FREE_SPACE);
        }
        problem(Class::Transient, "state-io")
    }
}

/// Paths below the state directory.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Names the paths; touches nothing.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The state directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The database of the platform.
    pub fn database(&self) -> PathBuf {
        self.root.join("boma.sqlite")
    }

    /// The key that seals secrets.
    pub fn key(&self) -> PathBuf {
        self.root.join("key")
    }

    /// A lock file.
    pub(crate) fn lock(&self, name: &str) -> PathBuf {
        self.root.join("locks").join(name)
    }

    /// The certificate of the installation's authority.
    pub fn authority(&self) -> PathBuf {
        self.root.join("ca/ca.pem")
    }

    /// All instances.
    pub(crate) fn instances(&self) -> PathBuf {
        self.root.join("instances")
    }

    /// The agent's directory of an instance.
    pub fn instance(&self, id: InstanceId) -> PathBuf {
        self.instances().join(id.to_string())
    }

    /// The name that an instance's directory gets before its files are removed.
    pub(crate) fn tombstone(&self, id: InstanceId) -> PathBuf {
        self.instances().join(format!(".purged-{id}"))
    }

    /// The log that an instance's agent writes.
    pub fn agent_log(&self, id: InstanceId) -> PathBuf {
        self.instance(id).join("log/agent.log")
    }

    /// Sockets of an instance.
    pub fn run(&self, id: InstanceId) -> PathBuf {
        self.root.join("run").join(id.short())
    }

    /// The socket that an instance's agent answers on.
    pub fn agent_socket(&self, id: InstanceId) -> PathBuf {
        self.run(id).join("agent.sock")
    }

    /// The store of clusters made ahead.
    pub fn templates(&self) -> PathBuf {
        self.root.join("templates")
    }

    /// Logs of an application.
    ///
    /// Names come from validated manifests; they are checked here once more, because a `..` that
    /// slipped through anywhere would lead out of the state directory.
    pub fn application(&self, key: &ApplicationKey) -> Result<PathBuf, LayoutError> {
        let mut path = self.root.join("applications");
        for part in key.project.split('/').chain([&*key.name]) {
            let plain = !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
            if !plain {
                return Err(LayoutError::Name {
                    name: key.to_string(),
                });
            }
            path.push(part);
        }
        Ok(path)
    }

    /// What an application with a `command` prints.
    pub fn application_log(&self, key: &ApplicationKey) -> Result<PathBuf, LayoutError> {
        Ok(self.application(key)?.join("app.log"))
    }

    /// What the last `preDeploy` of an application printed.
    pub fn pre_deploy_log(&self, key: &ApplicationKey) -> Result<PathBuf, LayoutError> {
        Ok(self.application(key)?.join("pre-deploy.log"))
    }

    /// Makes what is missing, and checks that the directory can be used by `user`.
    pub(crate) fn prepare(&self, user: &SystemUser) -> Result<(), LayoutError> {
        let length = self
            .root
            .join("run")
            .join(LONGEST_SOCKET_NAME)
            .as_os_str()
            .len();
        if length > LONGEST_SOCKET_PATH {
            return Err(LayoutError::TooDeep {
                path: self.root.clone(),
                length,
            });
        }
        // Others may pass through a root-owned state directory, because servers run as another
        // user; they may list nothing.
        let root_mode = if user.differs() { 0o711 } else { 0o700 };
        if let Some(parent) = self.root.parent() {
            make_dir_all(parent, 0o755)?;
        }
        make_dir(&self.root, root_mode)?;
        self.check_root()?;
        for (name, mode) in [("locks", 0o700), ("applications", 0o711), ("ca", 0o755)] {
            make_dir(&self.root.join(name), mode)?;
        }
        for name in ["instances", "run"] {
            make_dir(&self.root.join(name), root_mode)?;
        }
        make_dir_for(&self.templates(), user)?;
        user.differs()
            .then(|| self.check_reachable(user))
            .transpose()?;
        Ok(())
    }

    /// Makes the directories of one instance, owned by `user`.
    pub(crate) fn prepare_instance(
        &self,
        id: InstanceId,
        user: &SystemUser,
    ) -> Result<(), LayoutError> {
        make_dir_for(&self.instance(id), user)?;
        make_dir_for(&self.instance(id).join("log"), user)?;
        make_dir_for(&self.run(id), user)
    }

    fn check_root(&self) -> Result<(), LayoutError> {
        let (meta, me) = (inspect(&self.root)?, Uid::effective().as_raw());
        let path = || self.root.clone();
        if meta.uid() != me {
            return Err(LayoutError::Owner {
                path: path(),
                owner: meta.uid(),
                me,
            });
        }
        if meta.mode() & 0o022 != 0 {
            return Err(LayoutError::Exposed {
                path: path(),
                mode: meta.mode() & 0o7777,
            });
        }
        Ok(())
    }

    /// Walks from the top down, so that the message names the outermost closed directory.
    fn check_reachable(&self, user: &SystemUser) -> Result<(), LayoutError> {
        let instances = self.instances();
        let mut way: Vec<&Path> = instances.ancestors().collect();
        way.reverse();
        for dir in way {
            if !may_enter(&inspect(dir)?, user) {
                return Err(LayoutError::Unreachable {
                    path: self.root.clone(),
                    blocked: dir.to_owned(),
                    user: user.name.clone(),
                });
            }
        }
        Ok(())
    }
}

/// Whether the permission bits let the user pass through a directory.
fn may_enter(meta: &Metadata, user: &SystemUser) -> bool {
    let bit = if meta.uid() == user.uid.as_raw() {
        0o100
    } else if meta.gid() == user.gid.as_raw() {
        0o010
    } else {
        0o001
    };
    meta.mode() & bit != 0
}

fn inspect(path: &Path) -> Result<Metadata, LayoutError> {
    std::fs::symlink_metadata(path)
        .and_then(|meta| {
            if meta.is_symlink() {
                std::fs::metadata(path)
            } else {
                Ok(meta)
            }
        })
        .map_err(|source| LayoutError::Io {
            doing: "inspect",
            path: path.to_owned(),
            source,
        })
}

fn make_dir_all(path: &Path, mode: u32) -> Result<(), LayoutError> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|source| LayoutError::Io {
            doing: "create",
            path: path.to_owned(),
            source,
        })
}

/// Makes one directory, durably; one that exists is left as it is.
///
/// Durably, because an instance's directory that a power failure takes away would take its
/// acknowledged data with it.
pub(crate) fn make_dir(path: &Path, mode: u32) -> Result<(), LayoutError> {
    let created = DirBuilder::new().mode(mode).create(path);
    match created.and_then(|()| crate::files::sync_parent(path)) {
        Err(source) if source.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(source) => Err(LayoutError::Io {
            doing: "create",
            path: path.to_owned(),
            source,
        }),
        Ok(()) => Ok(()),
    }
}

/// Makes one directory that belongs to `user`. Its parent belongs to Boma, or is `user`'s own
/// already; a directory of the right owner is left as it is.
pub(crate) fn make_dir_for(path: &Path, user: &SystemUser) -> Result<(), LayoutError> {
    make_dir(path, 0o700)?;
    let failed = |doing, source| LayoutError::Io {
        doing,
        path: path.to_owned(),
        source,
    };
    let meta = std::fs::symlink_metadata(path).map_err(|source| failed("inspect", source))?;
    if !meta.is_dir() {
        return Err(failed("create", io::ErrorKind::NotADirectory.into()));
    }
    if user.differs()
        && (Uid::from_raw(meta.uid()), Gid::from_raw(meta.gid())) != (user.uid, user.gid)
    {
        // lchown: a symbolic link that somebody put there meanwhile is not followed.
        std::os::unix::fs::lchown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
            .map_err(|source| failed("give away", source))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
