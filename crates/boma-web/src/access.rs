//! Who may use the dashboard: whoever has followed a link that the command line has printed.
//!
//! ```text
//!   link: until | nonce | tag ── once ──► session: until | nonce | tag ─► form tokens
//! ```
//!
//! Links and sessions are signed, not stored, so that a session outlives a restart of the server. A link
//! is signed with a key of the server's run as well: none works twice, not across a restart either. A
//! session that was ended is remembered until it would have ended by itself, by this process; its cookie
//! is gone from the browser in any case.

mod guard;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

pub(crate) use guard::guard;

/// How long a link can be followed.
const LINK: SignedDuration = SignedDuration::from_mins(15);

/// How long a session lasts: a day of work.
const SESSION: SignedDuration = SignedDuration::from_hours(12);

/// Bytes of a nonce.
const NONCE: usize = 16;

/// Bytes of a tag: all of HMAC-SHA-256.
const TAG: usize = 32;

/// What makes one token another one than every other.
type Nonce = [u8; NONCE];

/// What sessions are signed with; whoever has it has the dashboard.
pub struct SigningKey(hmac::Key);

impl SigningKey {
    /// A key of 32 random bytes.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The key of the links of one run of the server.
    pub fn links(&self, run: &str) -> LinkKey {
        let key = hmac::sign(&self.0, format!("links of {run}").as_bytes());
        LinkKey(hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()))
    }

    /// A token for a program: as good as a session, for as long; none: the system has no random bytes.
    pub fn token(&self, now: Timestamp) -> Option<String> {
        self.session(now).map(|(_, text)| text)
    }

    fn session(&self, now: Timestamp) -> Option<(Session, String)> {
        let (nonce, text) = make(&self.0, now, SESSION)?;
        Some((self.of(nonce), text))
    }

    fn read(&self, text: &str, now: Timestamp) -> Option<Session> {
        let (nonce, _) = read(&self.0, text, now)?;
        Some(self.of(nonce))
    }

    fn of(&self, nonce: Nonce) -> Session {
        let form = hmac::sign(&self.0, &[b"form of ", &nonce[..]].concat());
        Session {
            nonce,
            form: BASE64_URL_SAFE_NO_PAD.encode(form),
        }
    }
}

/// What links are signed with, for as long as a server runs.
pub struct LinkKey(hmac::Key);

impl LinkKey {
    /// The token of a new link; none: the system has no random bytes.
    pub fn token(&self, now: Timestamp) -> Option<String> {
        make(&self.0, now, LINK).map(|(_, text)| text)
    }
}

/// A token: until when, which one, signed.
fn make(key: &hmac::Key, now: Timestamp, lasts: SignedDuration) -> Option<(Nonce, String)> {
    let mut nonce = [0; NONCE];
    SystemRandom::new().fill(&mut nonce).ok()?;
    let until = (now + lasts).as_second();
    let mut bytes = [&until.to_be_bytes()[..], &nonce].concat();
    let tag = hmac::sign(key, &bytes);
    bytes.extend_from_slice(tag.as_ref());
    Some((nonce, BASE64_URL_SAFE_NO_PAD.encode(bytes)))
}

/// Which token a text is, and until when; none: it is none of this key, or its time is over.
fn read(key: &hmac::Key, text: &str, now: Timestamp) -> Option<(Nonce, Timestamp)> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
    let (said, tag) = bytes.split_at_checked(bytes.len().checked_sub(TAG)?)?;
    hmac::verify(key, said, tag).ok()?;
    let (until, nonce) = said.split_first_chunk::<8>()?;
    let until = Timestamp::from_second(i64::from_be_bytes(*until)).ok()?;
    (now < until).then_some((nonce.try_into().ok()?, until))
}

/// Somebody who is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    nonce: Nonce,
    /// What every form of this session carries, so that no other site can send one.
    pub(crate) form: String,
}

/// Links that were followed and sessions that were ended, until their time is over.
#[derive(Debug, Default)]
struct Spent(Mutex<BTreeMap<Nonce, Timestamp>>);

