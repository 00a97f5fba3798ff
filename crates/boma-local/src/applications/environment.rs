//! What of Boma's own environment an application gets.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use boma_instance::Secret;
use nix::unistd::User;

use super::run_as::Account;

/// Passed on as they are.
const PASSED_ON: [&str; 9] = [
    "PATH",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "LC_MESSAGES",
    "LC_TIME",
    "TZ",
    "TMPDIR",
];

/// These belong to the user, and are passed on when the user is the same.
const OF_THE_USER: [&str; 4] = ["HOME", "USER", "LOGNAME", "SHELL"];

/// The environment before the application's own.
pub(super) fn base(account: Option<&Account>) -> Vec<(&'static str, OsString)> {
    let pass = |name: &'static str| Some((name, std::env::var_os(name)?));
    let mut base: Vec<_> = PASSED_ON.into_iter().filter_map(pass).collect();
    match account {
        None => base.extend(OF_THE_USER.into_iter().filter_map(pass)),
        Some(account) => {
            let user = User::from_uid(account.uid).ok().flatten();
            let home = user
                .as_ref()
                .map_or_else(|| "/".into(), |user| user.dir.clone().into_os_string());
            base.push(("HOME", home));
            if let Some(user) = user {
                base.push(("USER", user.name.clone().into()));
                base.push(("LOGNAME", user.name.into()));
                base.push(("SHELL", user.shell.into_os_string()));
            }
        }
    }
    base
}

/// Whether a program is there, looked for as exec will; seen before the former process is ended.
pub(super) fn find(
    program: &str,
    directory: &Path,
    path: Option<&Secret<String>>,
) -> io::Result<()> {
    let is_file = |path: PathBuf| path.is_file();
    let is_there = if program.contains('/') {
        is_file(directory.join(program))
    } else {
        let own = path.map(|path| OsString::from(path.expose()));
        let path = own.or_else(|| std::env::var_os("PATH")).unwrap_or_default();
        std::env::split_paths(&path).any(|entry| is_file(directory.join(entry).join(program)))
    };
    if is_there {
        Ok(())
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_for_as_exec_does() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("tool"), "").unwrap();
        let path = Secret::new(format!("/nowhere:{}", dir.path().display()));
        let found = |program: &str, path| find(program, dir.path(), path).is_ok();
        assert!(found("sh", None) && found("/bin/sh", None) && found("./tool", None));
        assert!(!found("tool", None) && found("tool", Some(&path)));
        assert!(!found("/nowhere/tool", None) && !found("sh", Some(&path)) && !found("", None));
    }

    #[test]
    fn another_user_gets_a_home_of_its_own() {
        let nobody = Account {
            uid: nix::unistd::Uid::from_raw(4_000_000_000),
            gid: nix::unistd::Gid::from_raw(1),
        };
        let base = base(Some(&nobody));
        assert!(base.contains(&("HOME", "/".into())));
        assert!(
            base.iter()
                .all(|(name, _)| !["USER", "SHELL"].contains(name))
        );
    }
}
