//! The release binary, with a state directory and manifests of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// How many spare clusters Boma keeps unless told otherwise.
const SPARES: usize = 2;

/// How long something may take until it counts as broken.
const PATIENCE: Duration = Duration::from_mins(1);

/// The release binary of this repository.
pub(super) fn binary(root: &Path) -> Result<PathBuf> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let binary = target.join("release/boma");
    ensure!(
        binary.exists(),
        "there is no {}: cargo build --release -p boma",
        binary.display()
    );
    Ok(binary)
}

/// One installation of Boma for a benchmark.
pub(super) struct Boma {
    binary: PathBuf,
    state: PathBuf,
    source: PathBuf,
    end_processes: PathBuf,
}

/// `boma serve` in the background; stopped when dropped.
pub(super) struct Serving(Child);

impl Boma {
    /// Uses the release binary of this repository with directories below `scratch`.
    pub(super) fn install(root: &Path, scratch: &Path) -> Result<Self> {
        let boma = Self {
            binary: binary(root)?,
            state: scratch.join("s"),
            source: scratch.join("manifests"),
            end_processes: root.join("scripts/end-processes.sh"),
        };
        fs::create_dir_all(&boma.source)?;
        fs::create_dir_all(&boma.state)?;
        // Names of a benchmark have no business in the machine's hosts file.
        fs::write(boma.state.join("config.toml"), "hosts-file = ''\n")?;
        Ok(boma)
    }

    pub(super) fn state(&self) -> &Path {
        &self.state
    }

    /// Writes one file of manifests.
    pub(super) fn write(&self, file: &str, text: &str) -> Result<()> {
        fs::write(self.source.join(file), text).with_context(|| format!("write {file}"))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .env("BOMA_STATE_DIR", &self.state)
            .current_dir(&self.source)
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end; 4, "something to do", is a success too.
    pub(super) fn time(&self, arguments: &[&str]) -> Result<Duration> {
        let start = Instant::now();
        let output = self.command(arguments).output().context("start boma")?;
        let time = start.elapsed();
        ensure!(
            matches!(output.status.code(), Some(0 | 4)),
            "boma {}: {}\n{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(time)
    }

    /// Waits until the clusters that are made ahead are there.
    pub(super) fn wait_for_spares(&self) -> Result<()> {
        let begun = Instant::now();
        while self.spares().len() < SPARES {
            ensure!(begun.elapsed() < PATIENCE, "there are no spare clusters");
            Command::new("sleep").arg("0.1").status()?;
        }
        Ok(())
    }

    /// Takes the spare clusters out of the store; removing them would be measured with what comes.
    pub(super) fn move_spares_away(&self) -> Result<()> {
        for (number, spare) in self.spares().into_iter().enumerate() {
            fs::rename(spare, self.source.with_extension(format!("spare{number}")))?;
        }
        Ok(())
    }

    /// Spare clusters, one level below the directory of templates.
    fn spares(&self) -> Vec<PathBuf> {
        let below = |directory: &Path| {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).collect::<Vec<_>>()
        };
        let is_spare = |path: &PathBuf| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("spare-"))
        };
        let stores = below(&self.state.join("templates"));
        let all = stores.iter().flat_map(|store| below(store));
        all.filter(is_spare).collect()
    }

    /// Starts a command that says each step that it takes, and what it says.
    pub(super) fn speaking(&self, arguments: &[&str]) -> Result<(Serving, ChildStderr)> {
        let mut command = self.command(arguments);
        command.env("BOMA_LOG", "boma=debug");
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("start boma")?;
        let said = child.stderr.take().context("no standard error")?;
        Ok((Serving(child), said))
    }

    /// Starts `boma serve`.
    pub(super) fn serve(&self) -> Result<Serving> {
        let log = fs::File::create(self.source.with_extension("log"))?;
        let child = self
            .command(&["serve"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("start boma serve")?;
        Ok(Serving(child))
    }
}

impl Drop for Boma {
    /// Stops the servers, then ends what is left.
    fn drop(&mut self) {
        let instances = fs::read_dir(self.state.join("instances"));
        if instances.map_or(0, Iterator::count) == 0 {
            return;
        }
        let stopped = self.time(&["--quiet", "stop"]);
        let ended = Command::new(&self.end_processes).arg(&self.state).status();
        if let (Err(error), _) | (_, Err(error)) = (stopped, ended.map_err(anyhow::Error::from)) {
            println!("{}: {error:#}", self.state.display());
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let pid = self.0.id().to_string();
        let stopped = Command::new("kill")
            .arg(&pid)
            .status()
            .and_then(|_| self.0.wait());
        if let Err(error) = stopped {
            println!("stop boma serve, process {pid}: {error}");
        }
    }
}

const HEAD: &str = "\
apiVersion: lowops.manifests.v1
metadata:
  organization: boma
  organizational-unit: bench
  environment: scratch
  project: figures
";

/// The manifest of a database. CPU is enforced: with a quarter of one, everything about a server,
/// also that it is made, takes four times as long.
pub(super) fn database(name: &str, cpus: &str) -> String {
    format!(
        "{HEAD}  name: {name}\nkind: Database\nspec:\n  cpuCount: {cpus}\n  memory: 256Mi\n  \
        storage: {{ size: 1Gi }}\n  deletionProtection: false\n  backupConfig: {{ enabled: false }}\n"
    )
}

/// The manifest of an application that uses one database.
pub(super) fn application(name: &str, database: &str, read_only: bool) -> String {
    format!(
        "{HEAD}  name: {name}\nkind: Application\nspec:\n  accessControl:\n    databases:\n      \
        - name: {database}\n        readOnly: {read_only}\n        secretSource:\n          \
        envVar: DATABASE_CONNECTION_STRING\n"
    )
}

/// The manifest of an application that runs elsewhere; `spec` is indented by two.
pub(super) fn application_elsewhere(name: &str, spec: &str) -> String {
    format!("{HEAD}  name: {name}\nkind: Application\nspec:\n{spec}")
}

/// The manifest of an application that runs a command with access to one database.
pub(super) fn running_application(name: &str, database: &str, command: &str) -> String {
    let quiet = application(name, database, false);
    quiet.replacen(
        "spec:\n",
        &format!("spec:\n  source: {{ command: {command} }}\n"),
        1,
    )
}
