//! The wait for the end of a former login's turn.

use std::time::Duration;

use boma_instance::{InstanceId, InstanceStatus};
use boma_problem::{Class, IntoProblem, Problem};
use jiff::Timestamp;

use super::{Progress, Surroundings};
use crate::plan::{Roles, StepId};
use crate::platform::Platform;

/// Between two looks at a server. Each costs it one query; a person does not notice the delay.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A wait until an application connects with its new login only.
#[derive(Clone, Debug)]
pub(super) struct Draining {
    pub(super) id: InstanceId,
    pub(super) roles: Roles,
    pub(super) until: Timestamp,
}

/// The time is over, and it does not. The next plan goes on all the same, if the application
/// still runs with its new environment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotDrained {
    /// Somebody still uses the former login.
    #[error("user {role} still has {sessions} sessions, which end now")]
    StillUsed {
        /// The former login.
        role: String,
        /// How many.
        sessions: u32,
    },
    /// The application connects too seldom to be seen.
    #[error("user {role} was not seen to connect; the former user is locked all the same")]
    NotSeen {
        /// The new login.
        role: String,
    },
}

impl IntoProblem for NotDrained {
    fn problem(&self) -> Problem {
        match self {
            Self::StillUsed { .. } => {
                Problem::new(Class::Transient, "former-user-in-use", self.to_string()).hint(
                    "A query took longer than the grace time, or another program has the former \
                     connection string: give it the new one, which `boma env` shows.",
                )
            }
            Self::NotSeen { .. } => {
                Problem::new(Class::Transient, "new-user-not-seen", self.to_string())
                    .hint("If the application cannot connect, its log says why: `boma logs`.")
            }
        }
    }
}

impl Draining {
    pub(super) async fn until_drained<P: Platform>(
        self,
        step: StepId,
        platform: &P,
        around: &Surroundings,
    ) -> Result<(), Box<Problem>> {
        loop {
            let status = platform.look(self.id).await?;
            let (new, former) = (
                sessions(&status, &self.roles.next),
                sessions(&status, &self.roles.former),
            );
            if new > 0 && former == 0 {
                return Ok(());
            }
            if (around.clock)() >= self.until {
                return Err(Box::new(self.too_late(former).problem()));
            }
            let status = Box::new(status);
            around.report.tell(Progress::Waiting { step, status });
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn too_late(self, former: u32) -> NotDrained {
        match former {
            0 => NotDrained::NotSeen {
                role: self.roles.next,
            },
            sessions => NotDrained::StillUsed {
                role: self.roles.former,
                sessions,
            },
        }
    }
}

fn sessions(status: &InstanceStatus, role: &str) -> u32 {
    let login = status.logins.iter().find(|login| login.role == role);
    login.map_or(0, |login| login.connections)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn too_late(former: u32) -> Problem {
        let draining = Draining {
            id: InstanceId(uuid::Uuid::nil()),
            roles: Roles {
                next: "api_2".to_owned(),
                former: "api_1".to_owned(),
            },
            until: Timestamp::UNIX_EPOCH,
        };
        draining.too_late(former).problem()
    }

    #[test]
    fn who_still_uses_a_former_user_is_told_and_who_was_not_seen() {
        let used = too_late(3);
        assert_eq!(used.code, "former-user-in-use");
        assert_eq!(
            used.message,
            "user api_1 still has 3 sessions, which end now"
        );
        let unseen = too_late(0);
        assert_eq!(unseen.code, "new-user-not-seen");
        assert_eq!(
            unseen.message,
            "user api_2 was not seen to connect; the former user is locked all the same"
        );
    }
}
