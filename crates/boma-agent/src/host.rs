//! The effects of the agent: looks at one server and carries out steps. Decides nothing.

mod inquiry;
mod programs;
mod recovering;
mod storage;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use boma_instance::settings;
use boma_instance::statements::Statements;
use boma_instance::{Assignment, Secret};
use boma_postgres::cluster::{self, DataDirectory, NewCluster, Store};
use boma_postgres::server::{self, Launch, Running, ServerState, StartError, StopMode, log};
use boma_problem::{Class, IntoProblem, Problem};
use nix::unistd::{User, geteuid};

use self::inquiry::Inquiry;
use self::programs::Programs;
pub(crate) use self::programs::discover;
use crate::backups::Places;
use crate::ledger::{Ledger, store_all};
use crate::plan::{ConfigFile, Data, FileName, Files, Observed, Paths, Server, Step};
use crate::wal::End;
use crate::{AgentConfig, LOG};

/// Name of the data directory in the instance directory.
pub(crate) const DATA: &str = "data";
const TLS: &str = "tls";

/// How long a step waits for a server that starts. Longer starts (WAL to replay) go on by
/// themselves and are found by the next look.
const START_PATIENCE: Duration = Duration::from_secs(5);

/// How long a shutdown may take before the step fails and is tried again. A shutdown writes a
/// checkpoint; the checkpoint just before it has left little to write.
const STOP_PATIENCE: Duration = Duration::from_mins(1);

/// Why a step could not be carried out.
pub(crate) type Failure = Box<Problem>;

/// Makes it of any error.
#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err`")]
pub(crate) fn failure(error: impl IntoProblem) -> Failure {
    Box::new(error.problem())
}

/// One server's place on this machine.
#[derive(Debug)]
pub(crate) struct Host {
    dir: PathBuf,
    data: PathBuf,
    sockets: PathBuf,
    store: Store,
    programs: Programs,
    boma: PathBuf,
    running: Option<Running>,
    /// Open while there is something to do.
    inquiry: Option<Inquiry>,
    /// Transactions of connections that are closed: no work of applications.
    own_transactions: u64,
    storage: Option<boma_instance::StorageStatus>,
    /// Where recovery was told that the archive ends.
    archive_ended: End,
}

impl Host {
    /// Takes the directories of an agent.
    pub(crate) fn new(config: &AgentConfig) -> Self {
        Self {
            dir: config.dir.clone(),
            data: config.dir.join(DATA),
            sockets: config.run_dir.clone(),
            store: Store::new(&config.store),
            programs: Programs::new(config.bin_dir.clone()),
            boma: config.boma.clone(),
            running: None,
            inquiry: None,
            own_transactions: 0,
            storage: None,
            archive_ended: End::default(),
        }
    }

    /// Takes what says where recovery was told that the archive ends.
    pub(crate) fn with_end(mut self, ended: End) -> Self {
        self.archive_ended = ended;
        self
    }

    /// What backups have to know of them.
    pub(crate) fn places(&self, paths: &Paths) -> Places {
        Places {
            dir: self.dir.clone(),
            data: self.data.clone(),
            sockets: self.sockets.clone(),
            restore_command: settings::restore_command(&paths.conf),
            program: PathBuf::from(&paths.conf.boma),
            bin_dir: self.programs.bin_dir().to_owned(),
        }
    }

    /// What configuration files have to know of them.
    pub(crate) fn paths(&self) -> Paths {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        Paths {
            conf: settings::Paths {
                data: text(&self.data),
                sockets: text(&self.sockets),
                tls: text(&self.dir.join(TLS)),
                boma: text(&self.boma),
            },
            system_user: system_user(),
        }
    }

    /// Looks at everything. Reads only, except that a long log is made shorter.
    pub(crate) async fn observe(&mut self, want: &Assignment, ledger: &Ledger) -> Observed {
        self.rotate_log();
        self.forget_ended();
        let data = self.look_at_data(want);
        if matches!(data, Data::Whole { .. }) {
            self.storage = storage::measure(&self.data, want.spec.resources.storage_bytes).ok();
        }
        let server = match &data {
            Data::Whole { .. } => self.look_at_server(want).await,
            Data::Missing | Data::NotOurs { .. } | Data::Unknown(_) => Server::Down,
        };
        Observed {
            data,
            made_before: ledger.was_made(),
            reached: ledger.reached().cloned(),
            programs: self
                .programs
                .now()
                .map(|installation| installation.version.to_string())
                .map_err(|problem| *problem),
            files: self.read_files(),
            server,
            recovery: self.read_recovery(),
            archive_ended: self.archive_ended.get(),
            storage: self.storage,
        }
    }

