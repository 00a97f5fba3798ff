//! Passwords of people, as they are kept: argon2id with the parameters of the library, which are those
//! that OWASP recommends (19 MiB, two passes).

use argon2::password_hash::phc;
use argon2::{Argon2, PasswordHasher as _, PasswordVerifier as _};
use boma_instance::Secret;
use serde::{Deserialize, Serialize};

/// Fewest characters. (NIST SP 800-63B-4, 3.1.1.2, asks for 15 of a password that is the only factor.)
const LEAST: usize = 15;

/// Most bytes that are hashed.
const MOST: usize = 1024;

/// Of 32 random bytes that nobody has kept.
const DECOY: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// What is kept of a password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordHash(String);

/// A password that is not taken.
#[derive(Debug, thiserror::Error)]
pub enum UnfitPassword {
    /// It is too short to be the only thing that lets somebody in.
    #[error("the password has fewer than 15 characters")]
    Short,
    /// It is longer than anybody types.
    #[error("the password has more than 1024 bytes")]
    Long,
    /// The system has no random bytes or no memory for it.
    #[error("hash the password")]
    Hash(#[source] argon2::password_hash::Error),
}

impl PasswordHash {
    /// Hashes a password; takes 19 MiB and some hundredths of a second.
    ///
    /// # Errors
    /// When it is too short or too long.
    pub fn of(password: &Secret<String>) -> Result<Self, UnfitPassword> {
        let password = password.expose();
        if password.chars().count() < LEAST {
            return Err(UnfitPassword::Short);
        }
        if password.len() > MOST {
            return Err(UnfitPassword::Long);
        }
        let hash = Argon2::default().hash_password(password.as_bytes());
        let hash: phc::PasswordHash = hash.map_err(UnfitPassword::Hash)?;
        Ok(Self(hash.to_string()))
    }

    /// A hash of no password that anybody has, of the same cost: what is compared where there is none.
    pub(crate) fn decoy() -> Self {
        Self(DECOY.to_owned())
    }

    /// Whether it is of this password; takes as long as [`Self::of`].
    pub(crate) fn is_of(&self, password: &Secret<String>) -> bool {
        let password = password.expose();
        let hash = phc::PasswordHash::new(&self.0);
        let hash = hash.ok().filter(|_| password.len() <= MOST);
        hash.is_some_and(|hash| {
            let verified = Argon2::default().verify_password(password.as_bytes(), &hash);
            verified.is_ok()
        })
    }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_by_its_hash() {
        let password = Secret::new("correct horse battery".to_owned());
        let hash = PasswordHash::of(&password).unwrap();
        assert!(
            hash.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{}",
            hash.0
        );
        assert!(hash.is_of(&password));
        assert!(!hash.is_of(&Secret::new("correct horse batterx".to_owned())));
        assert_ne!(
            hash,
            PasswordHash::of(&password).unwrap(),
            "each has its salt"
        );
        assert_eq!(format!("{hash:?}"), "PasswordHash");
        assert!(!PasswordHash("none".to_owned()).is_of(&password));
    }

    #[test]
    fn what_is_too_short_or_too_long_is_not_taken() {
        let taken = |text: String| {
            PasswordHash::of(&Secret::new(text))
                .unwrap_err()
                .to_string()
        };
        assert!(taken("14-letters-lon".to_owned()).contains("fewer than 15 characters"));
        assert!(taken("x".repeat(1025)).contains("more than 1024 bytes"));
    }
}
