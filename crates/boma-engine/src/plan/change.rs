//! What a new spec changes, in data and in words.

use std::fmt;

use boma_instance::backup::{BackupSpec, Origin};
use boma_instance::{Access, Drift, InstanceSpec, MajorVersion, Power, Resources, settings};

use super::backup;
use super::database::Shape;
use super::draft::WantedLogin;
use super::words::{Bytes, Cpu};

/// One difference between the spec that is in force and the new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// There is no instance yet.
    Create {
        /// Major version.
        version: MajorVersion,
        /// What it may use.
        resources: Resources,
        /// Where its data comes from; none: it begins empty.
        origin: Option<Box<Origin>>,
    },
    /// The agent is gone, does not answer or lags behind: the same spec again.
    Again(AgainReason),
    /// CPU.
    Cpu {
        /// Thousandths of a CPU before.
        from: u32,
        /// Thousandths of a CPU from now on.
        to: u32,
    },
    /// Memory.
    Memory {
        /// Bytes before.
        from: u64,
        /// Bytes from now on.
        to: u64,
    },
    /// Storage, which only grows.
    Storage {
        /// Bytes before.
        from: u64,
        /// Bytes from now on.
        to: u64,
    },
    /// The class of a volume that is not made yet.
    StorageClass(String),
    /// A setting.
    Parameter {
        /// Its name.
        name: String,
        /// Its value before; none: the server's own.
        from: Option<String>,
        /// Its value from now on; none: the server's own.
        to: Option<String>,
        /// What it takes to come into force.
        effect: Effect,
    },
    /// An extension is created.
    ExtensionAdded(String),
    /// An extension is no longer asked for.
    ExtensionDropped(String),
    /// The server restarts, because these settings change that follow from the others or were
    /// asked for.
    Restart(Vec<String>),
    /// The server is started or stopped.
    Power(Power),
    /// How it is backed up.
    Backup {
        /// Before; none: not at all.
        from: Option<BackupSpec>,
        /// From now on; none: not at all.
        to: Option<BackupSpec>,
    },
    /// What becomes of changes by hand.
    Drift(Drift),
    /// A login is made.
    LoginAdded {
        /// Role name.
        role: String,
        /// What it may do.
        access: Access,
        /// Whose it is.
        comment: String,
    },
    /// A login's rights change.
    LoginAccess {
        /// Role name.
        role: String,
        /// What it may do from now on.
        access: Access,
    },
    /// A login's password changes, or it is opened again.
    LoginPassword {
        /// Role name.
        role: String,
    },
    /// A login is locked, and its connections are ended.
    LoginLocked {
        /// Role name.
        role: String,
    },
    /// A login is dropped and its connections are ended.
    LoginRemoved {
        /// Role name.
        role: String,
        /// Whose it was.
        comment: String,
    },
}

/// Why a spec is handed over once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgainReason {
    /// No agent runs.
    AgentAbsent,
    /// The agent does not answer.
    AgentSilent,
    /// The agent has accepted an older spec only.
    AgentBehind,
    /// The agent has accepted a newer spec than the one that is stored: what was stored was lost,
    /// or put back as it once was.
    AgentAhead,
    /// The database was registered and never placed, or not all that it consists of on its platform
    /// is as it should be.
    NotPlaced,
    /// Its certificate ends soon, or a person wants another one.
    CertificateDue,
}

/// What it takes until a setting is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The server restarts.
    Restart,
    /// At once.
    Reload,
    /// For sessions that start from now on.
    NewSessions,
    /// The server does not run, or is not known to have this setting.
    Unknown,
}

