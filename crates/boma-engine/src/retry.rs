//! When to try again. One function of the class of what went wrong, with backoff and jitter.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use boma_problem::Class;

/// How long to wait before attempt number `attempt + 1`; none: trying again cannot help.
///
/// `random` lies between 0 and 1 and spreads the delay over its upper half, so that what failed
/// together does not come back together.
pub fn delay(class: Class, attempt: u32, random: f64) -> Option<Duration> {
    let (first, longest) = match class {
        Class::User => return None,
        // A hiccup is over within a second; a minute is what a person still waits for.
        Class::Transient => (Duration::from_millis(250), Duration::from_mins(1)),
        // Somebody has to change something first; they may have by now.
        Class::Config | Class::Internal => (Duration::from_secs(30), Duration::from_mins(10)),
    };
    let full = first.saturating_mul(1 << attempt.min(20)).min(longest);
    Some(full.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0))
}

/// A number between 0 and 1 that spreads delays. It guards nothing, so the hasher's own keys, which
/// the standard library takes from the operating system, are random enough.
pub fn random() -> f64 {
    let bits = RandomState::new().hash_one(0_u8);
    f64::from(u32::try_from(bits >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}

/// How long an application that ended by itself stays down. No jitter: a person who looks at it
/// should be able to follow the times.
pub(crate) fn after_exit(failures: u32) -> Duration {
    let Some(doublings) = failures.checked_sub(1) else {
        return Duration::ZERO;
    };
    Duration::from_secs(1 << doublings.min(9)).min(Duration::from_mins(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_must_change_is_not_tried_again() {
        assert_eq!(delay(Class::User, 0, 0.5), None);
    }

    #[test]
    fn delays_grow_to_a_limit_and_are_spread() {
        let of = |attempt, random| delay(Class::Transient, attempt, random).unwrap();
        assert_eq!(of(0, 1.0), Duration::from_millis(250));
        assert_eq!(of(0, 0.0), Duration::from_millis(125));
        assert_eq!(of(2, 1.0), Duration::from_secs(1));
        assert_eq!(of(40, 1.0), Duration::from_mins(1));
        assert_eq!(delay(Class::Config, 40, 1.0), Some(Duration::from_mins(10)));
    }

    #[test]
    fn an_application_that_ends_again_and_again_is_left_alone_for_longer() {
        assert_eq!(after_exit(0), Duration::ZERO);
        assert_eq!(after_exit(1), Duration::from_secs(1));
        assert_eq!(after_exit(4), Duration::from_secs(8));
        assert_eq!(after_exit(100), Duration::from_mins(5));
    }
}
