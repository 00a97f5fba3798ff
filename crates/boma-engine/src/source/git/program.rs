//! Running `git`.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

use super::GitError;

/// Longest piece of what git says that is shown.
const SHOWN: usize = 500;

/// Variables that would lead git elsewhere when Boma is run by a hook.
const LEADS_ELSEWHERE: [&str; 4] = [
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
];

/// Settings that keep a repository from having anything done: its hooks are not run, its
/// submodules are not followed, and objects are checked before they are used.
const SETTINGS: [&str; 6] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "submodule.recurse=false",
    "protocol.ext.allow=never",
    "fetch.fsckObjects=true",
    "gc.auto=0",
];

/// The program, in one directory.
pub(super) struct Git {
    place: PathBuf,
}

impl Git {
    pub(super) fn at(place: &Path) -> Self {
        let place = place.to_owned();
        Self { place }
    }

    /// Runs it to its end; answers with what it prints. It never asks for anything.
    pub(super) async fn run(
        &self,
        arguments: &[&str],
        patience: Duration,
    ) -> Result<String, GitError> {
        let mut command = Command::new("git");
        command.current_dir(&self.place).kill_on_drop(true);
        for name in LEADS_ELSEWHERE {
            command.env_remove(name);
        }
        // Named, and so never looked for in the directories above.
        command
            .env("GIT_DIR", self.place.join(".git"))
            .env("GIT_WORK_TREE", &self.place)
            .env("LC_ALL", "C.UTF-8")
            .env("GIT_TERMINAL_PROMPT", "0")
            .stdin(Stdio::null());
        if std::env::var_os("GIT_SSH_COMMAND").is_none() {
            command.env("GIT_SSH_COMMAND", "ssh -o BatchMode=yes");
        }
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        let name = || arguments.first().copied().unwrap_or_default().to_owned();
        let running = command.args(arguments).output();
        let ended = tokio::time::timeout(patience, running).await;
        let output = ended.map_err(|_late| GitError::TooSlow {
            command: name(),
            patience,
        })?;
        let output = output.map_err(GitError::NoProgram)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(GitError::Failed {
            command: name(),
            output: said(&output),
        })
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
