//! Secrets under names: what is one, and what is asked about them. A value is never given back here; what an
//! application was given of them, `reveal` shows to those who may see it.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use boma_engine::keys::SecretKey;
use boma_instance::Secret;
use boma_manifest::ProjectIdentity;
use boma_problem::{Class, IntoProblem, Problem};

use crate::access::Permit;

/// Largest secret, in bytes: a key of 16,384 bits has about 13,000.
pub const LARGEST_SECRET: usize = 64 << 10;

/// Longest name of one of the installation's.
const LONGEST: usize = 64;

/// The name of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretName {
    /// One of the installation's own, such as what lets into a repository: letters, digits, `-`, `_`
    /// and `.`.
    Installation(String),
    /// One for the applications of a project, whose manifests name it.
    Project(SecretKey),
}

/// A text is no name of a secret.
#[derive(Debug, thiserror::Error)]
#[error(
    "1 to 64 letters, digits, `-`, `_` and `.`; or PROJECT/NAME with the whole identity of a \
     project, and a name as manifests have it"
)]
pub struct NotASecretName;

impl SecretName {
    /// The identity of the project whose secret it is; empty: the installation's own.
    pub fn project(&self) -> &str {
        match self {
            Self::Installation(_) => "",
            Self::Project(key) => &key.project,
        }
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Installation(name) => f.write_str(name),
            Self::Project(key) => key.fmt(f),
        }
    }
}

impl FromStr for SecretName {
    type Err = NotASecretName;

    fn from_str(text: &str) -> Result<Self, NotASecretName> {
        if let Some((project, name)) = text.rsplit_once('/') {
            let is_project = project.parse::<ProjectIdentity>().is_ok();
            let is_name = name.parse::<boma_manifest::SecretName>().is_ok();
            let key = SecretKey::new(project, name);
            return (is_project && is_name)
                .then_some(Self::Project(key))
                .ok_or(NotASecretName);
        }
        let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        let is_name = (1..=LONGEST).contains(&text.len()) && text.chars().all(is_letter);
        is_name
            .then(|| Self::Installation(text.to_owned()))
            .ok_or(NotASecretName)
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
    /// No variable could hold it.
    #[error("a secret is text without a NUL character")]
    Nul,
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
    if text.contains('\0') {
        return Err(UnfitSecret::Nul);
    }
    Ok(Secret::new(text.to_owned()))
}

/// What people ask about secrets that have a name. What changes something is recorded in the audit
/// trail, without the value.
#[async_trait]
pub trait SecretOperations: Send + Sync {
    /// The names, sorted.
    async fn named_secrets(&self) -> Result<Vec<SecretName>, Box<Problem>>;

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
    fn a_name_is_the_installations_or_one_of_a_project() {
        for (name, project) in [
            ("git", ""),
            ("deploy-key_2.pem", ""),
            ("o/u/e/p/smtp-password", "o/u/e/p"),
        ] {
            let read = name.parse::<SecretName>().unwrap();
            assert_eq!((&*read.to_string(), read.project()), (name, project));
        }
        let paths = ["a/b", "o/u/e/p/", "o/u/e/p/A_B", "/u/e/p/a", "o/u/e/p/q/a"];
        let others = ["", "a b", "ä", &*"a".repeat(65)];
        for not in paths.into_iter().chain(others) {
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
            ("a\0b", "a secret is text without a NUL character"),
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