/// Lists what `to` changes in `from`, logins aside.
pub(super) fn between(
    from: &InstanceSpec,
    to: Shape<'_>,
    effect: impl Fn(&str) -> Effect,
) -> Vec<Change> {
    let mut changes = Vec::new();
    if from.power != to.power {
        changes.push(Change::Power(to.power));
    }
    changes.extend(resources(from.resources, to.resources));
    if from.storage_class.as_deref() != to.storage_class {
        let class = to.storage_class.map(ToOwned::to_owned);
        changes.extend(class.map(Change::StorageClass));
    }
    if from.parameters != *to.parameters {
        changes.extend(parameters(from, &to.spec(from.generation), &effect));
    }
    if from.backup.as_ref() != to.backup {
        changes.push(Change::Backup {
            from: from.backup.clone(),
            to: to.backup.cloned(),
        });
    }
    if from.drift != to.drift {
        changes.push(Change::Drift(to.drift));
    }
    if from.extensions != *to.extensions {
        let added = to.extensions.difference(&from.extensions);
        changes.extend(added.cloned().map(Change::ExtensionAdded));
        let dropped = from.extensions.difference(to.extensions);
        changes.extend(dropped.cloned().map(Change::ExtensionDropped));
    }
    if !changes.is_empty() && from.power == Power::On && to.power == Power::On {
        changes.extend(restart(from, &to.spec(from.generation), effect));
    }
    changes
}

fn resources(old: Resources, new: Resources) -> Vec<Change> {
    let mut changes = Vec::new();
    if old.cpu_millis != new.cpu_millis {
        changes.push(Change::Cpu {
            from: old.cpu_millis,
            to: new.cpu_millis,
        });
    }
    if old.memory_bytes != new.memory_bytes {
        changes.push(Change::Memory {
            from: old.memory_bytes,
            to: new.memory_bytes,
        });
    }
    if old.storage_bytes != new.storage_bytes {
        changes.push(Change::Storage {
            from: old.storage_bytes,
            to: new.storage_bytes,
        });
    }
    changes
}

/// The settings for whose sake the server restarts, derived ones included.
fn restart(
    from: &InstanceSpec,
    to: &InstanceSpec,
    effect: impl Fn(&str) -> Effect,
) -> Option<Change> {
    let (old, new) = (settings::effective(from), settings::effective(to));
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let changed = names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name));
    let restart = changed.filter(|name| effect(name) == Effect::Restart);
    let restart: Vec<String> = restart.cloned().collect();
    (!restart.is_empty()).then_some(Change::Restart(restart))
}

/// Lists settings that the user changes; where one side says nothing, what follows from the size
/// of the database is in force there.
fn parameters(
    from: &InstanceSpec,
    to: &InstanceSpec,
    effect: impl Fn(&str) -> Effect,
) -> Vec<Change> {
    let (old, new) = (settings::effective(from), settings::effective(to));
    let mut names: Vec<&String> = from.parameters.keys().chain(to.parameters.keys()).collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .filter(|name| from.parameters.get(*name) != to.parameters.get(*name))
        .map(|name| Change::Parameter {
            name: name.clone(),
            from: from.parameters.get(name).or_else(|| old.get(name)).cloned(),
            to: to.parameters.get(name).or_else(|| new.get(name)).cloned(),
            effect: effect(name),
        })
        .collect()
}

/// Lists what happens to logins.
pub(super) fn logins(from: &InstanceSpec, to: &[WantedLogin<'_>]) -> Vec<Change> {
    let mut changes = Vec::new();
    for login in to {
        let Some(old) = from.logins.iter().find(|old| *old.role == *login.role) else {
            changes.push(added(login));
            continue;
        };
        let role = || login.role.to_string();
        if old.access != login.access {
            changes.push(Change::LoginAccess {
                role: role(),
                access: login.access,
            });
        }
        if !login.keeps(old.verifier.as_ref()) {
            changes.push(if login.is_locked() {
                Change::LoginLocked { role: role() }
            } else {
                Change::LoginPassword { role: role() }
            });
        }
    }
    for old in &from.logins {
        if !to.iter().any(|login| *login.role == *old.role) {
            changes.push(Change::LoginRemoved {
                role: old.role.clone(),
                comment: old.comment.clone(),
            });
        }
    }
    changes
}

/// A login that is made.
pub(super) fn added(login: &WantedLogin<'_>) -> Change {
    Change::LoginAdded {
        role: login.role.to_string(),
        access: login.access,
        comment: login.comment(),
    }
}

/// `read/write` or `read-only`.
pub(super) fn access_word(access: Access) -> &'static str {
    match access {
        Access::ReadOnly => "read-only",
        Access::ReadWrite => "read/write",
    }
}

