//! One installation of Boma for one test: a state directory of its own, manifests of its own, the
//! real binary, real servers. At the end everything that it started is stopped.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use boma_testkit::{Build, ScratchDir, postgres_builds};

/// A state directory and a directory of manifests.
pub struct Installation {
    scratch: ScratchDir,
    builds: Vec<Build>,
}

/// What a command printed, and how it ended.
#[derive(Debug)]
#[must_use = "look at the output, or at least at the exit code"]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Fails unless it ended with 0; gives standard output.
    pub fn ok(self) -> Result<String> {
        ensure!(self.code == 0, "exit code {}\n{}\n{}", self.code, self.stdout, self.stderr);
        Ok(self.stdout)
    }

    /// Fails unless it ended with `code`; gives both outputs, standard error last.
    pub fn code(self, code: i32) -> Result<String> {
        ensure!(
            self.code == code,
            "exit code {} in place of {code}\n{}\n{}",
            self.code,
            self.stdout,
            self.stderr
        );
        Ok(self.stdout + &self.stderr)
    }
}

impl Installation {
    /// Makes the directories; nothing runs yet.
    pub fn new() -> Result<Self> {
        let scratch = ScratchDir::new()?;
        fs::create_dir_all(scratch.path().join("m"))?;
        let installation = Self { scratch, builds: postgres_builds()? };
        Ok(installation)
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        self.scratch.path().join("s")
    }

    /// The directory of manifests.
    pub fn manifests(&self) -> PathBuf {
        self.scratch.path().join("m")
    }

    /// Writes a file below the manifests.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.manifests().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }

    /// Removes a file below the manifests.
    pub fn remove(&self, name: &str) -> Result<()> {
        Ok(fs::remove_file(self.manifests().join(name))?)
    }

    /// A command of the real binary, with an environment of its own.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_boma"));
        let dirs: Vec<_> =
            self.builds.iter().map(|build| build.bin.to_string_lossy().into_owned()).collect();
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.scratch.path())
            .env("BOMA_STATE_DIR", self.state())
            .env("BOMA_POSTGRES_DIR", dirs.join(":"))
            .env("BOMA_HOSTS_FILE", self.scratch.path().join("hosts"))
            .current_dir(self.scratch.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs `boma` to its end.
    pub fn boma<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Ran> {
        Ok(Ran::of(self.command().args(args).output()?))
    }

    /// Applies the manifests and fails unless everything converged.
    pub fn apply(&self) -> Result<String> {
        self.boma(["apply", self.manifests_text()])?.ok()
    }

    /// The manifests' directory as an argument.
    pub fn manifests_text(&self) -> &str {
        "m"
    }

    /// Runs SQL with psql as an application does: over its injected connection string.
    pub fn sql(&self, application: &str, sql: &str) -> Result<Ran> {
        let script = r#"exec psql "$DATABASE_URL" -XAtq -v ON_ERROR_STOP=1 -c "$1""#;
        self.boma(["run", application, "--", "sh", "-c", script, "sh", sql])
    }

    /// Path of a file in the scratch directory.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.scratch.path().join(name)
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        // What a failing test left running must not outlive it; that the stop itself fails is
        // shown by processes that are still there, which the harness checks at its end.
        let _stopped = self.boma(["stop", "--all-processes"]);
    }
}
