//! The system user that servers run as.

use boma_problem::{Class, IntoProblem, Problem};
use nix::unistd::{Gid, Uid, User};

/// Why there is no user to run servers as.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The system does not know the user.
    #[error("there is no system user `{name}` to run PostgreSQL as")]
    Missing {
        /// Its name.
        name: String,
    },
    /// The user is root.
    #[error("PostgreSQL does not run as root, and user `{name}` is root")]
    IsRoot {
        /// Its name.
        name: String,
    },
    /// The system's user database could not be read.
    #[error("look up system user `{name}`")]
    Lookup {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: nix::Error,
    },
}

impl IntoProblem for UserError {
    fn problem(&self) -> Problem {
        match self {
            Self::Missing { name } => Problem::from_error(Class::Config, "system-user-missing", self)
                .hint(format!(
                    "Make one with `useradd --system --no-create-home --shell /usr/sbin/nologin {name}`, or name another one in `config.toml` (`system-user`)."
                )),
            Self::IsRoot { .. } => Problem::from_error(Class::Config, "system-user-is-root", self)
                .hint("Name an ordinary user in `config.toml` (`system-user`)."),
            Self::Lookup { .. } => Problem::from_error(Class::Transient, "system-user-lookup", self),
        }
    }
}

/// A user that programs are run as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SystemUser {
    /// Its name.
    pub(crate) name: String,
    /// Its id.
    pub(crate) uid: Uid,
    /// Its primary group.
    pub(crate) gid: Gid,
}

impl SystemUser {
    /// Whom servers run as: as root the configured user (`postgres` unless said otherwise), else
    /// whoever runs Boma.
    pub(crate) fn for_servers(configured: Option<&str>) -> Result<Self, UserError> {
        let me = Uid::effective();
        if !me.is_root() {
            return Ok(Self {
                name: User::from_uid(me)
                    .ok()
                    .flatten()
                    .map_or_else(|| me.to_string(), |user| user.name),
                uid: me,
                gid: Gid::effective(),
            });
        }
        let user = Self::named(configured.unwrap_or("postgres"))?;
        if user.uid.is_root() {
            return Err(UserError::IsRoot { name: user.name });
        }
        Ok(user)
    }

    /// A user by name.
    pub(crate) fn named(name: &str) -> Result<Self, UserError> {
        let name = name.to_owned();
        match User::from_name(&name) {
            Ok(Some(user)) => Ok(Self {
                name,
                uid: user.uid,
                gid: user.gid,
            }),
            Ok(None) => Err(UserError::Missing { name }),
            Err(source) => Err(UserError::Lookup { name, source }),
        }
    }

    /// Whether it is another one than who runs Boma.
    pub(crate) fn differs(&self) -> bool {
        self.uid != Uid::effective()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_user_is_named_with_the_command_that_makes_it() {
        let problem = SystemUser::named("boma-nobody-here").unwrap_err().problem();
        assert_eq!(problem.code, "system-user-missing");
        assert_eq!(
            problem.to_string(),
            "there is no system user `boma-nobody-here` to run PostgreSQL as"
        );
        assert!(problem.hints[0].contains("useradd --system"));
    }

    #[test]
    fn servers_never_run_as_root() {
        if !Uid::effective().is_root() {
            assert!(!SystemUser::for_servers(None).unwrap().differs());
            return;
        }
        let problem = SystemUser::for_servers(Some("root")).unwrap_err().problem();
        assert_eq!(problem.code, "system-user-is-root");
        assert_eq!(
            problem.message,
            "PostgreSQL does not run as root, and user `root` is root"
        );
    }
}
