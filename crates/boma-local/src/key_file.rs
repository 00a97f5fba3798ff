//! The file that holds the installation's key.
//!
//! It is made once, together with the state, and never overwritten: whoever loses it loses every
//! secret in the state (new passwords can be made; data is not touched).

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use boma_problem::{Class, IntoProblem, Problem};
use nix::unistd::Uid;
use ring::rand::{SecureRandom, SystemRandom};

use crate::seal::KEY_LEN;

/// Why the key could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The state is there, and its key is not.
    #[error("the key `{path}` is missing, and there is state that was sealed with it")]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Somebody else owns it or may read it.
    #[error("the key `{path}` is not protected: owner {owner}, mode {mode:04o}")]
    Exposed {
        /// Where it is.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Its mode.
        mode: u32,
    },
    /// It does not hold 256 bits in hexadecimal.
    #[error("`{path}` does not hold a key")]
    NotAKey {
        /// Where it is.
        path: PathBuf,
    },
    /// Reading or writing failed.
    #[error("{doing} the key `{path}`")]
    Io {
        /// `read` or `write`.
        doing: &'static str,
        /// Where it is.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes for a key")]
    NoRandomness,
}

impl IntoProblem for KeyFileError {
    fn problem(&self) -> Problem {
        let problem = |class, code| Problem::from_error(class, code, self);
        match self {
            Self::Missing { .. } => problem(Class::Config, "key-missing")
                .hint("Put the key back from your copy of the state directory. Boma makes no new one, because no stored password could be read with it."),
            Self::Exposed { path, .. } => problem(Class::Config, "key-exposed").hint(format!(
                "Make it yours alone: `chmod 600 {0}` and `chown` it to the user that runs Boma.",
                path.display()
            )),
            Self::NotAKey { .. } => problem(Class::Config, "key-damaged")
                .hint("Put the key back from your copy of the state directory: 64 hexadecimal digits."),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                problem(Class::Config, "disk-full").hint(crate::files::FREE_SPACE)
            }
            Self::Io { .. } => problem(Class::Config, "key-unreadable"),
            Self::NoRandomness => problem(Class::Internal, "no-randomness"),
        }
    }
}

/// Reads the key, or makes it when `state_exists` is false. The caller holds the `init` lock.
pub(crate) fn load_or_create(
    path: &Path,
    state_exists: bool,
) -> Result<[u8; KEY_LEN], KeyFileError> {
    match File::open(path) {
        Ok(file) => load(path, file),
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(io_error("read", path)(source))
        }
        Err(_) if state_exists => Err(KeyFileError::Missing {
            path: path.to_owned(),
        }),
        Err(_) => create(path),
    }
}

/// The name of a key that is about to take the place of `path`.
pub(crate) fn next(path: &Path) -> PathBuf {
    path.with_file_name("key.next")
}

/// Reads a key, if there is one.
pub(crate) fn load_existing(path: &Path) -> Result<Option<[u8; KEY_LEN]>, KeyFileError> {
    match File::open(path) {
        Ok(file) => load(path, file).map(Some),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(io_error("read", path)(source)),
    }
}

/// Makes the key that is about to take the place of `path`. The caller holds the `init` lock and
/// has settled what an earlier attempt left.
pub(crate) fn create_next(path: &Path) -> Result<[u8; KEY_LEN], KeyFileError> {
    create(&next(path))
}

/// Gives the next key its place; the former one is gone then.
pub(crate) fn promote(path: &Path) -> Result<(), KeyFileError> {
    let promote = || {
        std::fs::rename(next(path), path)?;
        crate::files::sync_parent(path)
    };
    promote().map_err(io_error("write", path))
}

/// Finishes or undoes what a change of the key left that was killed. `fits` says whether the state
/// is sealed with a key. Only a key that does not fit, beside one that does, is removed. The caller
/// holds the `init` lock.
pub(crate) fn settle<E: From<KeyFileError>>(
    path: &Path,
    fits: impl Fn(&[u8; KEY_LEN]) -> Result<bool, E>,
) -> Result<(), E> {
    let next = next(path);
    let Some(candidate) = load_existing(&next)? else {
        return Ok(());
    };
    if let Some(key) = load_existing(path)?
        && fits(&key)?
    {
        let remove = || {
            std::fs::remove_file(&next)?;
            crate::files::sync_parent(&next)
        };
        return Ok(remove().map_err(io_error("write", &next))?);
    }
    if fits(&candidate)? {
        promote(path)?;
    }
    Ok(())
}

