//! CPU and memory limits by control groups.
//!
//! One group per instance below a group `boma`: agent and server are in it. Where it is:
//!
//! | who | version 2 | version 1 |
//! |---|---|---|
//! | root | `<mount>/boma/<short id>` | `<cpu mount>/boma/<short id>` and `<memory mount>/boma/<short id>` |
//! | anybody else | below the highest group that was delegated to the user | not possible |
//!
//! Not below Boma's own group: a service manager that ends `boma serve` ends its whole group, and
//! servers outlive `boma serve`.
//!
//! The limit is the memory of the manifest and some room on top: settings are made for the
//! manifest's memory, the agent takes a few megabytes as well, and page cache is given back under
//! pressure. Version 2 starts to give back at the manifest's memory (`memory.high`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use boma_instance::{InstanceId, Resources};
use boma_problem::{Class, IntoProblem, Problem};
use nix::unistd::{AccessFlags, Uid, access};

/// Length of the period in which CPU time is counted, microseconds; the kernel's own default.
const PERIOD: u64 = 100_000;
/// The least CPU time per period that the kernel takes, microseconds.
const LEAST_QUOTA: u64 = 1_000;

/// Why limits could not be set.
#[derive(Debug, thiserror::Error)]
pub enum LimitsError {
    /// A file of the control group could not be written or read.
    #[error("{doing} control group `{path}`")]
    Io {
        /// `make`, `set`, `read` or `remove`.
        doing: &'static str,
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl IntoProblem for LimitsError {
    fn problem(&self) -> Problem {
        Problem::from_error(Class::Transient, "limits-not-set", self)
            .hint("Set `enforce-limits = false` in `config.toml` to run without limits.")
    }
}

/// Whether a limit may be lowered now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Raise what has to be raised, lower nothing: the server was not yet told to need less.
    RaiseOnly,
    /// As the spec says; memory only so far as it is free already.
    Exact,
}

/// How limits are enforced on this machine.
#[derive(Clone, Debug)]
pub(crate) enum Limits {
    /// One hierarchy with both controllers.
    V2 {
        /// The group that holds all instances.
        parent: PathBuf,
    },
    /// A hierarchy for each controller.
    V1 {
        /// The group that holds all instances, of the cpu controller.
        cpu: PathBuf,
        /// The same of the memory controller.
        memory: PathBuf,
    },
    /// They are not.
    None {
        /// Why, for people.
        why: String,
    },
}

impl Limits {
    /// Sees what this machine and this user allow.
    pub(crate) fn probe(enforce: bool) -> Self {
        if !enforce {
            return none("switched off in `config.toml`");
        }
        let (Ok(mounts), Ok(own)) = (
            fs::read_to_string("/proc/self/mountinfo"),
            fs::read_to_string("/proc/self/cgroup"),
        ) else {
            return none("this system has no control groups");
        };
        let found = find(&mounts, &own, Uid::effective().is_root());
        found
            .and_then(Self::prepared)
            .unwrap_or_else(|why| Self::None { why })
    }

    /// Makes the group that holds all instances; only doing it shows whether it can be done.
    fn prepared(self) -> Result<Self, String> {
        let make = |path: &Path| match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(format!(
                "control group `{}` cannot be made: {error}",
                path.display()
            )),
            Ok(()) | Err(_) => Ok(()),
        };
        match &self {
            Self::V2 { parent } => {
                let above = parent.parent().unwrap_or(parent);
                hand_down(above)?;
                make(parent)?;
                hand_down(parent)?;
            }
            Self::V1 { cpu, memory } => {
                make(cpu)?;
                make(memory)?;
            }
            Self::None { .. } => {}
        }
        Ok(self)
    }

    /// As the plan is told.
    pub(crate) fn capability(&self) -> Result<(), String> {
        match self {
            Self::V2 { .. } | Self::V1 { .. } => Ok(()),
            Self::None { why } => Err(why.clone()),
        }
    }

    /// The groups that an agent joins.
    pub(crate) fn groups(&self, id: InstanceId) -> Vec<PathBuf> {
        match self {
            Self::V2 { parent } => vec![parent.join(id.short())],
            Self::V1 { cpu, memory } => vec![cpu.join(id.short()), memory.join(id.short())],
            Self::None { .. } => Vec::new(),
        }
    }

