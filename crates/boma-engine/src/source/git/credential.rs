//! What a repository lets Boma in by, where that is kept in the secret store.
//!
//! Git is handed it in its environment, which only the same user can read, and never in its arguments
//! or in a file. It is offered to the repository's own host alone, whatever that redirects to.

use std::sync::{Arc, Mutex, PoisonError};

use boma_instance::Secret;
use tokio::process::Command;

use super::GitLocation;

/// Hands user and password to git, which asks by `get`.
const HELPER: &str = "!f() { test \"$1\" = get && printf 'username=%s\\npassword=%s\\n' \
                      \"$BOMA_GIT_USER\" \"$BOMA_GIT_PASSWORD\"; }; f";

/// Lets an agent of its own hold the key while ssh runs; nothing else that could let it in is tried.
/// Hosts that came with the key are known beside those of the user's files.
const SSH: &str = "ssh-agent sh -c 'printf \"%s\\n\" \"$BOMA_GIT_KEY\" | ssh-add -q - && \
                   unset BOMA_GIT_KEY && \
                   if [ -n \"$BOMA_GIT_HOSTS\" ]; then \
                   set -- -o \"KnownHostsCommand=$(command -v printenv) BOMA_GIT_HOSTS\" \"$@\"; fi && \
                   exec ssh -o BatchMode=yes -o IdentityFile=none \"$@\"' ssh";

/// The user of a token that comes without one: hosts look at the token.
const TOKEN_USER: &str = "git";

/// What lets Boma in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GitCredential {
    /// For `https://`: a user, and a password or token.
    Password {
        /// The user.
        user: String,
        /// The password or token.
        password: Secret<String>,
    },
    /// For `ssh://`.
    Key {
        /// A private key, without a passphrase.
        key: Secret<String>,
        /// Lines of `known_hosts`; empty: those that the user has.
        hosts: String,
    },
}

impl GitCredential {
    /// Reads what a person stored: a private key, with lines of `known_hosts` after it or without,
    /// `user:password`, or a token alone.
    pub fn of(stored: &Secret<String>) -> Self {
        let text = stored.expose().trim();
        if text.starts_with("-----BEGIN ") {
            let end = text.find("-----END ").map_or(text.len(), |at| {
                text[at..].find('\n').map_or(text.len(), |line| at + line)
            });
            let (key, hosts) = text.split_at(end);
            return Self::Key {
                key: Secret::new(key.trim_end().to_owned()),
                hosts: hosts.trim().to_owned(),
            };
        }
        let (user, password) = text.split_once(':').unwrap_or((TOKEN_USER, text));
        Self::Password {
            user: user.to_owned(),
            password: Secret::new(password.to_owned()),
        }
    }

    /// Lets a command of git's use it for a repository.
    fn hand_to(&self, command: &mut Command, location: &GitLocation) {
        match self {
            Self::Password { user, password } => {
                let host = host(&location.url);
                // An empty one takes away those of the user's configuration.
                for helper in ["", HELPER] {
                    command.args(["-c", &format!("credential.{host}.helper={helper}")]);
                }
                command
                    .env("BOMA_GIT_USER", user)
                    .env("BOMA_GIT_PASSWORD", password.expose());
            }
            Self::Key { key, hosts } => {
                command
                    .env("GIT_SSH_COMMAND", SSH)
                    .env("BOMA_GIT_KEY", key.expose())
                    .env("BOMA_GIT_HOSTS", hosts);
            }
        }
    }
}

/// Transport and host of an address, as git names what a setting is for: `https://git.example.com`.
fn host(url: &str) -> &str {
    let authority = url.find("://").map_or(0, |at| at + 3);
    let end = url[authority..]
        .find('/')
        .map_or(url.len(), |at| authority + at);
    &url[..end]
}

/// A credential that may be exchanged while it is in use; none: git finds one by itself.
#[derive(Clone, Debug, Default)]
pub struct SharedCredential(Arc<Mutex<Option<GitCredential>>>);

impl SharedCredential {
    /// Takes this one from now on.
    pub fn set(&self, credential: Option<GitCredential>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = credential;
    }

    pub(super) fn hand_to(&self, command: &mut Command, location: &GitLocation) {
        let credential = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(credential) = &*credential {
            credential.hand_to(command, location);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> GitCredential {
        GitCredential::of(&Secret::new(text.to_owned()))
    }

    #[test]
    fn what_a_person_stored_is_a_key_a_password_or_a_token() {
        let password = |user: &str, password: &str| GitCredential::Password {
            user: user.to_owned(),
            password: Secret::new(password.to_owned()),
        };
        assert_eq!(of("bea:a:b\n"), password("bea", "a:b"));
        assert_eq!(of("glpat-x\n"), password("git", "glpat-x"));
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nx:y\n-----END OPENSSH PRIVATE KEY-----";
        let with = |hosts: &str| GitCredential::Key {
            key: Secret::new(key.to_owned()),
            hosts: hosts.to_owned(),
        };
        assert_eq!(of(&format!("{key}\n")), with(""));
        let line = "[127.0.0.1]:22 ssh-ed25519 AAAA";
        assert_eq!(of(&format!("{key}\r\n\n{line}\n")), with(line));
    }

    #[test]
    fn a_credential_is_for_one_host() {
        assert_eq!(
            host("https://git.example.com/a/b.git"),
            "https://git.example.com"
        );
        assert_eq!(host("http://127.0.0.1:8080/x"), "http://127.0.0.1:8080");
        assert_eq!(host("https://git.example.com"), "https://git.example.com");
    }
}
