//! One installation of Boma for one test: a state directory of its own, manifests of its own, the
//! real binary, real servers. At the end everything that it started is stopped.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use boma_testkit::{Account, Build, Ran, ScratchDir, postgres_builds, unprivileged};

use crate::record::Record;

/// What the example gives its applications to read connection strings with.
const CONNECTION: &str = include_str!("../../../../examples/fincorp/bin/connection");

/// A state directory and a directory of manifests.
pub(crate) struct Installation {
    scratch: ScratchDir,
    record: Record,
    builds: Vec<Build>,
    run_as: Option<Account>,
}

impl Installation {
    /// Makes the directories; nothing runs yet.
    pub(crate) fn new() -> Result<Self> {
        Self::within(ScratchDir::new()?)
    }

    /// The same on a disk: what is in memory counts as the server's own.
    pub(crate) fn on_disk() -> Result<Self> {
        Self::within(ScratchDir::on_disk()?)
    }

    fn within(scratch: ScratchDir) -> Result<Self> {
        fs::create_dir_all(scratch.path().join("m"))?;
        fs::create_dir_all(scratch.path().join("s"))?;
        let name = scratch
            .path()
            .file_name()
            .context("a scratch directory has a name")?;
        let installation = Self {
            record: Record::begin(name.to_string_lossy().into_owned())?,
            scratch,
            builds: postgres_builds()?,
            run_as: None,
        };
        // Tests must not change the machine's names, nor fill it with spare clusters.
        let configuration = "hosts-file = ''\nspares = 0\n";
        fs::write(installation.state().join("config.toml"), configuration)?;
        fs::write(
            installation.path("client"),
            format!("{CONNECTION}\nexec psql -X \"$@\"\n"),
        )?;
        fs::set_permissions(installation.path("client"), Permissions::from_mode(0o755))?;
        Ok(installation)
    }

    /// The state directory.
    pub(crate) fn state(&self) -> PathBuf {
        self.scratch.path().join("s")
    }

    /// The directory of manifests.
    pub(crate) fn manifests(&self) -> PathBuf {
        self.scratch.path().join("m")
    }

    /// Writes a file below the manifests.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.manifests().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }

    /// Removes a file below the manifests.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        Ok(fs::remove_file(self.manifests().join(name))?)
    }

    /// A command of the real binary, with an environment of its own.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_boma"));
        let dirs: Vec<_> = self
            .builds
            .iter()
            .map(|build| build.bin.to_string_lossy().into_owned())
            .collect();
        command
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("HOME", self.scratch.path())
            .env("BOMA_TEST_RECORD", self.record.dir())
            .env("BOMA_STATE_DIR", self.state())
            .env("BOMA_POSTGRES_DIR", dirs.join(":"))
            .current_dir(self.scratch.path())
            .stdin(Stdio::null());
        if let Some(account) = self.run_as.filter(|_| nix::unistd::geteuid().is_root()) {
            command.uid(account.uid).gid(account.gid);
        }
        command
    }

    /// Runs `boma` to its end.
    pub(crate) fn boma<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Ran> {
        let args: Vec<_> = args
            .into_iter()
            .map(|arg| arg.as_ref().to_owned())
            .collect();
        let output = self.command().args(&args).output()?;
        // What a person asks to be shown, and what an application prints, is theirs.
        let is_shown = args.iter().any(|arg| arg == "--reveal" || arg == "run");
        if !is_shown {
            self.record.said(&output.stdout)?;
        }
        self.record.said(&output.stderr)?;
        Ok(Ran::from(&output))
    }

    /// Has searched for passwords what Boma has told somebody.
    pub(crate) fn has_told(&self, what: &[u8]) -> Result<()> {
        self.record.said(what)
    }

    /// Uses one PostgreSQL build only.
    pub(crate) fn only(mut self, major: boma_instance::MajorVersion) -> Self {
        self.builds.retain(|build| build.major == major);
        self
    }

    /// Uses programs of one version that are in a certain directory.
    pub(crate) fn with_programs(
        mut self,
        major: boma_instance::MajorVersion,
        bin: PathBuf,
    ) -> Self {
        self.builds = vec![Build { major, bin }];
        self
    }

    /// Runs everything as an ordinary user, whoever runs the test.
    pub(crate) fn by_ordinary_user(mut self) -> Result<Self> {
        let account = unprivileged()?;
        for path in [
            self.state(),
            self.state().join("config.toml"),
            self.manifests(),
        ] {
            std::os::unix::fs::chown(path, Some(account.uid), Some(account.gid))?;
        }
        self.run_as = Some(account);
        Ok(self)
    }

    /// Applies the manifests and fails unless everything converged.
    pub(crate) fn apply(&self) -> Result<String> {
        self.boma(["apply", "m"])?.ok()
    }

    /// Runs SQL with psql as an application does: over its injected connection string.
    pub(crate) fn sql(&self, application: &str, sql: &str) -> Result<Ran> {
        let client = self.client();
        let stop = "ON_ERROR_STOP=1";
        self.boma([
            "run",
            application,
            "--",
            &client,
            "-Atq",
            "-v",
            stop,
            "-c",
            sql,
        ])
    }

    /// psql over the connection string of its environment, as a command. As an argument the
    /// string would be for everybody to see in the list of processes.
    pub(crate) fn client(&self) -> String {
        self.path("client").to_string_lossy().into_owned()
    }

    /// Processes that work in, or were started for, this installation.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let scratch = self.scratch.path().to_string_lossy().into_owned();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else {
                continue;
            };
            let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let directory = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            let mentioned = String::from_utf8_lossy(&arguments).contains(&scratch);
            if (mentioned || directory.starts_with(&scratch)) && pid != own_pid() {
                found.push(pid);
            }
        }
        found
    }

    /// Path of a file in the scratch directory.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.scratch.path().join(name)
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        // What a test started must not outlive it, whatever state it left things in.
        for pid in self.processes() {
            kill_9(pid);
        }
        let searched = self.record.end(self.scratch.path());
        assert!(searched.is_ok() || std::thread::panicking(), "{searched:?}");
    }
}

/// psql over a connection string, which nobody sees in the list of processes.
pub(crate) fn client(url: &str) -> Command {
    let mut command = Command::new("bash");
    let script = format!("{CONNECTION}\nexec psql -X \"$@\"\n");
    command
        .args(["-c", &script, "psql"])
        .env("DATABASE_CONNECTION_STRING", url);
    command
}

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap_or_default()
}

/// Waits until a condition holds; says how things stood when it never does.
pub(crate) fn wait<T>(condition: impl FnMut() -> Result<T>) -> Result<T> {
    wait_for(Duration::from_mins(1), condition)
}

fn wait_for<T>(patience: Duration, mut condition: impl FnMut() -> Result<T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(boma_testkit::eventually(patience, async || {
        condition().map_err(|error| format!("{error:#}"))
    }))
}

/// The same, for what may wait until an agent looks by itself, once a minute.
pub(crate) fn wait_long<T>(condition: impl FnMut() -> Result<T>) -> Result<T> {
    wait_for(Duration::from_mins(3), condition)
}

/// Kills a process. One that has ended meanwhile is what is wanted.
pub(crate) fn kill_9(pid: i32) {
    let pid = nix::unistd::Pid::from_raw(pid);
    let _ended = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
}
