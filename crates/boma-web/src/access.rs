//! Who may use the dashboard: whoever has followed a link that the command line has printed, people with
//! a password, and programs with a token.
//!
//! ```text
//!   link:       until | nonce | tag ── once ──► session of the owner
//!   invitation: until | nonce | serial | name | tag ─► a password is chosen, the serial counts on
//!   session:    until | nonce | serial | name | tag ─► form tokens
//! ```
//!
//! Links and sessions are signed, not stored, so that a session outlives a restart of the server. A link
//! is signed with a key of the server's run as well: none works twice, not across a restart either. A
//! session that was ended is remembered until it would have ended by itself, by this process; its cookie
//! is gone from the browser in any case. A person's sessions end with their serial: with another
//! password, another invitation, and with the person.

mod guard;
mod throttle;
mod who;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use boma_problem::Problem;
use jiff::{SignedDuration, Timestamp};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::people::{People, Person, PersonName, Register, Rights, Token};
pub(crate) use guard::{cookie, guard};
pub(crate) use throttle::Throttle;
pub use who::Permit;
pub(crate) use who::Who;

/// How long a link can be followed.
const LINK: SignedDuration = SignedDuration::from_mins(15);

/// How long an invitation can be followed.
const INVITATION: SignedDuration = SignedDuration::from_hours(3 * 24);

/// How long somebody may take to sign in with a provider.
const ASKED: SignedDuration = SignedDuration::from_mins(10);

/// How long a session lasts: a day of work.
const SESSION: SignedDuration = SignedDuration::from_hours(12);

/// How old what is known of people may be: who is removed is out within this time.
const FRESH: Duration = Duration::from_secs(1);

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
        LinkKey(self.derived(&format!("links of {run}")))
    }

    /// A token for a program: as good as the owner's session, for as long; none: the system has no
    /// random bytes.
    pub fn token(&self, now: Timestamp) -> Option<String> {
        make(&self.0, now + SESSION, &[]).map(|(_, text)| text)
    }

    /// The link by which a person chooses a password at a dashboard; none: the system has no random
    /// bytes.
    pub fn invitation(&self, person: &Person, origin: &str, now: Timestamp) -> Option<String> {
        let said = Bearer::of(person).bytes();
        let key = self.derived("invitations");
        let (_, token) = make(&key, now + INVITATION, &said)?;
        Some(format!("{origin}/invitation?token={token}"))
    }

    fn derived(&self, of: &str) -> hmac::Key {
        let key = hmac::sign(&self.0, of.as_bytes());
        hmac::Key::new(hmac::HMAC_SHA256, key.as_ref())
    }

    /// What every form of a session carries.
    fn form(&self, nonce: &Nonce) -> String {
        let form = hmac::sign(&self.0, &[b"form of ", &nonce[..]].concat());
        BASE64_URL_SAFE_NO_PAD.encode(form)
    }
}

/// What links are signed with, for as long as a server runs.
pub struct LinkKey(hmac::Key);

impl LinkKey {
    /// The token of a new link; none: the system has no random bytes.
    pub fn token(&self, now: Timestamp) -> Option<String> {
        make(&self.0, now + LINK, &[]).map(|(_, text)| text)
    }
}

/// Whose a session or an invitation is, and of which count of theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bearer {
    pub(crate) name: PersonName,
    pub(crate) serial: u32,
}

impl Bearer {
    fn of(person: &Person) -> Self {
        Self {
            name: person.name.clone(),
            serial: person.serial,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        [
            &self.serial.to_be_bytes()[..],
            self.name.as_str().as_bytes(),
        ]
        .concat()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (serial, name) = bytes.split_first_chunk::<4>()?;
        Some(Self {
            name: std::str::from_utf8(name).ok()?.parse().ok()?,
            serial: u32::from_be_bytes(*serial),
        })
    }

    /// The person, if they still have that count.
    fn among<'p>(&self, people: &'p People) -> Option<&'p Person> {
        let person = people.person(&self.name)?;
        (person.serial == self.serial).then_some(person)
    }
}

/// What a token says.
#[derive(Debug)]
struct Said {
    nonce: Nonce,
    until: Timestamp,
    rest: Vec<u8>,
}

/// A token: until when, which one, what else it says, signed.
fn make(key: &hmac::Key, until: Timestamp, rest: &[u8]) -> Option<(Nonce, String)> {
    let mut nonce = [0; NONCE];
    SystemRandom::new().fill(&mut nonce).ok()?;
    let until = until.as_second().to_be_bytes();
    let mut bytes = [&until[..], &nonce, rest].concat();
    let tag = hmac::sign(key, &bytes);
    bytes.extend_from_slice(tag.as_ref());
    Some((nonce, BASE64_URL_SAFE_NO_PAD.encode(bytes)))
}

/// What a text says; none: it is no token of this key, or its time is over.
fn read(key: &hmac::Key, text: &str, now: Timestamp) -> Option<Said> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
    let (said, tag) = bytes.split_at_checked(bytes.len().checked_sub(TAG)?)?;
    hmac::verify(key, said, tag).ok()?;
    let (until, said) = said.split_first_chunk::<8>()?;
    let (nonce, rest) = said.split_first_chunk::<NONCE>()?;
    let until = Timestamp::from_second(i64::from_be_bytes(*until)).ok()?;
    (now < until).then(|| Said {
        nonce: *nonce,
        until,
        rest: rest.to_vec(),
    })
}

/// Somebody who is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    nonce: Nonce,
    /// What every form of this session carries, so that no other site can send one.
    pub(crate) form: String,
    /// Who it is.
    pub(crate) who: Arc<Who>,
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

