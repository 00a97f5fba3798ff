//! Who there is, and what each of them may do where.
//!
//! ```text
//!   owner (a link of this machine) ─┐
//!   person: password, or a provider ├─► Rights: role on a scope, … ─► Permit ─► what is asked for
//!   program: token ─────────────────┘
//! ```
//!
//! People and tokens are one document, kept by the platform with its secrets. Of a password there is a
//! hash (argon2id), of a token the SHA-256 of its 256 random bits.

mod change;
mod listed;
mod password;
mod rights;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use boma_instance::Secret;
use boma_problem::Problem;
use jiff::{SignedDuration, Timestamp};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};

pub use change::{PeopleChange, PeopleError, Somebody};
pub use listed::{ListedPerson, ListedToken, SignsIn};
pub use password::{PasswordHash, UnfitPassword};
pub use rights::{Assignment, NotAScope, NotAnAssignment, Rights, Role, Scope};

/// Longest name, in bytes: that of a mail address in use.
const LONGEST: usize = 100;

/// What every token begins with, so that whoever finds one knows what it is.
const TOKEN_PREFIX: &str = "boma_";

/// The name of a person or a token: lower-case letters, digits, and `.`, `_`, `-`, `+`, `@`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PersonName(Arc<str>);

/// A text is no name of a person or a token.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no name: lower-case letters, digits, and . _ - + @, at most 100 of them")]
pub struct NotAName(String);

impl PersonName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PersonName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let is_letter =
            |one: u8| one.is_ascii_lowercase() || one.is_ascii_digit() || b"._-+@".contains(&one);
        let is_name = (1..=LONGEST).contains(&text.len()) && text.bytes().all(is_letter);
        is_name
            .then(|| Self(text.into()))
            .ok_or_else(|| NotAName(text.to_owned()))
    }
}

impl TryFrom<String> for PersonName {
    type Error = NotAName;

    fn try_from(text: String) -> Result<Self, NotAName> {
        text.parse()
    }
}

impl From<PersonName> for String {
    fn from(name: PersonName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for PersonName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Somebody who may sign in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Person {
    /// What they sign in with.
    pub name: PersonName,
    /// Their address, for commits; empty: none is known.
    #[serde(default)]
    pub email: String,
    /// None: they have chosen none yet, or sign in with a provider.
    #[serde(default)]
    pub password: Option<PasswordHash>,
    /// Counts invitations and passwords: sessions and links of an earlier count are over.
    pub serial: u32,
    /// What they may do.
    pub roles: Vec<Assignment>,
    /// Who they are to the provider that they sign in with; none: they have a password.
    #[serde(default)]
    pub provider: Option<ProviderIdentity>,
}

/// Who somebody is to an OpenID provider. Both together never name another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderIdentity {
    /// The provider.
    pub issuer: String,
    /// Its own name for that person.
    pub subject: String,
}

/// What lets a program in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// What people call it.
    pub name: PersonName,
    /// SHA-256 of what the program sends, in base64.
    pub digest: String,
    /// What the program may do.
    pub roles: Vec<Assignment>,
    /// Until when; none: until it is removed.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// Who made it.
    pub made_by: String,
    /// When.
    pub made_at: Timestamp,
}

impl Token {
    /// A new one that is good for some days, and what its program sends: 256 bits of the system's
    /// randomness; none: it has none.
    pub fn generate(
        name: PersonName,
        (roles, days): (Vec<Assignment>, i64),
        made_by: String,
        now: Timestamp,
    ) -> Option<(Self, Secret<String>)> {
        let mut bytes = [0_u8; 32];
        SystemRandom::new().fill(&mut bytes).ok()?;
        let text = BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let sent = format!("{TOKEN_PREFIX}{text}");
        let token = Self {
            name,
            digest: Self::digest_of(&sent),
            roles,
            until: Some(now + SignedDuration::from_hours(24 * days)),
            made_by,
            made_at: now,
        };
        Some((token, Secret::new(sent)))
    }

    /// What is kept of it.
    fn digest_of(sent: &str) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, sent.as_bytes()))
    }

    /// Whether what a program sends is meant to be one.
    pub(crate) fn is_one(sent: &str) -> bool {
        sent.starts_with(TOKEN_PREFIX)
    }
}

/// Everybody, and every token, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct People {
    /// Who may sign in.
    pub people: Vec<Person>,
    /// What lets programs in.
    pub tokens: Vec<Token>,
}

impl People {
    /// A person, by name.
    pub fn person(&self, name: &PersonName) -> Option<&Person> {
        self.people.iter().find(|one| one.name == *name)
    }

    /// The token that a program has sent, while it is good.
    pub(crate) fn token(&self, sent: &str, now: Timestamp) -> Option<&Token> {
        let digest = Token::digest_of(sent);
        let mut tokens = self.tokens.iter();
        tokens.find(|one| one.digest == digest && one.until.is_none_or(|until| now < until))
    }
}

/// Keeps the people of an installation.
#[async_trait]
pub trait Register: Send + Sync {
    /// Everybody, as it was stored last.
    async fn people(&self) -> Result<People, Box<Problem>>;

    /// Changes who there is, in one step with reading it, and records it in the audit trail.
    async fn change_people(
        &self,
        change: PeopleChange,
        rights: &Rights,
        actor: &str,
    ) -> Result<People, Box<Problem>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_can_be_typed_and_told_apart() {
        for name in ["ana", "ana.b@shop.example", "ci-1", "a+b_c"] {
            assert_eq!(name.parse::<PersonName>().unwrap().as_str(), name);
        }
        for not in ["", "Ana", "a b", "a/b", "ä", "a\n", &"a".repeat(101)] {
            let refused = not.parse::<PersonName>().unwrap_err();
            assert!(refused.to_string().contains("is no name"), "{not:?}");
        }
    }

    #[test]
    fn a_token_is_known_by_its_digest_until_it_is_over() {
        let at: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let made_at = at - SignedDuration::from_hours(48);
        let name = "ci".parse().unwrap();
        let made = Token::generate(name, (Vec::new(), 2), "owner".to_owned(), made_at);
        let (token, sent) = made.unwrap();
        assert!(Token::is_one(sent.expose()));
        let people = People {
            tokens: vec![token],
            ..People::default()
        };
        let before = at - SignedDuration::from_secs(1);
        assert!(people.token(sent.expose(), before).is_some());
        assert!(people.token(sent.expose(), at).is_none());
        assert!(people.token("boma_other", before).is_none());
        let written = serde_json::to_string(&people).unwrap();
        assert!(!written.contains(sent.expose()));
        assert_eq!(serde_json::from_str::<People>(&written).unwrap(), people);
    }
}
