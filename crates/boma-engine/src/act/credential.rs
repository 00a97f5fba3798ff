//! Passwords.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use boma_instance::Secret;
use boma_problem::{Class, IntoProblem, Problem};
use postgres_protocol::password;
use ring::rand::{SecureRandom, SystemRandom};

use crate::platform::Credential;

/// Bits enough that nobody guesses one, whatever happens to hashes.
const PASSWORD_BYTES: usize = 32;

/// Makes passwords.
pub trait Credentials: Send + Sync {
    /// Makes a password for a role.
    ///
    /// # Errors
    /// When there are no random numbers.
    fn make(&self, role: &str, serial: u64) -> Result<Credential, CredentialError>;
}

/// A password could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The operating system gave no random numbers.
    #[error("the operating system gives no random numbers for the password of role {role:?}")]
    NoRandomness {
        /// For which role.
        role: String,
    },
}

impl IntoProblem for CredentialError {
    fn problem(&self) -> Problem {
        Problem::new(Class::Config, "no-randomness", self.to_string())
            .hint("Look whether /dev/urandom is there and can be read.")
    }
}

/// Makes passwords of 256 bits from the operating system, URL-safe.
pub struct RandomCredentials(SystemRandom);

impl RandomCredentials {
    /// Takes random numbers from the operating system.
    pub fn new() -> Self {
        Self(SystemRandom::new())
    }
}

impl Default for RandomCredentials {
    fn default() -> Self {
        Self::new()
    }
}

impl Credentials for RandomCredentials {
    fn make(&self, role: &str, serial: u64) -> Result<Credential, CredentialError> {
        let mut bytes = [0; PASSWORD_BYTES];
        // ring's error says nothing, by intent.
        if self.0.fill(&mut bytes).is_err() {
            return Err(CredentialError::NoRandomness {
                role: role.to_owned(),
            });
        }
        let password = URL_SAFE_NO_PAD.encode(bytes);
        // The password is ASCII without control characters, so SASLprep leaves it as it is.
        let verifier = password::scram_sha_256(password.as_bytes());
        Ok(Credential {
            role: role.to_owned(),
            password: Secret::new(password),
            verifier: Secret::new(verifier),
            serial,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_256_bits_and_needs_no_quoting_in_a_url() {
        let made = RandomCredentials::new().make("auth_api_1", 1).unwrap();
        let password = made.password.expose();
        assert_eq!(password.len(), 43);
        assert!(
            password
                .chars()
                .all(|char| char.is_ascii_alphanumeric() || "-_".contains(char))
        );
        assert!(made.verifier.expose().starts_with("SCRAM-SHA-256$4096:"));
        let other = RandomCredentials::new().make("auth_api_1", 1).unwrap();
        assert_ne!(password, other.password.expose());
    }

    #[test]
    fn a_credential_shows_no_secret() {
        let made = RandomCredentials::new().make("auth_api_1", 1).unwrap();
        let shown = format!("{made:?}");
        assert!(!shown.contains(made.password.expose()));
        assert!(!shown.contains("SCRAM"));
    }
}
