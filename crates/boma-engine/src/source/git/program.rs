//! Running `git`.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use super::{GitError, GitLocation, SharedCredential};

/// Longest piece of what git says that is shown.
const SHOWN: usize = 500;

/// Variables that would lead git elsewhere when Boma is run by a hook.
const LEADS_ELSEWHERE: [&str; 6] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
];

/// Settings that keep a repository from having anything done: its hooks are not run, its
/// submodules are not followed, and objects are checked before they are used; nor can it hold Boma
/// up for long.
const SETTINGS: [&str; 8] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "submodule.recurse=false",
    "protocol.ext.allow=never",
    "fetch.fsckObjects=true",
    // Less than a line a second for half a minute is a connection that hangs.
    "http.lowSpeedLimit=80",
    "http.lowSpeedTime=30",
    "gc.auto=0",
];

/// The program, in one directory.
pub(super) struct Git {
    place: PathBuf,
    /// Where the repository itself is; none: git looks for it, from the directory upwards.
    repository: Option<PathBuf>,
    /// An index of its own.
    index: Option<PathBuf>,
    /// Who writes: name and address.
    person: Option<(String, String)>,
    /// Whom it talks to, and what lets it in there.
    remote: Option<(GitLocation, SharedCredential)>,
}

/// What it answered.
pub(super) struct Answer {
    /// Its exit code; none: it was killed.
    pub(super) code: Option<i32>,
    /// What it printed.
    pub(super) text: String,
    said: String,
}

impl Answer {
    /// The answer as a failure.
    pub(super) fn failed(self, command: &str) -> GitError {
        GitError::Failed {
            command: command.to_owned(),
            output: self.said,
        }
    }
}

impl Git {
    /// In a directory that Boma keeps. The repository is named, and so never looked for in the
    /// directories above.
    pub(super) fn at(place: &Path) -> Self {
        Self::of(place, &place.join(".git"))
    }

    /// In a repository that is known.
    pub(super) fn of(place: &Path, repository: &Path) -> Self {
        Self {
            place: place.to_owned(),
            repository: Some(repository.to_owned()),
            index: None,
            person: None,
            remote: None,
        }
    }

    /// In the repository that is around a directory.
    pub(super) fn around(place: &Path) -> Self {
        Self {
            place: place.to_owned(),
            repository: None,
            index: None,
            person: None,
            remote: None,
        }
    }

    /// With an index of its own.
    pub(super) fn with_index(mut self, index: &Path) -> Self {
        self.index = Some(index.to_owned());
        self
    }

    /// With what lets it into a repository.
    pub(super) fn to(mut self, location: &GitLocation, credential: &SharedCredential) -> Self {
        self.remote = Some((location.clone(), credential.clone()));
        self
    }

    /// As a person.
    pub(super) fn by(mut self, name: &str, email: &str) -> Self {
        self.person = Some((name.to_owned(), email.to_owned()));
        self
    }

    /// Runs it to its end; answers with what it prints. It never asks for anything.
    pub(super) async fn run(
        &self,
        arguments: &[&str],
        patience: Duration,
    ) -> Result<String, GitError> {
        let answer = self.answer(arguments, patience).await?;
        if answer.code == Some(0) {
            return Ok(answer.text);
        }
        Err(answer.failed(arguments.first().copied().unwrap_or_default()))
    }

    /// The same where more than one exit code is an answer.
    pub(super) async fn answer(
        &self,
        arguments: &[&str],
        patience: Duration,
    ) -> Result<Answer, GitError> {
        let mut command = self.command();
        let running = command.args(arguments).spawn();
        let running = running.map_err(GitError::NoProgram)?;
        // Dropped after it has ended, or with it.
        let group = Group::of(&running);
        let ended = tokio::time::timeout(patience, running.wait_with_output()).await;
        let output = ended.map_err(|_late| GitError::TooSlow {
            command: arguments.first().copied().unwrap_or_default().to_owned(),
            patience,
        })?;
        let output = output.map_err(GitError::NoProgram)?;
        group.has_ended();
        Ok(Answer {
            code: output.status.code(),
            text: String::from_utf8_lossy(&output.stdout).into_owned(),
            said: said(&output),
        })
    }

    fn command(&self) -> Command {
        let mut command = Command::new("git");
        command.current_dir(&self.place).kill_on_drop(true);
        for name in LEADS_ELSEWHERE {
            command.env_remove(name);
        }
        if let Some(repository) = &self.repository {
            command
                .env("GIT_DIR", repository)
                .env("GIT_WORK_TREE", &self.place);
        }
        if let Some(index) = &self.index {
            command.env("GIT_INDEX_FILE", index);
        }
        if let Some((name, email)) = &self.person {
            for role in ["AUTHOR", "COMMITTER"] {
                command
                    .env(format!("GIT_{role}_NAME"), name)
                    .env(format!("GIT_{role}_EMAIL"), email);
            }
        }
        command
            .env("LC_ALL", "C.UTF-8")
            .env("GIT_TERMINAL_PROMPT", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        if std::env::var_os("GIT_SSH_COMMAND").is_none() {
            command.env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes");
        }
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        if let Some((location, credential)) = &self.remote {
            credential.hand_to(&mut command, location);
        }
        command
    }
}

/// Git and what it has started to talk to the other side, which would go on waiting for that without
/// it. Killed when dropped, unless git has ended by itself.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.map(Pid::from_raw))
    }

    fn has_ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // One that has ended meanwhile is what is wanted.
            let _ended = killpg(group, Signal::SIGKILL);
        }
    }
}

/// What it complains about, on one line.
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let text = lines.collect::<Vec<_>>().join("; ");
    let shown: String = text.chars().take(SHOWN).collect();
    if shown.is_empty() {
        output.status.to_string()
    } else {
        shown
    }
}
