//! Sealing of secrets: AES-256-GCM under the installation's key.
//!
//! A sealed value names the row that it belongs to as associated data, so that nobody who can
//! write the database file can give one row the secret of another.

use boma_problem::{Class, IntoProblem, Problem};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};

/// Bytes of the installation's key.
pub(crate) const KEY_LEN: usize = 32;

/// Layout of a sealed value: this byte, the nonce, the ciphertext with its tag.
const FORMAT: u8 = 1;

/// Why a secret could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The operating system gave no random bytes, or the cipher refused.
    #[error("seal {row}")]
    Seal {
        /// Which row.
        row: String,
    },
    /// It was sealed with another key, belongs to another row, or was changed.
    #[error("the secret of {row} cannot be opened with this installation's key")]
    Open {
        /// Which row.
        row: String,
    },
}

impl IntoProblem for SealError {
    fn problem(&self) -> Problem {
        match self {
            Self::Seal { .. } => Problem::from_error(Class::Internal, "seal-failed", self),
            Self::Open { .. } => Problem::from_error(Class::Config, "secret-unreadable", self)
                .hint("The file `key` in the state directory is not the one that this state was written with, or the state was changed by hand: bring both back from the same copy."),
        }
    }
}

/// Seals and opens under one key.
pub(crate) struct Sealer {
    key: LessSafeKey,
    random: SystemRandom,
}

impl Sealer {
    /// Takes the installation's key.
    pub(crate) fn new(key: &[u8; KEY_LEN]) -> Result<Self, SealError> {
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|ring::error::Unspecified| {
            SealError::Seal {
                row: "the installation's key".to_owned(),
            }
        })?;
        Ok(Self {
            key: LessSafeKey::new(key),
            random: SystemRandom::new(),
        })
    }

    /// Seals a value for one row. Nonces are random: 96 bits are safe for 2^32 values per key
    /// (NIST SP 800-38D, 8.3), far more than an installation ever writes.
    pub(crate) fn seal(&self, row: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let failed = |ring::error::Unspecified| SealError::Seal {
            row: row.to_owned(),
        };
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(failed)?;
        let mut sealed = plain.to_vec();
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(row.as_bytes()),
                &mut sealed,
            )
            .map_err(failed)?;
        let mut whole = Vec::with_capacity(1 + NONCE_LEN + sealed.len());
        whole.push(FORMAT);
        whole.extend_from_slice(&nonce);
        whole.append(&mut sealed);
        Ok(whole)
    }

    /// Opens what was sealed for the same row.
    pub(crate) fn open(&self, row: &str, whole: &[u8]) -> Result<Vec<u8>, SealError> {
        let failed = || SealError::Open {
            row: row.to_owned(),
        };
        let Some((&FORMAT, rest)) = whole.split_first() else {
            return Err(failed());
        };
        let Some((nonce, sealed)) = rest.split_first_chunk::<NONCE_LEN>() else {
            return Err(failed());
        };
        let mut plain = sealed.to_vec();
        let length = self
            .key
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(row.as_bytes()),
                &mut plain,
            )
            .map_err(|ring::error::Unspecified| failed())?
            .len();
        plain.truncate(length);
        Ok(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(byte: u8) -> Sealer {
        Sealer::new(&[byte; KEY_LEN]).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_again_and_never_looks_the_same() {
        let (one, other) = (
            sealer(1).seal("row", b"secret").unwrap(),
            sealer(1).seal("row", b"secret").unwrap(),
        );
        assert_ne!(one, other);
        assert_eq!(sealer(1).open("row", &one).unwrap(), b"secret");
        assert!(!one.windows(6).any(|part| part == b"secret"));
    }

    #[test]
    fn another_row_another_key_and_a_changed_byte_are_refused() {
        let sealed = sealer(1).seal("login/a", b"secret").unwrap();
        assert!(sealer(1).open("login/b", &sealed).is_err());
        assert!(sealer(2).open("login/a", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(sealer(1).open("login/a", &changed).is_err(), "byte {at}");
            assert!(sealer(1).open("login/a", &sealed[..at]).is_err());
        }
        let problem = sealer(2).open("login/a", &sealed).unwrap_err().problem();
        assert_eq!(problem.code, "secret-unreadable");
        assert_eq!(
            problem.message,
            "the secret of login/a cannot be opened with this installation's key"
        );
    }
}
