//! `boma dashboard`, and the files that it shares with `boma serve`.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use boma_problem::{Class, Problem};
use boma_web::SigningKey;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cli::{DashboardArgs, Global};
use crate::session::state_dir;
use crate::terminal::{Exit, Result, Terminal};

/// How long a server on this machine may take to take a connection.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where a dashboard is, and what its links are signed for. Who can read this can sign in, so only the
/// owner of the state can.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Served {
    /// Where it listens.
    pub(crate) at: SocketAddr,
    /// Which run of the server it is.
    pub(crate) run: String,
    /// What people reach it by; none: by where it listens.
    #[serde(default)]
    pub(crate) url: Option<String>,
}

impl Served {
    fn path(state: &Path) -> PathBuf {
        state.join("dashboard.json")
    }

    /// Writes down that it is served; in place of what a server that was killed has left.
    pub(crate) fn write(&self, state: &Path) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(state)?;
        serde_json::to_writer(&mut file, self)?;
        file.persist(Self::path(state))?;
        Ok(())
    }

    /// Forgets it.
    pub(crate) fn forget(state: &Path) {
        if let Err(error) = std::fs::remove_file(Self::path(state)) {
            tracing::debug!(%error, "the dashboard's file was not removed");
        }
    }

    /// Where one is served by this state, if one is.
    pub(crate) fn read(state: &Path) -> Option<Self> {
        let text = std::fs::read(Self::path(state)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Where people reach it.
    pub(crate) fn origin(&self) -> String {
        match &self.url {
            Some(url) => url.clone(),
            None => format!("http://{}", self.at),
        }
    }

    /// A link that opens the dashboard once.
    pub(crate) fn link(&self, key: &SigningKey) -> Result<String> {
        let token = key.links(&self.run).token(Timestamp::now());
        let token = token.ok_or_else(no_random_bytes)?;
        Ok(format!("{}/sign-in?link={token}", self.origin()))
    }
}

/// The key that sessions are signed with. It is made once, so that sessions outlive a restart.
pub(crate) fn key(state: &Path) -> Result<SigningKey> {
    let path = state.join("dashboard.key");
    let unreadable = |error: io::Error| Problem {
        message: format!("read the dashboard's key in `{}`", path.display()),
        causes: vec![error.to_string()],
        ..Problem::new(Class::Config, "dashboard-key-unreadable", "")
            .hint("Remove the file, and a new one is made: everybody is signed out then.")
    };
    if !path.exists() {
        let bytes: [u8; 32] = boma_backup::store::random()
            .map_err(|error| boma_problem::IntoProblem::problem(&error))?;
        let mut file = tempfile::NamedTempFile::new_in(state).map_err(unreadable)?;
        file.write_all(&bytes).map_err(unreadable)?;
        // Somebody else may have made one meanwhile: that is as good.
        drop(file.persist_noclobber(&path));
    }
    let bytes = std::fs::read(&path).map_err(unreadable)?;
    let bytes =
        <&[u8; 32]>::try_from(&*bytes).map_err(|error| unreadable(io::Error::other(error)))?;
    Ok(SigningKey::new(bytes))
}

/// Prints a link that opens the dashboard, or a token for programs.
pub(crate) fn run(args: &DashboardArgs, global: &Global, terminal: Terminal) -> Result {
    let state = state_dir(global)?;
    let served = Served::read(&state);
    let served = served.filter(|one| TcpStream::connect_timeout(&one.at, PATIENCE).is_ok());
    let served = served.ok_or_else(|| {
        not_served("here")
            .hint("`boma serve DIRECTORY` runs one, unless it is told `--dashboard off`.")
    })?;
    print(args, &served, &key(&state)?, terminal)
}

/// There is none to lead to.
pub(crate) fn not_served(place: &str) -> Problem {
    let message = format!("no dashboard runs {place}");
    Problem::new(Class::User, "dashboard-not-served", message)
}

/// Prints what was asked for, of a dashboard that is served.
pub(crate) fn print(
    args: &DashboardArgs,
    served: &Served,
    key: &SigningKey,
    terminal: Terminal,
) -> Result {
    if args.token {
        let token = key.token(Timestamp::now()).ok_or_else(no_random_bytes)?;
        let url = format!("{}/api/v1/databases", served.origin());
        terminal.status(&format!(
            "For 12 hours: `curl -H \"Authorization: Bearer $TOKEN\" {url}`"
        ));
        terminal.result(&format!("{token}\n"))?;
        return Ok(Exit::Ok);
    }
    terminal.status("This link works once, within 15 minutes:");
    terminal.result(&format!("{}\n", served.link(key)?))?;
    Ok(Exit::Ok)
}

/// The system does not give what secrets are made of.
pub(crate) fn no_random_bytes() -> io::Error {
    io::Error::other("the system has no random bytes")
}
