//! Why the platform cannot do what it is asked for.

use std::io;
use std::path::PathBuf;

use boma_engine::authority::CertificateError;
use boma_engine::keys::{ApplicationKey, DatabaseKey, GrantKey};
use boma_engine::platform::PlatformError;
use boma_instance::{InstanceId, MajorVersion};
use boma_problem::{Class, IntoProblem, Problem};

use crate::key_file::KeyFileError;
use crate::layout::LayoutError;
use crate::locks::LockError;
use crate::seal::SealError;
use crate::store::StoreError;
use crate::user::UserError;

/// Turns any error of this crate into what the engine takes.
#[expect(
    clippy::needless_pass_by_value,
    reason = "it stands in `map_err`, which hands errors over by value"
)]
pub(super) fn boxed(error: impl IntoProblem) -> PlatformError {
    Box::new(error.problem())
}

/// Why the platform could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is nobody to run servers as.
    #[error(transparent)]
    User(#[from] UserError),
    /// The state directory cannot be used.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The state directory cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The key is not one for the cipher.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The state cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The authority cannot be made.
    #[error(transparent)]
    Certificates(#[from] CertificateError),
    /// The authority's certificate cannot be written for clients.
    #[error("write the certificate `{path}`")]
    Certificate {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl IntoProblem for OpenError {
    fn problem(&self) -> Problem {
        match self {
            Self::User(error) => error.problem(),
            Self::Layout(error) => error.problem(),
            Self::Lock(error) => error.problem(),
            Self::Key(error) => error.problem(),
            Self::Seal(error) => error.problem(),
            Self::Store(error) => error.problem(),
            Self::Certificates(error) => error.problem(),
            Self::Certificate { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Problem::from_error(Class::Config, "disk-full", self).hint(crate::files::FREE_SPACE)
            }
            Self::Certificate { .. } => {
                Problem::from_error(Class::Config, "certificate-not-written", self)
            }
        }
    }
}

/// What is asked for does not fit what there is.
#[derive(Debug, thiserror::Error)]
pub enum NotPossible {
    /// It was never registered.
    #[error("database `{key}` is not known here")]
    UnknownDatabase {
        /// Which one.
        key: DatabaseKey,
    },
    /// It was never registered.
    #[error("application `{key}` is not known here")]
    UnknownApplication {
        /// Which one.
        key: ApplicationKey,
    },
    /// No such instance was ever registered.
    #[error("instance {id} is not known here")]
    UnknownInstance {
        /// Which one.
        id: InstanceId,
    },
    /// It has another id.
    #[error("database `{key}` is instance {given}, not {id}")]
    OtherId {
        /// Which one.
        key: DatabaseKey,
        /// The id asked for.
        id: InstanceId,
        /// The id that it has.
        given: InstanceId,
    },
    /// Its id begins like another one's.
    #[error("instance {id} would share its short name with instance {other}")]
    LikeNamed {
        /// The id asked for.
        id: InstanceId,
        /// The one that has the short name.
        other: InstanceId,
    },
    /// It has a newer spec already.
    #[error("database `{key}` has a spec of generation {stored} already, newer than {given}")]
    OlderGeneration {
        /// Which one.
        key: DatabaseKey,
        /// The stored one.
        stored: u64,
        /// The one handed over.
        given: u64,
    },
    /// Its PostgreSQL is not on this machine.
    #[error("PostgreSQL {version} is not installed on this machine")]
    NoServer {
        /// Which version.
        version: MajorVersion,
        /// Where was looked.
        searched: Vec<String>,
    },
    /// It is being destroyed.
    #[error("database `{key}` is being purged")]
    BeingPurged {
        /// Which one.
        key: DatabaseKey,
    },
    /// It is in use.
    #[error("database `{key}` is in use, and only a retired database is purged")]
    NotRetired {
        /// Which one.
        key: DatabaseKey,
    },
    /// It is not stopped.
    #[error("the server of database `{key}` is not stopped")]
    NotStopped {
        /// Which one.
        key: DatabaseKey,
    },
    /// Nothing was stored.
    #[error("no password is stored for {grant}")]
    NoCredential {
        /// Which grant.
        grant: GrantKey,
    },
    /// It is in use, so another one may not take its place.
    #[error("the password of {grant} is in use and not replaced")]
    PasswordInUse {
        /// Which grant.
        grant: GrantKey,
    },
    /// Another password than the one whose turn begins is stored.
    #[error("another password than expected is stored for {grant}")]
    OtherPassword {
        /// Which grant.
        grant: GrantKey,
    },
    /// Nothing was delivered.
    #[error("application `{key}` has no environment yet")]
    NoEnvironment {
        /// Which one.
        key: ApplicationKey,
    },
    /// The state was changed by something else than Boma.
    #[error("the certificate authority is not in the state any more")]
    NoAuthority,
    /// Files could not be removed.
    #[error("remove the files of instance {id}")]
    Files {
        /// Which one.
        id: InstanceId,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl IntoProblem for NotPossible {
    fn problem(&self) -> Problem {
        let problem = |class, code| Problem::from_error(class, code, self);
        match self {
            Self::UnknownDatabase { .. } => problem(Class::User, "database-unknown")
                .hint("`boma get databases` lists those that there are; `boma apply` makes new ones."),
            Self::UnknownApplication { .. } | Self::NoEnvironment { .. } => {
                problem(Class::User, "application-unknown")
                    .hint("`boma get applications` lists those that there are; `boma apply` makes new ones.")
            }
            Self::UnknownInstance { .. } => problem(Class::Internal, "instance-unknown"),
            // `boma serve` and `boma apply` may see a new manifest at the same time; who comes
            // second looks again and finds it made.
            Self::OtherId { .. } => problem(Class::Transient, "instance-other-id")
                .hint("Another process made it meanwhile. It is looked at again."),
            Self::LikeNamed { .. } => problem(Class::Transient, "instance-like-named")
                .hint("Nothing was made. The next pass gives it another id."),
            Self::OlderGeneration { .. } => problem(Class::Transient, "spec-outdated")
                .hint("Another `boma` has changed this database meanwhile; the next pass looks again."),
            Self::NoServer { version, searched } => problem(Class::Config, "postgres-missing").hint(format!(
                "Install PostgreSQL {version}, or say where it is with BOMA_POSTGRES_DIR. Looked in: {}.",
                searched.join(", ")
            )),
            Self::BeingPurged { .. } => problem(Class::User, "being-purged")
                .hint("Purging was asked for and is not finished: run `boma purge` once more, then `boma apply` makes a new database."),
            Self::NotRetired { .. } => problem(Class::User, "not-retired")
                .hint("Take its manifest away, with `deletionProtection: false` applied before, and apply; then purge it."),
            Self::NotStopped { .. } => problem(Class::Transient, "not-stopped"),
            Self::NoCredential { .. } => problem(Class::Internal, "credential-missing"),
            // Two processes exchange it at the same time; who comes second looks again.
            Self::PasswordInUse { .. } => problem(Class::Transient, "password-in-use")
                .hint("Another process exchanged it meanwhile. It is looked at again."),
            Self::OtherPassword { .. } => problem(Class::Transient, "password-other")
                .hint("Another process exchanged it meanwhile. It is looked at again."),
            Self::NoAuthority => problem(Class::Internal, "authority-missing"),
            Self::Files { .. } => problem(Class::Transient, "files-not-removed")
                .hint("The database is already taken out of use; `boma purge` once more goes on where it stopped."),
        }
    }
}
