//! Secrets under names: what is one, and what is asked about them. A value is never given back.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use boma_instance::Secret;
use boma_problem::{Class, IntoProblem, Problem};

use crate::access::Permit;

/// Largest secret, in bytes: a key of 16,384 bits has about 13,000.
pub const LARGEST_SECRET: usize = 64 << 10;

/// Longest name.
const LONGEST: usize = 64;

/// The name of a secret: no path, and without need for quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretName(String);

/// A text is no name of a secret.
#[derive(Debug, thiserror::Error)]
#[error("1 to 64 letters, digits, `-`, `_` and `.`")]
pub struct NotASecretName;

impl SecretName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SecretName {
    type Err = NotASecretName;

    fn from_str(text: &str) -> Result<Self, NotASecretName> {
        let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        let is_name = (1..=LONGEST).contains(&text.len()) && text.chars().all(is_letter);
        is_name.then(|| Self(text.to_owned())).ok_or(NotASecretName)
    }
}

/// Why something is no secret.
#[derive(Debug, thiserror::Error)]
pub enum UnfitSecret {
    /// It is too long, or no text.
    #[error("a secret is text of at most 64 KiB")]
    TooLong,
    /// There is nothing.
    #[error("an empty secret is none")]
    Empty,
}

impl IntoProblem for UnfitSecret {
    fn problem(&self) -> Problem {
        Problem::from_error(Class::User, "secret-unusable", self)
            .hint("Hand it over by a pipe or a file: `boma secret set NAME < FILE`.")
    }
}

/// What somebody hands over as a secret, without the line end after it.
///
/// # Errors
/// It is none.
pub fn secret_of(text: &str) -> Result<Secret<String>, UnfitSecret> {
    if text.len() > LARGEST_SECRET {
        return Err(UnfitSecret::TooLong);
    }
    let text = text.strip_suffix('\n').unwrap_or(text);
    if text.is_empty() {
        return Err(UnfitSecret::Empty);
    }
    Ok(Secret::new(text.to_owned()))
}

/// What people ask about secrets that have a name. What changes something is recorded in the audit
/// trail, without the value.
#[async_trait]
pub trait SecretOperations: Send + Sync {
    /// The names, sorted.
    async fn named_secrets(&self) -> Result<Vec<String>, Box<Problem>>;

    /// Stores a secret, in the place of what has the name.
    async fn set_named_secret(
        &self,
        permit: &Permit,
        name: &SecretName,
        value: Secret<String>,
    ) -> Result<(), Box<Problem>>;

    /// Forgets a secret.
    async fn forget_named_secret(
        &self,
        permit: &Permit,
        name: &SecretName,
    ) -> Result<(), Box<Problem>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_path_and_needs_no_quotes() {
        for name in ["git", "deploy-key_2.pem"] {
            assert_eq!(name.parse::<SecretName>().unwrap().as_str(), name);
        }
        for not in ["", "a/b", "a b", "ä", &"a".repeat(65)] {
            let refused = not.parse::<SecretName>().unwrap_err();
            assert!(refused.to_string().contains("64 letters"), "{not:?}");
        }
    }

    #[test]
    fn a_secret_is_text_of_some_length() {
        assert_eq!(secret_of("a b\n").unwrap().expose(), "a b");
        assert_eq!(secret_of("a\n\n").unwrap().expose(), "a\n");
        for (not, text) in [
            ("", "an empty secret is none"),
            ("\n", "an empty secret is none"),
            (&*"a".repeat(65 << 10), "a secret is text of at most 64 KiB"),
        ] {
            let problem = secret_of(not).unwrap_err().problem();
            assert_eq!(
                (&*problem.code, &*problem.to_string()),
                ("secret-unusable", text)
            );
        }
    }
}
