//! `postmaster.pid`, in which a server says who it is and how far it is.

use std::path::{Path, PathBuf};

use crate::path_error::{At, PathError};

/// Name of the file in the data directory.
pub(super) const NAME: &str = "postmaster.pid";

/// How far a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServerState {
    /// It starts, or replays WAL; connections are refused.
    Starting,
    /// It answers.
    Ready,
    /// It is a standby that answers nobody yet, or by its settings.
    Standby,
    /// It shuts down.
    Stopping,
}

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PidFile {
    /// Process id of the postmaster.
    pub pid: u32,
    /// When it was started, in seconds since 1970.
    pub started: Option<u64>,
    /// The port, of its Unix socket too.
    pub port: Option<u16>,
    /// The directory of its Unix socket.
    pub socket_directory: Option<PathBuf>,
    /// How far it is.
    pub state: ServerState,
}

impl PidFile {
    /// Reads it; none: there is none, or it is not written yet, or belongs to a server without
    /// clients (`postgres --single`).
    pub fn read(data: &Path) -> Result<Option<Self>, PathError> {
        let path = data.join(NAME);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            failed => failed.at("read", &path).map(|_| None),
        }
    }

    /// Lines: pid, data directory, start time, port, socket directory, address, shared memory,
    /// state. The server writes the later ones as it goes along.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().map(str::trim);
        let pid = lines.next()?.parse().ok()?;
        let _data = lines.next();
        let started = lines.next().and_then(|line| line.parse().ok());
        let port = lines.next().and_then(|line| line.parse().ok());
        let socket_directory = lines
            .next()
            .filter(|line| !line.is_empty())
            .map(PathBuf::from);
        let state = match lines.nth(2) {
            Some("ready") => ServerState::Ready,
            Some("standby") => ServerState::Standby,
            Some("stopping") => ServerState::Stopping,
            _ => ServerState::Starting,
        };
        Some(Self {
            pid,
            started,
            port,
            socket_directory,
            state,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_file_is_read() {
        let text = "4711\n/data\n1700000000\n5432\n/run/x\n127.0.0.1\n  123 456\nready   \n";
        let file = PidFile::parse(text).unwrap();
        assert_eq!(file.pid, 4711);
        assert_eq!(file.started, Some(1_700_000_000));
        assert_eq!(file.port, Some(5432));
        assert_eq!(file.socket_directory, Some(PathBuf::from("/run/x")));
        assert_eq!(file.state, ServerState::Ready);
    }

    #[test]
    fn half_a_file_says_that_the_server_starts() {
        let file = PidFile::parse("4711\n/data\n1700000000\n").unwrap();
        assert_eq!((file.pid, file.state), (4711, ServerState::Starting));
        assert_eq!(file.socket_directory, None);
    }

    #[test]
    fn an_empty_file_and_one_without_clients_say_nothing() {
        assert_eq!(PidFile::parse(""), None);
        assert_eq!(PidFile::parse("-4711\n/data\n"), None);
    }
}
