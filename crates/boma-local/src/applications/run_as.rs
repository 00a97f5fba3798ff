//! Where an application runs, and as whom.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use boma_engine::keys::ApplicationKey;
use boma_engine::platform::Program;
use nix::unistd::{Gid, Uid, User};

use super::{ApplicationError, Applications};
use crate::layout::make_dir;
use crate::user::SystemUser;

/// The user that has no rights anywhere, where nothing says better.
const NOBODY: &str = "nobody";

/// A user that is not the one Boma runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: Uid,
    pub(super) gid: Gid,
}

/// Where and as whom; no account: as Boma itself.
pub(super) struct Placed {
    pub(super) directory: PathBuf,
    pub(super) account: Option<Account>,
}

/// Decides where an application runs, and as whom.
pub(super) fn place(
    applications: &Applications,
    key: &ApplicationKey,
    program: &Program,
    home: &Path,
) -> Result<Placed, ApplicationError> {
    let given = program.working_directory.as_deref().map(Path::new);
    if !Uid::effective().is_root() {
        let directory = given.map_or_else(|| own_directory(home, None), usable)?;
        return Ok(Placed {
            directory,
            account: None,
        });
    }
    let (directory, account) = match (&applications.configured, given) {
        (Some(name), given) => {
            let user = SystemUser::named(name)?;
            let account = Account {
                uid: user.uid,
                gid: user.gid,
            };
            (
                given.map_or_else(|| own_directory(home, Some(account)), usable)?,
                account,
            )
        }
        (None, Some(given)) => (usable(given)?, owner(given)?),
        (None, None) => {
            let nobody = SystemUser::named(NOBODY)?;
            let account = Account {
                uid: nobody.uid,
                gid: nobody.gid,
            };
            (own_directory(home, Some(account))?, account)
        }
    };
    if applications.servers.differs() && account.uid == applications.servers.uid {
        return Err(ApplicationError::DatabaseUser {
            key: key.clone(),
            user: applications.servers.name.clone(),
        });
    }
    Ok(Placed {
        directory,
        account: Some(account).filter(|account| !account.uid.is_root()),
    })
}

fn usable(path: &Path) -> Result<PathBuf, ApplicationError> {
    let failed = |source| ApplicationError::WorkingDirectory {
        path: path.to_owned(),
        source,
    };
    if fs::metadata(path).map_err(failed)?.is_dir() {
        Ok(path.to_owned())
    } else {
        Err(failed(std::io::ErrorKind::NotADirectory.into()))
    }
}

/// The owner with its own primary group; the directory's group may be a shared one.
fn owner(path: &Path) -> Result<Account, ApplicationError> {
    let failed = |source| ApplicationError::WorkingDirectory {
        path: path.to_owned(),
        source,
    };
    let meta = fs::metadata(path).map_err(failed)?;
    let uid = Uid::from_raw(meta.uid());
    let gid = User::from_uid(uid)
        .ok()
        .flatten()
        .map_or(Gid::from_raw(meta.gid()), |user| user.gid);
    Ok(Account { uid, gid })
}

/// A directory of the application's own, for one that names none.
fn own_directory(home: &Path, account: Option<Account>) -> Result<PathBuf, ApplicationError> {
    let path = home.join("work");
    make_dir(&path, 0o700)?;
    if let Some(account) = account {
        let failed = |source| ApplicationError::WorkingDirectory {
            path: path.clone(),
            source,
        };
        std::os::unix::fs::lchown(
            &path,
            Some(account.uid.as_raw()),
            Some(account.gid.as_raw()),
        )
        .map_err(failed)?;
    }
    Ok(path)
}