    /// Makes the groups of an instance and sets their limits; writes nothing that is right.
    pub(crate) fn set(
        &self,
        id: InstanceId,
        resources: &Resources,
        change: Change,
    ) -> Result<(), LimitsError> {
        for group in self.groups(id) {
            match fs::create_dir(&group) {
                Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(LimitsError::Io {
                        doing: "make",
                        path: group,
                        source,
                    });
                }
                Ok(()) | Err(_) => {}
            }
        }
        self.values(id, resources)
            .iter()
            .try_for_each(|value| value.set(change))
    }

    /// Whether the limits of an instance are as its spec says; `Err` says what differs.
    pub(crate) fn check(&self, id: InstanceId, resources: &Resources) -> Result<(), String> {
        self.capability()?;
        for value in self.values(id, resources) {
            match value.read() {
                Ok(found) if found == value.wanted => {}
                Ok(found) => {
                    return Err(format!(
                        "`{}` is {found} and should be {}",
                        value.file.display(),
                        value.wanted
                    ));
                }
                Err(error) => {
                    return Err(format!(
                        "`{}` cannot be read: {error}",
                        value.file.display()
                    ));
                }
            }
        }
        Ok(())
    }

    /// Removes the groups of an instance, in which nothing runs any more.
    pub(crate) fn remove(&self, id: InstanceId) -> Result<(), LimitsError> {
        for path in self.groups(id) {
            match fs::remove_dir(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(LimitsError::Io {
                        doing: "remove",
                        path,
                        source,
                    });
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    fn values(&self, id: InstanceId, resources: &Resources) -> Vec<Value> {
        let quota = (u64::from(resources.cpu_millis) * PERIOD / 1000).max(LEAST_QUOTA);
        // Counted in whole pages by the kernel, whatever is written.
        let pages = |bytes: u64| bytes / 4096 * 4096;
        let memory = pages(resources.memory_bytes);
        let most = pages(resources.most_memory_bytes());
        let value = |group: &Path, name: &str, wanted, form, usage: Option<&str>| Value {
            file: group.join(id.short()).join(name),
            usage: usage.map(|name| group.join(id.short()).join(name)),
            wanted,
            form,
        };
        match self {
            Self::V2 { parent } => vec![
                value(parent, "cpu.max", quota, Form::Quota, None),
                value(parent, "memory.high", memory, Form::Plain, None),
                value(
                    parent,
                    "memory.max",
                    most,
                    Form::Plain,
                    Some("memory.current"),
                ),
            ],
            Self::V1 { cpu, memory: group } => vec![
                value(cpu, "cpu.cfs_quota_us", quota, Form::Plain, None),
                value(
                    group,
                    "memory.soft_limit_in_bytes",
                    memory,
                    Form::Plain,
                    None,
                ),
                value(
                    group,
                    "memory.limit_in_bytes",
                    most,
                    Form::Plain,
                    Some("memory.usage_in_bytes"),
                ),
            ],
            Self::None { .. } => Vec::new(),
        }
    }
}

/// How a file of a control group holds its value.
#[derive(Clone, Copy)]
enum Form {
    /// The number, or `max`, or -1 for none.
    Plain,
    /// The number and the period.
    Quota,
}

/// One limit.
struct Value {
    file: PathBuf,
    /// What is in use; a limit below it would kill the server.
    usage: Option<PathBuf>,
    wanted: u64,
    form: Form,
}

impl Value {
    fn set(&self, change: Change) -> Result<(), LimitsError> {
        let failed = |doing| {
            move |source| LimitsError::Io {
                doing,
                path: self.file.clone(),
                source,
            }
        };
        let found = self.read().map_err(failed("read"))?;
        let lower = self.wanted < found;
        if found == self.wanted || (lower && found != u64::MAX && change == Change::RaiseOnly) {
            return Ok(());
        }
        if lower && self.in_use().map_err(failed("read"))? > self.wanted {
            // Left as it is, and told by `check`; the next pass tries again.
            return Ok(());
        }
        let text = match self.form {
            Form::Plain => self.wanted.to_string(),
            Form::Quota => format!("{} {PERIOD}", self.wanted),
        };
        fs::write(&self.file, text).map_err(failed("set"))
    }

    /// No limit reads as the largest number.
    fn read(&self) -> io::Result<u64> {
        let text = fs::read_to_string(&self.file)?;
        Ok(text
            .split_ascii_whitespace()
            .next()
            .and_then(|word| word.parse().ok())
            .unwrap_or(u64::MAX))
    }

    fn in_use(&self) -> io::Result<u64> {
        let Some(usage) = &self.usage else {
            return Ok(0);
        };
        Ok(fs::read_to_string(usage)?.trim().parse().unwrap_or(0))
    }
}

fn none(why: &str) -> Limits {
    Limits::None {
        why: why.to_owned(),
    }
}

/// Lets a group's children have both controllers.
fn hand_down(group: &Path) -> Result<(), String> {
    let file = group.join("cgroup.subtree_control");
    let has_both = |text: &str| {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        words.contains(&"cpu") && words.contains(&"memory")
    };
    if fs::read_to_string(&file).is_ok_and(|text| has_both(&text)) {
        return Ok(());
    }
    fs::write(&file, "+cpu +memory").map_err(|error| {
        format!(
            "controllers cannot be handed down in `{}`: {error}",
            group.display()
        )
    })
}

/// Where instances' groups would be. Pure but for looking whether a group was delegated.
fn find(mounts: &str, own: &str, root: bool) -> Result<Limits, String> {
    let mounts: Vec<Mount> = mounts.lines().filter_map(Mount::parse).collect();
    let v1 = |controller: &str| {
        mounts
            .iter()
            .find(|mount| mount.kind == "cgroup" && mount.has(controller))
            .map(|mount| mount.at.join("boma"))
    };
    if let (Some(cpu), Some(memory)) = (v1("cpu"), v1("memory")) {
        return if root {
            Ok(Limits::V1 { cpu, memory })
        } else {
            Err("this system has control groups of version 1, which only root may use".to_owned())
        };
    }
    let Some(mount) = mounts.iter().find(|mount| mount.kind == "cgroup2") else {
        return Err(
            "this system has no control groups with the controllers cpu and memory".to_owned(),
        );
    };
    let parent = if root {
        mount.at.clone()
    } else {
        delegated(mount, own)?
    };
    let controllers = fs::read_to_string(parent.join("cgroup.controllers")).unwrap_or_default();
    let controllers: Vec<&str> = controllers.split_ascii_whitespace().collect();
    for controller in ["cpu", "memory"] {
        if !controllers.contains(&controller) {
            return Err(format!(
                "the controller {controller} was not handed down to control group `{}`",
                parent.display()
            ));
        }
    }
    Ok(Limits::V2 {
        parent: parent.join("boma"),
    })
}

/// The highest group above this process that the user may change.
fn delegated(mount: &Mount<'_>, own: &str) -> Result<PathBuf, String> {
    let path = own
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))
        .unwrap_or_default();
    let own = mount.at.join(path);
    own.ancestors()
        .take_while(|group| group.starts_with(&mount.at))
        .take_while(|group| {
            ["cgroup.procs", "cgroup.subtree_control"]
                .iter()
                .all(|file| access(&group.join(file), AccessFlags::W_OK).is_ok())
        })
        .last()
        .map(Path::to_owned)
        .ok_or_else(|| "no control group was delegated to this user (as root, or under `systemd-run --user --scope -p Delegate=yes`, limits are enforced)".to_owned())
}

/// A mounted hierarchy (proc_pid_mountinfo(5)).
struct Mount<'a> {
    at: PathBuf,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut after = after.split(' ');
        Some(Self {
            at: before.split(' ').nth(4)?.into(),
            kind: after.next()?,
            options: after.nth(1)?,
        })
    }

    fn has(&self, controller: &str) -> bool {
        self.options.split(',').any(|option| option == controller)
    }
}

#[cfg(test)]
mod tests;
