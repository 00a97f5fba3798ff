//! People and tokens as lists show them: the API's, and those of the command line.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Assignment, Person, Token};

/// How somebody signs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SignsIn {
    /// With the provider of identities.
    Provider,
    /// With a password that is kept here.
    Password,
    /// Not yet: an invitation waits for them.
    Invited,
}

impl From<&Person> for SignsIn {
    fn from(one: &Person) -> Self {
        match (&one.provider, &one.password) {
            (Some(_), _) => Self::Provider,
            (None, Some(_)) => Self::Password,
            (None, None) => Self::Invited,
        }
    }
}

impl SignsIn {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Provider => "with the provider",
            Self::Password => "with a password",
            Self::Invited => "is invited",
        }
    }
}

/// Somebody who may sign in.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Person")]
#[serde(rename_all = "camelCase")]
pub struct ListedPerson {
    /// What they sign in with.
    pub name: String,
    /// Their address, for commits; may be empty.
    pub email: String,
    /// How.
    pub signs_in: SignsIn,
    /// What they may do: `ROLE:SCOPE`.
    pub roles: Vec<String>,
}

impl From<&Person> for ListedPerson {
    fn from(one: &Person) -> Self {
        Self {
            name: one.name.to_string(),
            email: one.email.clone(),
            signs_in: one.into(),
            roles: words(&one.roles),
        }
    }
}

/// What lets a program in, without what it sends.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Token")]
#[serde(rename_all = "camelCase")]
pub struct ListedToken {
    /// What people call it.
    pub name: String,
    /// What the program may do: `ROLE:SCOPE`.
    pub roles: Vec<String>,
    /// Until when; none: until it is removed.
    pub until: Option<Timestamp>,
    /// Who made it.
    pub made_by: String,
    /// When.
    pub made_at: Timestamp,
}

impl From<&Token> for ListedToken {
    fn from(one: &Token) -> Self {
        Self {
            name: one.name.to_string(),
            roles: words(&one.roles),
            until: one.until,
            made_by: one.made_by.clone(),
            made_at: one.made_at,
        }
    }
}

fn words(roles: &[Assignment]) -> Vec<String> {
    roles.iter().map(ToString::to_string).collect()
}
