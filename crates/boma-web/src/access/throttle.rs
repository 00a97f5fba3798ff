//! How often somebody may try to sign in.
//!
//! Counted are attempts that failed: of one name from one address, and of each of them alone. Who guesses
//! from one place is held up soon, and cannot keep somebody out who signs in from another one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

/// How long failures are remembered, from the first one.
const WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// Failures of one name from one address.
const OF_BOTH: u32 = 10;

/// Failures of one name, or from one address.
const OF_EACH: u32 = 100;

/// What is remembered at most; who comes when it is full, waits.
const ROOM: usize = 20_000;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Both(String, IpAddr),
    Name(String),
    Address(IpAddr),
}

/// Attempts that failed.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<BTreeMap<Key, (u32, Timestamp)>>);

impl Throttle {
    /// Counts an attempt as failed before it is looked at; it is taken back by [`Self::forgive`].
    ///
    /// # Errors
    /// With when to try again, if there were too many.
    pub(crate) fn attempt(
        &self,
        name: &str,
        from: IpAddr,
        now: Timestamp,
    ) -> Result<(), Timestamp> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.retain(|_, (_, since)| now < *since + WINDOW);
        let keys = keys(name, from);
        for (key, most) in &keys {
            if let Some((count, since)) = counts.get(key)
                && count >= most
            {
                return Err(*since + WINDOW);
            }
        }
        if counts.len() + keys.len() > ROOM {
            return Err(now + WINDOW);
        }
        for (key, _) in keys {
            counts.entry(key).or_insert((0, now)).0 += 1;
        }
        Ok(())
    }

    /// Takes an attempt back that did not fail, and what failed before it in the same place.
    pub(crate) fn forgive(&self, name: &str, from: IpAddr) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.remove(&Key::Both(name.to_owned(), from));
        for (key, _) in keys(name, from) {
            if let Some((count, _)) = counts.get_mut(&key) {
                *count = count.saturating_sub(1);
            }
        }
    }
}

fn keys(name: &str, from: IpAddr) -> [(Key, u32); 3] {
    [
        (Key::Both(name.to_owned(), from), OF_BOTH),
        (Key::Name(name.to_owned()), OF_EACH),
        (Key::Address(from), OF_EACH),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn who_guesses_waits_and_nobody_else() {
        let throttle = Throttle::default();
        for _ in 0..10 {
            throttle.attempt("ana", address(1), at(0)).unwrap();
        }
        assert_eq!(throttle.attempt("ana", address(1), at(5)), Err(at(900)));
        assert_eq!(throttle.attempt("ana", address(2), at(5)), Ok(()));
        assert_eq!(throttle.attempt("ben", address(1), at(5)), Ok(()));
        assert_eq!(throttle.attempt("ana", address(1), at(900)), Ok(()));
    }

    #[test]
    fn one_address_does_not_try_all_names_and_many_do_not_try_one() {
        let throttle = Throttle::default();
        for number in 0..100 {
            let name = format!("person-{number}");
            throttle.attempt(&name, address(1), at(0)).unwrap();
            throttle
                .attempt("ana", address(100 + number), at(0))
                .unwrap();
        }
        assert!(throttle.attempt("another", address(1), at(1)).is_err());
        assert!(throttle.attempt("ana", address(2), at(1)).is_err());
        assert!(throttle.attempt("ben", address(2), at(1)).is_ok());
    }

    #[test]
    fn who_signs_in_is_not_counted() {
        let throttle = Throttle::default();
        for _ in 0..300 {
            throttle.attempt("ana", address(1), at(0)).unwrap();
            throttle.forgive("ana", address(1));
        }
    }
}