    /// Carries out one step.
    pub(crate) async fn act(
        &mut self,
        want: &Assignment,
        step: &Step,
        ledger: &Ledger,
    ) -> Result<(), Failure> {
        match step {
            Step::MakeData => self.make_data(want).await,
            Step::ReleaseTarget(recovery) => self.write_recovery(recovery),
            Step::TakeOver(recovery) => self.take_over(want, &recovery.database).await,
            Step::RememberMade => ledger.remember_made().map_err(failure),
            Step::WriteFiles(files) => self.write_files(files),
            Step::Start => self.start(want).await,
            Step::Stop => self.stop().await,
            Step::Reload => self.reload(want).await,
            Step::Restart(_) => self.restart(want).await,
            Step::ResetSettings(names) => self.inquiry(want).reset_settings(names).await,
            Step::Access(steps) => self.inquiry(want).act(steps).await,
        }
    }

    /// Waits until the server that is known to run has ended; for ever, when none is known.
    pub(crate) async fn server_ended(&self) {
        match &self.running {
            Some(running) => {
                running.exited().await;
            }
            None => std::future::pending().await,
        }
    }

    /// Checkpoint, shutdown, start: the checkpoint first, while queries are still served, leaves
    /// little to write while none are.
    pub(crate) async fn restart(&mut self, want: &Assignment) -> Result<(), Failure> {
        if self.running.is_some() {
            self.inquiry(want).checkpoint().await?;
        }
        self.stop().await?;
        self.start(want).await
    }

    /// Checkpoint, then shutdown, however the server came to run.
    pub(crate) async fn shut_down(&mut self, want: &Assignment) -> Result<(), Failure> {
        self.find_server()?;
        if self.running.is_none() {
            return Ok(());
        }
        // One that does not answer is stopped without.
        if let Err(problem) = self.inquiry(want).checkpoint().await {
            tracing::warn!(%problem, "no checkpoint before the server stops");
        }
        self.stop().await
    }

    /// What the database spends its time with.
    pub(crate) async fn statements(&mut self, want: &Assignment) -> Result<Statements, Failure> {
        self.inquiry(want).statements().await
    }

    fn inquiry(&mut self, want: &Assignment) -> &mut Inquiry {
        let open = self
            .inquiry
            .take()
            .filter(|inquiry| inquiry.is_of(&self.sockets, want));
        self.inquiry
            .insert(open.unwrap_or_else(|| Inquiry::new(&self.sockets, want)))
    }

    /// Closes the connections to the server: nothing is asked of it for a while.
    pub(crate) fn hang_up(&mut self) {
        let closed = self.inquiry.take();
        self.own_transactions += closed.map_or(0, |inquiry| inquiry.transactions());
    }

    /// Transactions of its own in the database that the server has counted for certain: those of
    /// connections that are closed.
    pub(crate) fn own_transactions(&self) -> u64 {
        self.own_transactions
    }

    fn look_at_data(&self, want: &Assignment) -> Data {
        match cluster::inspect(&self.data) {
            Ok(DataDirectory::Missing | DataDirectory::Empty) => Data::Missing,
            Ok(DataDirectory::Ours(ours)) => match ours.marker.instance {
                Some(id) if id != want.spec.id => Data::NotOurs {
                    why: format!("it belongs to instance {id}"),
                },
                _ => Data::Whole {
                    version: ours.major,
                },
            },
            Ok(DataDirectory::Unfinished { why, .. } | DataDirectory::Foreign { why }) => {
                Data::NotOurs { why }
            }
            Err(error) => Data::Unknown(error.problem()),
        }
    }

    async fn look_at_server(&mut self, want: &Assignment) -> Server {
        if let Err(problem) = self.find_server() {
            return Server::Silent(*problem);
        }
        let Some(running) = &self.running else {
            return Server::Down;
        };
        let pid = running.pid();
        match running.state() {
            Ok(Some(file)) if file.state == ServerState::Ready => {
                self.inquiry(want).ask(&want.spec, pid).await
            }
            Ok(_) => Server::Starting,
            Err(error) => Server::Silent(error.problem()),
        }
    }

    /// Brings `running` up to date: a server that has ended is forgotten, one that an earlier
    /// agent started is adopted.
    fn find_server(&mut self) -> Result<(), Failure> {
        self.forget_ended();
        if self.running.is_none() {
            self.running = server::adopt(&self.data).map_err(failure)?;
        }
        Ok(())
    }