impl Change {
    /// The mark in front of it: `+` is made, `~` changes, `-` is taken away.
    pub fn mark(&self) -> char {
        match self {
            Self::Create { .. } | Self::ExtensionAdded(_) | Self::LoginAdded { .. } => '+',
            Self::ExtensionDropped(_) | Self::LoginRemoved { .. } | Self::LoginLocked { .. } => '-',
            Self::Again(_)
            | Self::Cpu { .. }
            | Self::Memory { .. }
            | Self::Storage { .. }
            | Self::StorageClass(_)
            | Self::Parameter { .. }
            | Self::Restart(_)
            | Self::Power(_)
            | Self::Backup { .. }
            | Self::Drift(_)
            | Self::LoginAccess { .. }
            | Self::LoginPassword { .. } => '~',
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create {
                version,
                resources,
                origin,
            } => {
                write!(
                    f,
                    "PostgreSQL {version} with {}, {} memory, {} storage",
                    Cpu(resources.cpu_millis),
                    Bytes(resources.memory_bytes),
                    Bytes(resources.storage_bytes),
                )?;
                match origin {
                    Some(origin) => write!(f, ", {}", backup::words_of(origin)),
                    None => Ok(()),
                }
            }
            Self::Again(reason) => write!(f, "{reason}"),
            Self::Cpu { from, to } => write!(f, "{} → {}", Cpu(*from), Cpu(*to)),
            Self::Memory { from, to } => write!(f, "memory {} → {}", Bytes(*from), Bytes(*to)),
            Self::Storage { from, to } => write!(f, "storage {} → {}", Bytes(*from), Bytes(*to)),
            Self::StorageClass(class) => write!(f, "storage class {class}"),
            Self::Parameter {
                name,
                from,
                to,
                effect,
            } => {
                let own = "the server's own";
                let from = from.as_deref().unwrap_or(own);
                let to = to.as_deref().unwrap_or(own);
                write!(f, "{name}: {from} → {to}{effect}")
            }
            Self::ExtensionAdded(name) => write!(f, "extension {name}"),
            Self::ExtensionDropped(name) => write!(
                f,
                "extension {name} is no longer asked for; it stays in the database until somebody \
                 drops it"
            ),
            Self::Restart(settings) => write!(
                f,
                "restart the server: {}; connections end for a moment",
                settings.join(", ")
            ),
            Self::Power(Power::On) => f.write_str("start the server"),
            Self::Power(Power::Off) => {
                f.write_str("stop the server: connections end, the data is kept")
            }
            Self::Drift(Drift::Correct) => f.write_str("what is changed by hand is put right"),
            Self::Drift(Drift::Report) => f.write_str(
                "what is changed by hand is told and left; who may connect is put right",
            ),
            Self::Backup { from, to } => backup::change(f, from.as_ref(), to.as_ref()),
            Self::LoginAdded {
                role,
                access,
                comment,
            } => write!(f, "login {role} for {comment}, {}", access_word(*access)),
            Self::LoginAccess { role, access } => {
                write!(f, "login {role} becomes {}", access_word(*access))
            }
            Self::LoginPassword { role } => write!(f, "login {role}: another password"),
            Self::LoginLocked { role } => {
                write!(f, "login {role} is locked: its connections end")
            }
            Self::LoginRemoved { role, comment } => {
                write!(f, "login {role} of {comment}: its connections end")
            }
        }
    }
}

impl fmt::Display for AgainReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AgentAbsent => "start its agent, which does not run",
            Self::AgentSilent => "reach its agent, which does not answer",
            Self::AgentBehind => "hand the spec to its agent again",
            Self::AgentAhead => "hand its agent a newer spec than it has: what was stored is older",
            Self::NotPlaced => "place it: not all that it consists of is as it should be",
            Self::CertificateDue => "give it another certificate",
        })
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Restart => " (at a restart)",
            Self::Reload | Self::Unknown => "",
            Self::NewSessions => " (for new sessions)",
        })
    }
}