impl Spent {
    /// Spends a token; answers whether it was not spent before.
    fn spend(&self, nonce: Nonce, until: Timestamp, now: Timestamp) -> bool {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spent.retain(|_, until| now < *until);
        spent.insert(nonce, until).is_none()
    }

    fn is_spent(&self, nonce: &Nonce) -> bool {
        let spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spent.contains_key(nonce)
    }
}

/// Who is let in.
pub(crate) struct Access {
    key: SigningKey,
    links: LinkKey,
    followed: Spent,
    ended: Spent,
}

impl Access {
    /// Whoever follows a link of this run, or has a session of this key.
    pub(crate) fn new(key: SigningKey, run: &str) -> Self {
        Self {
            links: key.links(run),
            key,
            followed: Spent::default(),
            ended: Spent::default(),
        }
    }

    /// The session that a link opens, and its cookie's value; none: the link is not good, or no more.
    pub(crate) fn follow(&self, link: &str, now: Timestamp) -> Option<(Session, String)> {
        let (nonce, until) = read(&self.links.0, link, now)?;
        let is_first = self.followed.spend(nonce, until, now);
        is_first.then(|| self.key.session(now)).flatten()
    }

    /// The session of a cookie's value.
    pub(crate) fn session(&self, cookie: &str, now: Timestamp) -> Option<Session> {
        let session = self.key.read(cookie, now)?;
        (!self.ended.is_spent(&session.nonce)).then_some(session)
    }

    /// Ends a session.
    pub(crate) fn end(&self, session: &Session, now: Timestamp) {
        self.ended.spend(session.nonce, now + SESSION, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn access(run: &str) -> Access {
        Access::new(SigningKey::new(&[7; 32]), run)
    }

    #[test]
    fn a_link_opens_one_session_within_its_time() {
        let here = access("first");
        let link = here.links.token(at(0)).unwrap();
        assert!(here.follow(&link, at(15 * 60)).is_none(), "too late");
        let (session, cookie) = here.follow(&link, at(1)).unwrap();
        assert!(here.follow(&link, at(2)).is_none(), "a second time");
        assert_eq!(here.session(&cookie, at(60)), Some(session));
        assert!(here.session(&cookie, at(12 * 3600 + 2)).is_none());
    }

    #[test]
    fn a_session_outlives_a_restart_and_a_link_does_not() {
        let before = access("first");
        let (link, used) = (before.links.token(at(0)), before.links.token(at(0)));
        let (_, cookie) = before.follow(&used.unwrap(), at(1)).unwrap();
        let after = access("second");
        assert!(after.session(&cookie, at(2)).is_some());
        assert!(after.follow(&link.unwrap(), at(2)).is_none());
        let other = Access::new(SigningKey::new(&[8; 32]), "first");
        assert!(other.session(&cookie, at(2)).is_none());
    }

    #[test]
    fn a_token_that_was_changed_is_none() {
        let here = access("first");
        let (_, cookie) = here.key.session(at(0)).unwrap();
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(&cookie).unwrap();
        for index in 0..bytes.len() {
            let mut other = bytes.clone();
            other[index] ^= 1;
            let text = BASE64_URL_SAFE_NO_PAD.encode(&other);
            assert!(here.session(&text, at(1)).is_none(), "byte {index}");
        }
        for text in ["", "a", "!", &cookie[..20], &format!("{cookie}AA")] {
            assert!(here.session(text, at(1)).is_none(), "{text}");
        }
        // A link is no session, and a session no link.
        let link = here.links.token(at(0)).unwrap();
        assert!(here.session(&link, at(1)).is_none());
        assert!(here.follow(&cookie, at(1)).is_none());
    }

    #[test]
    fn a_session_that_was_ended_is_none() {
        let here = access("first");
        let (session, cookie) = here.key.session(at(0)).unwrap();
        here.end(&session, at(5));
        assert!(here.session(&cookie, at(6)).is_none());
    }
}
