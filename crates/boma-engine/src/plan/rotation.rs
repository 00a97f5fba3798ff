//! Exchanging the password of a grant. Its two logins take turns:
//!
//! ```text
//!   Steady ─► Due ─► Opening ─────────► Draining ──────────────────────► Steady
//!             │      new password       the other login's turn: new      the former one locked
//!             │      stored, its login  environment, restart, until
//!             │      is being opened    nobody needs the former one
//!             └ waits for a server that is as its spec says
//! ```
//!
//! Where a rotation is follows from what is recorded, never from what a step remembers: passwords
//! carry the moment at which they were made, the grant says whose turn it is and since when the
//! former login is kept. A crash anywhere leaves one of these states, and the next plan goes on.

use boma_instance::names::Turn;
use jiff::{SignedDuration, Timestamp};

use crate::observed::{ObservedGrant, ObservedLogin};

/// How long an application that Boma restarted may take to let go of its former login. A pool
/// reconnects within seconds; a query that takes longer than this is cut off.
pub const GRACE: SignedDuration = SignedDuration::from_mins(1);

/// How long an application that somebody else restarts may keep sessions on its former login after
/// the new one was seen in use.
pub const GRACE_ELSEWHERE: SignedDuration = SignedDuration::from_hours(24);

/// How far the exchange of a grant's password is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// Nothing is going on.
    Steady {
        /// When the schedule asks for another password; none: there is no schedule.
        due: Option<Timestamp>,
    },
    /// Another password is wanted, and nothing was done about it yet.
    Due {
        /// The least number that it may have.
        serial: u64,
        /// The login that gets it.
        turn: Turn,
    },
    /// It is stored; its login is being opened.
    Opening {
        /// Its login.
        turn: Turn,
    },
    /// It is its login's turn; the former one stays open until nobody needs it.
    Draining {
        /// The former login.
        former: Turn,
        /// Since when it is the other one's turn.
        since: Timestamp,
    },
}

impl Rotation {
    /// Where the exchange of a grant's password is; none: it has no password at all.
    pub fn of(stored: &ObservedGrant, every_days: Option<u16>, now: Timestamp) -> Option<Self> {
        let active = stored.logins.get(&stored.active)?;
        let turn = stored.active.other();
        if let Some(since) = stored.draining {
            return Some(Self::Draining {
                former: turn,
                since,
            });
        }
        let due = every_days.and_then(|days| due(active, days));
        let by_schedule = due.filter(|due| *due <= now).map_or(0, serial_of);
        let wanted = stored.asked.max(by_schedule);
        if active.serial >= wanted {
            return Some(Self::Steady { due });
        }
        let idle = stored.logins.get(&turn);
        if idle.is_some_and(|idle| idle.serial >= wanted) {
            return Some(Self::Opening { turn });
        }
        let newest = idle.map_or(active.serial, |idle| idle.serial.max(active.serial));
        let serial = serial_of(now).max(wanted).max(newest + 1);
        Some(Self::Due { serial, turn })
    }

    /// Whether something is going on.
    pub fn is_going_on(self) -> bool {
        !matches!(self, Self::Steady { .. })
    }
}

/// The number of a password made now. It stands for the password in fingerprints, so no other
/// password may ever have it, not even after the credentials were forgotten in between: an
/// environment that still holds the forgotten one would pass for up to date.
pub(super) fn serial_of(moment: Timestamp) -> u64 {
    u64::try_from(moment.as_millisecond()).unwrap_or_default()
}

/// When a password is so and so many days old.
fn due(login: &ObservedLogin, days: u16) -> Option<Timestamp> {
    let days = SignedDuration::from_hours(24 * i64::from(days));
    login.since()?.checked_add(days).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use boma_instance::Secret;

    use super::*;

    const NOW: u64 = 10_000_000_000;

    fn grant(first: u64, second: Option<u64>) -> ObservedGrant {
        let login = |serial| ObservedLogin {
            role: "api".to_owned(),
            serial,
            verifier: Secret::new(String::new()),
        };
        let mut logins = BTreeMap::from([(Turn::First, login(first))]);
        logins.extend(second.map(|serial| (Turn::Second, login(serial))));
        ObservedGrant {
            active: Turn::First,
            logins,
            asked: 0,
            draining: None,
        }
    }

    fn stage(grant: &ObservedGrant, days: Option<u16>) -> Rotation {
        let now = Timestamp::from_millisecond(NOW.cast_signed()).unwrap();
        Rotation::of(grant, days, now).unwrap()
    }

    #[test]
    fn a_password_is_steady_until_somebody_asks_or_its_days_are_over() {
        assert_eq!(
            stage(&grant(NOW, None), None),
            Rotation::Steady { due: None }
        );
        assert!(!stage(&grant(NOW - 1000, None), Some(1)).is_going_on());
        let turn = Turn::Second;
        let serial = NOW;
        let old = grant(NOW - 86_400_000, None);
        assert_eq!(stage(&old, Some(1)), Rotation::Due { serial, turn });
        let mut asked = grant(NOW - 1000, None);
        asked.asked = NOW - 500;
        assert_eq!(stage(&asked, None), Rotation::Due { serial, turn });
    }

    #[test]
    fn a_new_password_never_has_a_number_that_was_there_even_if_the_clock_goes_back() {
        let mut grant = grant(NOW + 50, Some(NOW + 70));
        grant.asked = NOW + 60;
        assert_eq!(
            stage(&grant, None),
            Rotation::Opening { turn: Turn::Second }
        );
        grant.asked = NOW + 80;
        let (serial, turn) = (NOW + 80, Turn::Second);
        assert_eq!(stage(&grant, None), Rotation::Due { serial, turn });
    }

    #[test]
    fn a_former_login_is_let_go_before_the_next_password() {
        let mut grant = grant(NOW - 1000, Some(NOW - 2000));
        grant.asked = NOW;
        grant.draining = Some(Timestamp::UNIX_EPOCH);
        let (former, since) = (Turn::Second, Timestamp::UNIX_EPOCH);
        assert_eq!(stage(&grant, None), Rotation::Draining { former, since });
    }
}