fn load(path: &Path, mut file: File) -> Result<[u8; KEY_LEN], KeyFileError> {
    let meta = file.metadata().map_err(io_error("read", path))?;
    if meta.uid() != Uid::effective().as_raw() || meta.mode() & 0o077 != 0 {
        return Err(KeyFileError::Exposed {
            path: path.to_owned(),
            owner: meta.uid(),
            mode: meta.mode() & 0o7777,
        });
    }
    let mut text = String::new();
    match file.read_to_string(&mut text) {
        Err(source) if source.kind() != io::ErrorKind::InvalidData => {
            Err(io_error("read", path)(source))
        }
        Ok(_) | Err(_) => parse(&text).ok_or_else(|| KeyFileError::NotAKey {
            path: path.to_owned(),
        }),
    }
}

/// Writes it beside its place and links it there: a crash leaves a whole key or none, and a key
/// that appeared meanwhile is never replaced.
fn create(path: &Path) -> Result<[u8; KEY_LEN], KeyFileError> {
    let mut key = [0; KEY_LEN];
    SystemRandom::new()
        .fill(&mut key)
        .map_err(|ring::error::Unspecified| KeyFileError::NoRandomness)?;
    let beside = path.with_extension("new");
    let write = || -> io::Result<()> {
        // A leftover of a crash; nobody else writes here while the lock is held.
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(format(&key).as_bytes())?;
        file.sync_all()?;
        std::fs::hard_link(&beside, path)?;
        std::fs::remove_file(&beside)?;
        crate::files::sync_parent(path)
    };
    write().map_err(io_error("write", path))?;
    Ok(key)
}

fn io_error<'a>(
    doing: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> KeyFileError + 'a {
    move |source| KeyFileError::Io {
        doing,
        path: path.to_owned(),
        source,
    }
}

fn format(key: &[u8; KEY_LEN]) -> String {
    use std::fmt::Write as _;
    key.iter()
        .fold(String::with_capacity(2 * KEY_LEN + 1), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a string should not fail");
            text
        })
        + "\n"
}

fn parse(text: &str) -> Option<[u8; KEY_LEN]> {
    let digits = text.trim_end().as_bytes();
    if digits.len() != 2 * KEY_LEN {
        return None;
    }
    let mut key = [0; KEY_LEN];
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        let nibble = |digit: u8| {
            char::from(digit)
                .to_digit(16)
                .and_then(|value| u8::try_from(value).ok())
        };
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let key = load_or_create(&path, false).unwrap();
        assert_eq!(load_or_create(&path, true).unwrap(), key);
        assert_ne!(key, [0; KEY_LEN]);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(!dir.path().join("key.new").exists());
    }

    #[test]
    fn a_leftover_of_a_crash_does_not_hinder() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("key.new"), "half").unwrap();
        load_or_create(&dir.path().join("key"), false).unwrap();
    }

    #[test]
    fn a_missing_key_with_state_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let problem = load_or_create(&path, true).unwrap_err().problem();
        assert_eq!(problem.code, "key-missing");
        assert!(
            problem
                .message
                .ends_with("is missing, and there is state that was sealed with it")
        );
        assert!(!path.exists());
    }

    #[test]
    fn a_readable_or_damaged_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        load_or_create(&path, false).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let problem = load_or_create(&path, true).unwrap_err().problem();
        assert_eq!(problem.code, "key-exposed");
        assert!(problem.message.ends_with("mode 0640"), "{problem}");

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        for damaged in ["", "abc", &"z".repeat(64)] {
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(
                load_or_create(&path, true).unwrap_err().problem().code,
                "key-damaged"
            );
            assert_eq!(std::fs::read_to_string(&path).unwrap(), damaged);
        }
    }
}
