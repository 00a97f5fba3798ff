//! Log files of applications.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A log that is larger than this at a start is put aside.
const LARGE: u64 = 10 << 20;

/// When the former log is put aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rotate {
    /// At a start, when it has grown large.
    WhenLarge,
    /// At every start: one run, one log.
    Always,
}

/// Opens a log to append to it; the former one is kept as `<name>.1`.
pub(super) fn open(path: &Path, rotate: Rotate) -> io::Result<File> {
    let put_aside = match std::fs::metadata(path) {
        Ok(meta) => rotate == Rotate::Always || meta.len() > LARGE,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    if put_aside {
        let mut aside = path.as_os_str().to_owned();
        aside.push(".1");
        std::fs::rename(path, aside)?;
    }
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_large_log_is_put_aside_at_a_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.log");
        let len = |name: &str| {
            std::fs::metadata(dir.path().join(name))
                .map(|meta| meta.len())
                .ok()
        };
        open(&path, Rotate::WhenLarge)
            .unwrap()
            .write_all(b"one")
            .unwrap();
        open(&path, Rotate::WhenLarge)
            .unwrap()
            .write_all(b"two")
            .unwrap();
        assert_eq!((len("app.log"), len("app.log.1")), (Some(6), None));
        open(&path, Rotate::Always).unwrap();
        assert_eq!((len("app.log"), len("app.log.1")), (Some(0), Some(6)));
        File::create(&path).unwrap().set_len(LARGE + 1).unwrap();
        open(&path, Rotate::WhenLarge).unwrap();
        assert_eq!(
            (len("app.log"), len("app.log.1")),
            (Some(0), Some(LARGE + 1))
        );
    }
}
