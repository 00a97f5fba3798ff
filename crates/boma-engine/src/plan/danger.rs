//! What of a plan a person should look at twice before letting it happen.

use std::collections::BTreeSet;

use boma_instance::backup::BackupSpec;
use boma_instance::{Access, Power};
use serde::Serialize;

use super::Plan;
use super::action::{Action, PutInstance, StartReason};
use super::change::Change;
use super::words::Bytes;
use crate::catalog::Subject;
use crate::keys::{ApplicationKey, DatabaseKey};
use crate::observed::{DatabaseRecord, Life};

/// Something that a plan does and that somebody may feel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Danger {
    /// Of which kind.
    pub kind: DangerKind,
    /// Which resource does, or suffers, it.
    pub subject: Subject,
    /// What it means, for people.
    pub text: String,
}

/// Kinds of danger, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DangerKind {
    /// A database is put away.
    Retire,
    /// Access is taken away or becomes less.
    Disconnect,
    /// Something stops, and stays so.
    Stop,
    /// Something restarts.
    Restart,
    /// Somebody may do more than before, or comes from another project.
    Access,
    /// What protects a database from being put away is taken off.
    Protection,
    /// Fewer moments can be restored than before.
    Backups,
    /// Storage grows, which cannot be taken back.
    Grow,
}

impl DangerKind {
    /// Its stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Retire => "retire",
            Self::Disconnect => "disconnect",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Access => "access",
            Self::Protection => "protection",
            Self::Backups => "backups",
            Self::Grow => "grow",
        }
    }
}

impl Plan {
    /// What somebody may feel of it, the gravest first; each thing once.
    pub fn dangers(&self) -> Vec<Danger> {
        let mut found = Search {
            dangers: BTreeSet::new(),
            retired: self.retired(),
            exchanged: self.exchanged(),
        };
        for step in &self.steps {
            found.take(&step.action);
        }
        found.dangers.into_iter().collect()
    }

    fn retired(&self) -> BTreeSet<DatabaseKey> {
        let actions = self.steps.iter().map(|step| &step.action);
        let keys = actions.filter_map(|action| {
            let Action::SetLife { key, life } = action else {
                return None;
            };
            (*life != Life::Active).then(|| key.clone())
        });
        keys.collect()
    }

    /// Roles that are new only because a password is exchanged.
    fn exchanged(&self) -> BTreeSet<(DatabaseKey, String)> {
        let actions = self.steps.iter().map(|step| &step.action);
        let roles = actions.filter_map(|action| {
            let Action::IssueCredential {
                grant,
                role,
                replaces: true,
                ..
            } = action
            else {
                return None;
            };
            Some((grant.database.clone(), role.clone()))
        });
        roles.collect()
    }
}

struct Search {
    dangers: BTreeSet<Danger>,
    retired: BTreeSet<DatabaseKey>,
    exchanged: BTreeSet<(DatabaseKey, String)>,
}

impl Search {
    fn add(&mut self, kind: DangerKind, subject: impl Into<Subject>, text: impl Into<String>) {
        self.dangers.insert(Danger {
            kind,
            subject: subject.into(),
            text: text.into(),
        });
    }

    fn take(&mut self, action: &Action) {
        match action {
            Action::SetLife {
                key,
                life: Life::Retired { .. },
            } => self.add(
                DangerKind::Retire,
                key,
                "the database is stopped and put away: nobody can connect any more; its data is \
                 kept, and comes back with its manifest as long as it was not purged",
            ),
            Action::RecordDatabase {
                key,
                record,
                former: Some(former),
                ..
            } => self.recorded(key, former, record),
            Action::PutInstance(put) => self.put(put),
            Action::RestartApplication {
                application,
                why: StartReason::Changed,
                ..
            } => self.add(
                DangerKind::Restart,
                application,
                "the application restarts, because its environment or its command changes",
            ),
            Action::DeliverEnvironment {
                application,
                deployment,
                is_new: false,
            } if deployment.commands.run.is_none() => self.add(
                DangerKind::Restart,
                application,
                "its environment changes: whoever runs it has to restart it",
            ),
            Action::StopApplication { application, .. } => self.stopped(application),
            Action::RecordSource { .. }
            | Action::RecordDatabase { former: None, .. }
            | Action::SetLife {
                life: Life::Active, ..
            }
            | Action::Exchange { .. }
            | Action::IssueCredential { .. }
            | Action::AwaitConverged { .. }
            | Action::DeliverEnvironment { .. }
            | Action::RunPreDeploy { .. }
            | Action::RestartApplication { .. }
            | Action::ActivateLogin { .. }
            | Action::AwaitDrained { .. }
            | Action::ReleaseLogin { .. }
            | Action::ForgetGrant { .. }
            | Action::ForgetApplication { .. } => {}
        }
    }