/// What is let in by, and as whom.
pub struct Keys {
    /// What sessions are signed with.
    pub key: SigningKey,
    /// What tells this run of the server from others.
    pub run: String,
    /// How the audit trail names whoever follows a link of this machine.
    pub owner: String,
}

/// Who is let in.
pub(crate) struct Access {
    key: SigningKey,
    links: LinkKey,
    followed: Spent,
    ended: Spent,
    owner: Arc<Who>,
    register: Arc<dyn Register>,
    known: Mutex<Option<(Instant, Arc<People>)>>,
    pub(crate) throttle: Throttle,
}

impl Access {
    /// Whoever follows a link of this run, or has a session of this key, and who is in the register.
    pub(crate) fn new(keys: Keys, register: Arc<dyn Register>) -> Self {
        Self {
            links: keys.key.links(&keys.run),
            key: keys.key,
            followed: Spent::default(),
            ended: Spent::default(),
            owner: Arc::new(Who {
                actor: keys.owner,
                person: None,
                email: String::new(),
                rights: Rights::of_owner(),
            }),
            register,
            known: Mutex::default(),
            throttle: Throttle::default(),
        }
    }

    /// Everybody, as of at most a second ago.
    pub(crate) async fn people(&self) -> Result<Arc<People>, Box<Problem>> {
        if let Some(people) = self.fresh() {
            return Ok(people);
        }
        let people = self.register.people().await?;
        Ok(self.learn(people))
    }

    fn fresh(&self) -> Option<Arc<People>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = known.as_ref().filter(|(at, _)| at.elapsed() < FRESH);
        fresh.map(|(_, people)| people.clone())
    }

    /// What is known of people from now on.
    pub(crate) fn learn(&self, people: People) -> Arc<People> {
        let people = Arc::new(people);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Some((Instant::now(), people.clone()));
        people
    }

    /// What keeps the people.
    pub(crate) fn register(&self) -> &dyn Register {
        &*self.register
    }

    /// The cookie's value of the session that a link opens; none: the link is not good, or no more.
    pub(crate) fn follow(&self, link: &str, now: Timestamp) -> Option<String> {
        let said = read(&self.links.0, link, now)?;
        let is_first = self.followed.spend(said.nonce, said.until, now);
        is_first.then(|| self.key.token(now)).flatten()
    }

    /// The cookie's value of a person's session; none: the system has no random bytes.
    pub(crate) fn open(&self, person: &Person, now: Timestamp) -> Option<String> {
        let rest = Bearer::of(person).bytes();
        make(&self.key.0, now + SESSION, &rest).map(|(_, text)| text)
    }

    /// Who was invited, if they still are.
    pub(crate) async fn invited(
        &self,
        invitation: &str,
        now: Timestamp,
    ) -> Result<Option<Bearer>, Box<Problem>> {
        let key = self.key.derived("invitations");
        let said = read(&key, invitation, now);
        let Some(bearer) = said.and_then(|said| Bearer::read(&said.rest)) else {
            return Ok(None);
        };
        let people = self.people().await?;
        Ok(bearer.among(&people).is_some().then_some(bearer))
    }

    /// The link by which a person chooses a password here.
    pub(crate) fn invitation(
        &self,
        person: &Person,
        origin: &str,
        now: Timestamp,
    ) -> Option<String> {
        self.key.invitation(person, origin, now)
    }

    /// What a browser keeps while somebody is with a provider; none: the system has no random bytes.
    pub(crate) fn keep_asked(&self, asked: &[u8], now: Timestamp) -> Option<String> {
        let key = self.key.derived("asked of a provider");
        make(&key, now + ASKED, asked).map(|(_, text)| text)
    }

    /// What a browser has kept, if it is this server's and not too old.
    pub(crate) fn kept_asked(&self, cookie: &str, now: Timestamp) -> Option<Vec<u8>> {
        let key = self.key.derived("asked of a provider");
        read(&key, cookie, now).map(|said| said.rest)
    }

    /// The session of a cookie's value, or of what a program sends; none: it lets nobody in.
    ///
    /// # Errors
    /// When it is not known who there is.
    pub(crate) async fn session(
        &self,
        sent: &str,
        now: Timestamp,
    ) -> Result<Option<Session>, Box<Problem>> {
        if Token::is_one(sent) {
            let people = self.people().await?;
            let found = people.token(sent, now);
            return Ok(found.map(|token| {
                self.of(
                    [0; NONCE],
                    Who {
                        actor: format!("token {}", token.name),
                        person: None,
                        email: String::new(),
                        rights: Rights::new(token.roles.clone()),
                    },
                )
            }));
        }
        let Some(said) = read(&self.key.0, sent, now) else {
            return Ok(None);
        };
        if self.ended.is_spent(&said.nonce) {
            return Ok(None);
        }
        if said.rest.is_empty() {
            return Ok(Some(Session {
                nonce: said.nonce,
                form: self.key.form(&said.nonce),
                who: self.owner.clone(),
            }));
        }
        let Some(bearer) = Bearer::read(&said.rest) else {
            return Ok(None);
        };
        let people = self.people().await?;
        Ok(bearer.among(&people).map(|person| {
            self.of(
                said.nonce,
                Who {
                    actor: format!("{}, in the dashboard", person.name),
                    person: Some(person.name.clone()),
                    email: person.email.clone(),
                    rights: Rights::new(person.roles.clone()),
                },
            )
        }))
    }

    fn of(&self, nonce: Nonce, who: Who) -> Session {
        Session {
            nonce,
            form: self.key.form(&nonce),
            who: Arc::new(who),
        }
    }

    /// Ends a session.
    pub(crate) fn end(&self, session: &Session, now: Timestamp) {
        self.ended.spend(session.nonce, now + SESSION, now);
    }
}

#[cfg(test)]
mod tests;