    /// Lets go of a server that has ended, wherever its data may be: waiting for its end again
    /// would end at once, for ever.
    fn forget_ended(&mut self) {
        if self
            .running
            .as_ref()
            .is_some_and(|running| running.try_exited().is_some())
        {
            self.running = None;
        }
    }

    async fn make_data(&mut self, want: &Assignment) -> Result<(), Failure> {
        let installation = self.programs.now()?;
        let (data, store, instance) = (self.data.clone(), self.store.clone(), want.spec.id);
        let work = move || {
            let new = NewCluster {
                installation: &installation,
                directory: &data,
                instance,
            };
            cluster::make(&new, Some(&store), &mut |_milestone| {})
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(made)) => {
                tracing::info!(from = ?made.marker.made_from, "made the data directory");
                Ok(())
            }
            Ok(Err(error)) => Err(failure(error)),
            Err(error) => Err(Problem::from_error(Class::Internal, "step-panicked", &error).into()),
        }
    }

    fn read_files(&self) -> Files {
        let contents = FileName::ALL
            .into_iter()
            .filter_map(|name| {
                Some((
                    name,
                    Secret::new(fs::read_to_string(self.path_of(name)).ok()?),
                ))
            })
            .collect::<BTreeMap<_, _>>();
        Files::read(contents)
    }

    fn write_files(&self, files: &[ConfigFile]) -> Result<(), Failure> {
        let files: Vec<_> = files
            .iter()
            .map(|file| (self.path_of(file.name), file.content.expose().as_bytes()))
            .collect();
        for directory in files.iter().filter_map(|(path, _)| path.parent()) {
            fs::create_dir_all(directory).map_err(|source| not_written(directory, source))?;
        }
        store_all(&files).map_err(|(path, source)| not_written(&path, source))
    }

    fn path_of(&self, name: FileName) -> PathBuf {
        let dir = if name.is_in_data() {
            self.data.clone()
        } else {
            self.dir.join(TLS)
        };
        dir.join(name.file_name())
    }

    async fn start(&mut self, want: &Assignment) -> Result<(), Failure> {
        let installation = self.programs.now()?;
        let log = self.dir.join(LOG);
        let launch = Launch {
            installation: &installation,
            data: &self.data,
            log: &log,
            socket_directory: &self.sockets,
            listen: want.placement.bound(),
        };
        match server::start(&launch, START_PATIENCE).await {
            Ok(running) => {
                self.running = Some(running);
                Ok(())
            }
            // It goes on by itself; the next look finds it.
            Err(StartError::Slow { .. } | StartError::RunsAlready { .. }) => Ok(()),
            Err(error) => Err(failure(error)),
        }
    }

    async fn stop(&mut self) -> Result<(), Failure> {
        self.find_server()?;
        self.hang_up();
        if let Some(running) = &self.running {
            running
                .stop(StopMode::Fast, STOP_PATIENCE)
                .await
                .map_err(failure)?;
            self.running = None;
        }
        Ok(())
    }

    /// Returns when the server has read its configuration: it says so by the fingerprint setting,
    /// which every session sees.
    async fn reload(&mut self, want: &Assignment) -> Result<(), Failure> {
        if let Some(running) = &self.running {
            running.reload().map_err(failure)?;
            self.hang_up();
            let wanted = crate::plan::files::wanted(want, &self.paths());
            self.inquiry(want)
                .await_reload(wanted.fingerprint())
                .await?;
        }
        Ok(())
    }

    /// Keeps the server's log short.
    fn rotate_log(&self) {
        if let Err(error) = log::rotate(&self.dir.join(LOG), log::Keep::default()) {
            tracing::warn!(%error, "the log could not be rotated");
        }
    }
}

pub(crate) fn system_user() -> String {
    let uid = geteuid();
    match User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        // PostgreSQL asks the system for the name too; without one nobody gets in by `peer`.
        Ok(None) | Err(_) => uid.to_string(),
    }
}

/// A configuration file that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("write `{}`", path.display())]
struct WriteFileError {
    path: PathBuf,
    source: io::Error,
}

impl IntoProblem for WriteFileError {
    fn problem(&self) -> Problem {
        let problem = Problem::from_error(Class::Transient, "config-not-written", self);
        if self.source.kind() == io::ErrorKind::StorageFull {
            problem.hint("Free space on this disk, then it goes on by itself.")
        } else {
            problem.hint("The instance directory must belong to the user that servers run as.")
        }
    }
}

fn not_written(path: &Path, source: io::Error) -> Failure {
    let path = path.to_owned();
    failure(WriteFileError { path, source })
}