    fn stopped(&mut self, application: &ApplicationKey) {
        let text = "the application is stopped, and not started again";
        self.add(DangerKind::Stop, application, text);
    }

    fn recorded(&mut self, key: &DatabaseKey, former: &DatabaseRecord, record: &DatabaseRecord) {
        if former.deletion_protection && !record.deletion_protection {
            let text = "deletion protection is taken off: from then on, the database is stopped \
                        and put away when its manifest goes";
            self.add(DangerKind::Protection, key, text);
        }
    }

    fn put(&mut self, put: &PutInstance) {
        let key = &put.key;
        if self.retired.contains(key) {
            return;
        }
        for change in &put.changes {
            match change {
                Change::Restart(settings) => {
                    let text = format!(
                        "PostgreSQL restarts, for {}: every connection ends, and new ones wait a \
                         moment",
                        settings.join(", ")
                    );
                    self.add(DangerKind::Restart, key, text);
                }
                Change::Power(Power::Off) => {
                    let text = "the server stops: nobody can connect until it is started again; \
                                its data is kept";
                    self.add(DangerKind::Stop, key, text);
                }
                Change::Storage { from, to } => {
                    let text = format!(
                        "storage grows from {} to {}, and can never shrink again",
                        Bytes(*from),
                        Bytes(*to)
                    );
                    self.add(DangerKind::Grow, key, text);
                }
                Change::Backup { from, to } => self.backups(key, from.as_ref(), to.as_ref()),
                Change::LoginAdded {
                    role,
                    access,
                    comment,
                } => self.added(key, role, (*access, comment)),
                Change::LoginAccess { role, access } => self.access(put, role, *access),
                Change::LoginRemoved { comment, .. } => {
                    let whose = named(key, comment);
                    let text = format!("{whose} loses its access: its connections end");
                    self.add(DangerKind::Disconnect, key, text);
                }
                Change::Create { .. }
                | Change::Again(_)
                | Change::Cpu { .. }
                | Change::Memory { .. }
                | Change::Parameter { .. }
                | Change::Drift(_)
                | Change::StorageClass(_)
                | Change::ExtensionAdded(_)
                | Change::ExtensionDropped(_)
                | Change::Power(Power::On)
                | Change::LoginPassword { .. }
                | Change::LoginLocked { .. } => {}
            }
        }
    }

    fn added(&mut self, key: &DatabaseKey, role: &str, (access, whose): (Access, &str)) {
        let is_new = !self.exchanged.contains(&(key.clone(), role.to_owned()));
        if is_new && named(key, whose) == whose {
            let may = verb(access);
            let text = format!("{whose}, an application of another project, may {may} it");
            self.add(DangerKind::Access, key, text);
        }
    }

    fn access(&mut self, put: &PutInstance, role: &str, access: Access) {
        let key = &put.key;
        let login = put.logins.iter().find(|login| login.role == role);
        let whose = login.map_or(role, |login| named(key, &login.comment));
        match access {
            Access::ReadWrite => {
                let text = format!("{whose} may write, where it could only read before");
                self.add(DangerKind::Access, key, text);
            }
            Access::ReadOnly => {
                let text = format!("{whose} may only read from then on: its writes fail");
                self.add(DangerKind::Disconnect, key, text);
            }
        }
    }

    fn backups(&mut self, key: &DatabaseKey, from: Option<&BackupSpec>, to: Option<&BackupSpec>) {
        let kind = DangerKind::Backups;
        let (from, to) = match (from, to) {
            (None, _) => return,
            (Some(_), None) => {
                let text = "no backups are made any more: what is written from then on can be lost";
                return self.add(kind, key, text);
            }
            (Some(from), Some(to)) => (from, to),
        };
        if to.retention_days < from.retention_days {
            let text = format!(
                "backups are kept for {} days in place of {}: older ones are deleted",
                to.retention_days, from.retention_days
            );
            self.add(kind, key, text);
        }
        if from.point_in_time && !to.point_in_time {
            let text =
                "only the ends of base backups can be restored from then on, no other moment";
            self.add(kind, key, text);
        }
        if from.repository != to.repository {
            let text = format!(
                "backups go to repository {} in place of {}: what is in the former one is no \
                 longer looked at",
                to.repository, from.repository
            );
            self.add(kind, key, text);
        }
    }
}

/// An application without its project, where that is the database's.
fn named<'c>(key: &DatabaseKey, comment: &'c str) -> &'c str {
    let own = comment.strip_prefix(&*key.project);
    own.and_then(|rest| rest.strip_prefix('/'))
        .unwrap_or(comment)
}

fn verb(access: Access) -> &'static str {
    match access {
        Access::ReadOnly => "read",
        Access::ReadWrite => "read and write",
    }
}
