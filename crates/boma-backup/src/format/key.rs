//! The key of a repository, and those that it had before.

use std::fmt;

use boma_instance::Secret;
use ring::{digest, hkdf, hmac};

use super::hex;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// Prefix of an exported key: what it is, and the version of this form.
const PREFIX: &str = "boma-key-1-";

/// Hexadecimal digits of the check sum in an exported key: a slip of the pen is found.
const CHECK_DIGITS: usize = 8;

/// The key of one repository: 256 bits. What is written is sealed under keys derived from this one,
/// so that whoever holds it can read the repository without any installation of Boma.
///
/// One that was renewed holds the former ones too: what was written under them opens still.
#[derive(Clone, PartialEq, Eq)]
pub struct RepositoryKey {
    bytes: [u8; KEY_BYTES],
    /// Newest first.
    former: Vec<[u8; KEY_BYTES]>,
}

impl fmt::Debug for RepositoryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RepositoryKey({})", self.id())
    }
}

/// Says which key something is sealed under, without saying the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(pub [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

/// Text that is not an exported key. It never repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseKeyError {
    /// It does not look like one.
    #[error("the text is not a repository key: it begins with `{PREFIX}` and has 72 digits")]
    NotAKey,
    /// It does, with a digit wrong.
    #[error("the repository key has a wrong digit: its check sum does not fit")]
    WrongCheck,
}

impl RepositoryKey {
    /// Takes 256 random bits from the operating system.
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self {
            bytes,
            former: Vec::new(),
        }
    }

    /// Another key for what is written from now on; this one opens what it has sealed.
    #[must_use]
    pub fn renewed(&self, bytes: [u8; KEY_BYTES]) -> Self {
        let former = std::iter::once(self.bytes).chain(self.former.iter().copied());
        Self {
            bytes,
            former: former.collect(),
        }
    }

    /// The one of them that has this id, alone.
    pub fn with_id(&self, id: KeyId) -> Option<Self> {
        self.each().find(|key| key.id() == id)
    }

    /// Each by itself, the one that seals first.
    pub fn each(&self) -> impl Iterator<Item = Self> + '_ {
        let all = std::iter::once(&self.bytes).chain(&self.former);
        all.copied().map(Self::new)
    }

    /// Reads an exported key: one, or several with space between, the one that seals first.
    pub fn parse(text: &str) -> Result<Self, ParseKeyError> {
        let mut keys = text.split_whitespace().map(Self::parse_one);
        let bytes = keys.next().ok_or(ParseKeyError::NotAKey)??;
        let former = keys.collect::<Result<_, _>>()?;
        Ok(Self { bytes, former })
    }

    fn parse_one(text: &str) -> Result<[u8; KEY_BYTES], ParseKeyError> {
        let digits = text.strip_prefix(PREFIX).ok_or(ParseKeyError::NotAKey)?;
        let (key, check) = digits
            .split_at_checked(KEY_BYTES * 2)
            .ok_or(ParseKeyError::NotAKey)?;
        if check.len() != CHECK_DIGITS {
            return Err(ParseKeyError::NotAKey);
        }
        let bytes = hex::decode(key).ok_or(ParseKeyError::NotAKey)?;
        if check_of(&bytes) == check.to_ascii_lowercase() {
            Ok(bytes)
        } else {
            Err(ParseKeyError::WrongCheck)
        }
    }

    /// The form in which a person keeps it: a line for each, the one that seals first.
    pub fn export(&self) -> Secret<String> {
        let all = std::iter::once(&self.bytes).chain(&self.former);
        let lines = all.map(|key| format!("{PREFIX}{}{}", hex::encode(key), check_of(key)));
        Secret::new(lines.collect::<Vec<_>>().join("\n"))
    }

    /// Which key it is that seals.
    pub fn id(&self) -> KeyId {
        let mut id = [0; 8];
        self.derive(&[], b"id", &mut id);
        KeyId(id)
    }

    /// A seal on what everybody may read, in hexadecimal digits: HMAC-SHA256.
    pub fn sign(&self, text: &str) -> String {
        let mut key = [0; KEY_BYTES];
        self.derive(&[], b"marker", &mut key);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        hex::encode(hmac::sign(&key, text.as_bytes()).as_ref())
    }

    /// Derives another key: HKDF-SHA256 (RFC 5869) with this one as input.
    pub(super) fn derive(&self, salt: &[u8], info: &[u8], out: &mut [u8]) {
        struct Length(usize);
        impl hkdf::KeyType for Length {
            fn len(&self) -> usize {
                self.0
            }
        }
        let info = [b"boma-repository-1\0".as_slice(), info];
        hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
            .extract(&self.bytes)
            .expand(&info, Length(out.len()))
            .and_then(|material| material.fill(out))
            .expect("should be: HKDF-SHA256 gives up to 8160 bytes, and 32 at most are asked for");
    }
}

fn check_of(key: &[u8; KEY_BYTES]) -> String {
    let sum = digest::digest(&digest::SHA256, key);
    hex::encode(&sum.as_ref()[..CHECK_DIGITS / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exported_key_comes_back() {
        let key = RepositoryKey::new([7; KEY_BYTES]);
        let text = key.export().expose().clone();
        assert_eq!(RepositoryKey::parse(&format!(" {text}\n")).unwrap(), key);
        assert_eq!(text.len(), PREFIX.len() + 72);
    }

    #[test]
    fn one_that_was_renewed_holds_the_former_ones() {
        let first = RepositoryKey::new([7; KEY_BYTES]);
        let third = first.renewed([8; KEY_BYTES]).renewed([9; KEY_BYTES]);
        let text = third.export().expose().clone();
        assert_eq!(text.lines().count(), 3);
        assert_eq!(RepositoryKey::parse(&text).unwrap(), third);
        assert_eq!(third.id(), RepositoryKey::new([9; KEY_BYTES]).id());
        assert_eq!(third.with_id(first.id()), Some(first.clone()));
        assert_eq!(first.with_id(third.id()), None);
        // A key among them that was written wrong is not left out.
        let wrong = text.replacen(&text[20..21], "!", 1);
        assert_eq!(RepositoryKey::parse(&wrong), Err(ParseKeyError::NotAKey));
    }

    #[test]
    fn a_wrong_digit_is_found_and_the_text_not_repeated() {
        let mut text = RepositoryKey::new([7; KEY_BYTES]).export().expose().clone();
        text.replace_range(20..21, "f");
        let error = RepositoryKey::parse(&text).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the repository key has a wrong digit: its check sum does not fit"
        );
        for text in ["", "boma-key-1-", "boma-key-1-äöü", "hunter2"] {
            let error = RepositoryKey::parse(text).unwrap_err();
            assert!(error.to_string().contains("not a repository key"));
        }
    }

    #[test]
    fn a_seal_is_of_one_text_under_one_key() {
        let key = RepositoryKey::new([7; KEY_BYTES]);
        assert_eq!(key.sign("text"), key.sign("text"));
        assert_ne!(key.sign("text"), key.sign("texts"));
        let other = RepositoryKey::new([8; KEY_BYTES]);
        assert_ne!(key.sign("text"), other.sign("text"));
    }

    #[test]
    fn it_is_not_shown() {
        let key = RepositoryKey::new([7; KEY_BYTES]);
        assert!(!format!("{key:?}").contains("0707"));
        assert_ne!(key.id(), RepositoryKey::new([8; KEY_BYTES]).id());
    }
}
