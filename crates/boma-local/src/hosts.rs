//! `<database>.internal` names in the hosts file.
//!
//! Every installation has one marked block; everything else in the file is preserved byte for
//! byte. The file is replaced atomically where its directory allows that, and else written in
//! place (containers mount `/etc/hosts` as a single file). Writers lock the file itself, and look
//! again after locking whether it is still the file under that name.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use boma_problem::{Class, IntoProblem, Problem};
use uuid::Uuid;

/// Why names could not be written.
#[derive(Debug, thiserror::Error)]
pub enum HostsError {
    /// Reading or writing failed.
    #[error("write names into `{path}`")]
    Io {
        /// The hosts file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl IntoProblem for HostsError {
    fn problem(&self) -> Problem {
        let Self::Io { path, .. } = self;
        Problem::from_error(Class::Config, "names-not-written", self)
            .hint(format!(
                "Connection strings use addresses instead. For names, run `boma` as a user that may write `{}`, or name another file in `config.toml` (`hosts-file`).",
                path.display()
            ))
            .warning()
    }
}

/// One line: an address and its names.
pub(crate) type Line = (IpAddr, Vec<String>);

/// Brings the installation's block in the hosts file to `lines`. Tells whether anything had to
/// be written.
pub(crate) fn write(path: &Path, installation: Uuid, lines: &[Line]) -> Result<bool, HostsError> {
    let failed = |source| HostsError::Io {
        path: path.to_owned(),
        source,
    };
    // A link (some systems have one there) is to stay; its target is what is replaced.
    let path = std::fs::canonicalize(path).map_err(failed)?;
    let text = std::fs::read(&path).map_err(failed)?;
    if with_block(&text, installation, lines) == text {
        return Ok(false);
    }
    let mut file = lock(&path).map_err(failed)?;
    let mut text = Vec::new();
    file.read_to_end(&mut text).map_err(failed)?;
    let wanted = with_block(&text, installation, lines);
    if wanted == text {
        return Ok(false);
    }
    replace(&path, &mut file, &wanted).map_err(failed)?;
    Ok(true)
}

/// The names that others have in the hosts file: a person, or another installation of Boma. A name
/// with two addresses would lead both installations' applications to the wrong server.
pub(crate) fn taken_by_others(path: &Path, installation: Uuid) -> BTreeSet<String> {
    // What cannot be read cannot be written either, and then there are no names at all.
    let text = std::fs::read(path).unwrap_or_default();
    let others = with_block(&text, installation, &[]);
    String::from_utf8_lossy(&others)
        .lines()
        .filter_map(|line| line.split('#').next())
        .flat_map(|line| line.split_whitespace().skip(1))
        .map(str::to_lowercase)
        .collect()
}

/// Opens and locks the file that is under this name now.
fn lock(path: &Path) -> io::Result<File> {
    loop {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        file.lock()?;
        let (locked, named) = (file.metadata()?, std::fs::metadata(path)?);
        if (locked.dev(), locked.ino()) == (named.dev(), named.ino()) {
            return Ok(file);
        }
    }
}

fn replace(path: &Path, file: &mut File, text: &[u8]) -> io::Result<()> {
    match replace_whole(path, file, text) {
        Err(error) if in_place_instead(&error) => {
            file.rewind()?;
            file.write_all(text)?;
            file.set_len(text.len() as u64)?;
            file.sync_all()
        }
        outcome => outcome,
    }
}

/// The directory is not ours to write, or the file is a mount of its own (EBUSY).
fn in_place_instead(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::ResourceBusy
            | io::ErrorKind::CrossesDevices
    )
}

fn replace_whole(path: &Path, old: &File, text: &[u8]) -> io::Result<()> {
    let beside = path.with_extension(format!("boma-{}", std::process::id()));
    let written = (|| {
        let meta = old.metadata()?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(text)?;
        std::os::unix::fs::fchown(&file, Some(meta.uid()), Some(meta.gid()))?;
        file.set_permissions(meta.permissions())?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    })();
    if written.is_err() {
        // The first error is the one to tell; a leftover is a few bytes beside the file.
        drop(std::fs::remove_file(&beside));
        return written;
    }
    crate::files::sync_parent(path)
}

/// The text with the installation's block as wanted. Pure.
fn with_block(text: &[u8], installation: Uuid, lines: &[Line]) -> Vec<u8> {
    let begin = format!("# BEGIN boma {installation} (written by boma; changes in here are lost)");
    let end = format!("# END boma {installation}");
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let (mut inside, mut seen) = (false, false);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let bare = line.trim_ascii_end();
        let begins = bare.starts_with(format!("# BEGIN boma {installation}").as_bytes());
        if !inside && begins {
            (inside, seen) = (true, true);
        } else if inside {
            inside = bare != end.as_bytes();
        } else if seen {
            after.extend_from_slice(line);
        } else {
            before.extend_from_slice(line);
        }
    }
    // A block whose end somebody removed would swallow the rest of the file: leave all of it, and
    // drop the mark only.
    if inside {
        let kept: Vec<&[u8]> = text
            .split_inclusive(|byte| *byte == b'\n')
            .filter(|line| !line.starts_with(format!("# BEGIN boma {installation}").as_bytes()))
            .collect();
        (before, after) = (kept.concat(), Vec::new());
    }
    if !lines.is_empty() {
        if !before.is_empty() && !before.ends_with(b"\n") {
            before.push(b'\n');
        }
        before.extend_from_slice(block(&begin, &end, lines).as_bytes());
    }
    before.append(&mut after);
    before
}

fn block(begin: &str, end: &str, lines: &[Line]) -> String {
    let mut lines: Vec<&Line> = lines
        .iter()
        .filter(|(_, names)| !names.is_empty())
        .collect();
    lines.sort();
    let mut text = format!("{begin}\n");
    for (address, names) in lines {
        writeln!(text, "{address}\t{}", names.join(" "))
            .expect("writing to a string should not fail");
    }
    text.push_str(end);
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const US: Uuid = Uuid::from_u128(1);
    const OTHERS: Uuid = Uuid::from_u128(2);

    fn line(last: u8, names: &[&str]) -> Line {
        (
            IpAddr::from([127, 64, 0, last]),
            names.iter().map(ToString::to_string).collect(),
        )
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn the_rest_of_the_file_is_preserved() {
        let original = b"127.0.0.1 localhost\n# mine\n\xff\xfe odd bytes\n";
        let lines = [
            line(9, &["b.internal"]),
            line(1, &["a.internal", "a.p.internal"]),
        ];
        let with = with_block(original, US, &lines);
        let both = with_block(&with, OTHERS, &[line(3, &["c.internal"])]);
        assert!(both.starts_with(original));
        assert_eq!(
            with_block(&both, US, &lines),
            both,
            "a second time changes nothing"
        );
        let without = with_block(&with_block(&both, US, &[]), OTHERS, &[]);
        assert_eq!(without, original);
    }

    #[test]
    fn it_reads_like_this() {
        let with = with_block(
            b"127.0.0.1 localhost",
            US,
            &[line(1, &["a.internal", "a.p.internal"])],
        );
        assert_eq!(
            text(&with),
            "127.0.0.1 localhost\n\
             # BEGIN boma 00000000-0000-0000-0000-000000000001 (written by boma; changes in here are lost)\n\
             127.64.0.1\ta.internal a.p.internal\n\
             # END boma 00000000-0000-0000-0000-000000000001\n"
        );
    }

    #[test]
    fn text_after_the_block_stays_after_it_and_a_lost_end_swallows_nothing() {
        let with = with_block(b"first\n", US, &[line(1, &["a.internal"])]);
        let mut more = with.clone();
        more.extend_from_slice(b"last\n");
        let changed = text(&with_block(&more, US, &[line(2, &["a.internal"])]));
        assert!(
            changed.starts_with("first\n# BEGIN")
                && changed.ends_with("# END boma 00000000-0000-0000-0000-000000000001\nlast\n")
        );

        let cut: Vec<u8> = text(&more)
            .replace("# END boma 00000000-0000-0000-0000-000000000001\n", "")
            .into_bytes();
        let mended = text(&with_block(&cut, US, &[line(1, &["a.internal"])]));
        assert!(
            mended.contains("last\n") && mended.matches("# BEGIN").count() == 1,
            "{mended}"
        );
    }

    #[test]
    fn the_file_keeps_its_mode_and_a_second_write_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts");
        std::fs::write(&path, "127.0.0.1 localhost\n").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(write(&link, US, &[line(1, &["a.internal"])]).unwrap());
        assert!(!write(&link, US, &[line(1, &["a.internal"])]).unwrap());
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o644);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_file_that_cannot_be_replaced_is_written_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts");
        std::fs::write(&path, "127.0.0.1 localhost\n").unwrap();
        let mut file = lock(&path).unwrap();
        let inode = file.metadata().unwrap().ino();
        // A directory under the temporary name stands for every reason not to make that file.
        let missing = dir.path().join("gone/hosts");
        assert!(replace_whole(&missing, &file, b"x").is_err());
        assert!(in_place_instead(&io::Error::from_raw_os_error(
            nix::libc::EBUSY
        )));
        assert!(in_place_instead(&io::Error::from_raw_os_error(
            nix::libc::EXDEV
        )));
        assert!(in_place_instead(&io::Error::from_raw_os_error(
            nix::libc::EROFS
        )));
        replace(&path, &mut file, b"new text\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new text\n");
        assert_ne!(std::fs::metadata(&path).unwrap().ino(), inode);
    }

    #[test]
    fn a_directory_that_may_not_be_written_leaves_the_file_itself() {
        if nix::unistd::Uid::effective().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts");
        std::fs::write(&path, "127.0.0.1 localhost\nand more than there will be").unwrap();
        let inode = || std::fs::metadata(&path).unwrap().ino();
        let before = inode();
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o555)).unwrap();
        let written = write(&path, US, &[line(1, &["a.internal"])]);
        let removed = write(&path, US, &[]);
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        assert!(written.unwrap() && removed.unwrap());
        assert_eq!(inode(), before);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "127.0.0.1 localhost\nand more than there will be\n");
    }

    #[test]
    fn many_writers_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hosts");
        std::fs::write(&path, "127.0.0.1 localhost\n").unwrap();
        std::thread::scope(|scope| {
            for number in 1..=8_u8 {
                let path = &path;
                scope.spawn(move || {
                    let us = Uuid::from_u128(u128::from(number) + 100);
                    write(path, us, &[line(number, &["x.internal"])]).unwrap();
                });
            }
        });
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches("# BEGIN boma").count(), 8, "{text}");
        assert!(text.starts_with("127.0.0.1 localhost\n"));
    }

    #[test]
    fn a_file_that_may_not_be_written_is_a_warning_with_a_way_out() {
        let problem = write(Path::new("/nowhere/hosts"), US, &[line(1, &["a.internal"])])
            .unwrap_err()
            .problem();
        assert_eq!(
            (problem.code.as_str(), problem.is_error()),
            ("names-not-written", false)
        );
        assert!(
            problem
                .message
                .contains("write names into `/nowhere/hosts`")
        );
        assert!(problem.hints[0].starts_with("Connection strings use addresses instead."));
    }
}
