//! Applications with a `command`: started detached, found again, stopped with all of their children.
//!
//! Whom they run as: whoever runs Boma; when that is root, the configured user, else the owner of
//! the working directory, else `nobody`. Never the user that servers run as: that one is the
//! superuser of every database.
//!
//! What they get: their delivered environment, and of Boma's own what every program needs (`PATH`,
//! language, time zone). Secrets of whoever typed `boma apply` do not leak into them.

mod environment;
mod log;
mod run_as;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{fs, io};

use boma_engine::keys::ApplicationKey;
use boma_engine::observed::{PreDeployRun, ProcessState};
use boma_engine::platform::Program;
use boma_engine::printed::{ApplicationSecrets, redacted};
use boma_problem::{Class, IntoProblem, Problem};
use jiff::{SignedDuration, Timestamp};
use tokio::runtime::Handle;

use crate::detach::{self, StartError};
use crate::layout::{Layout, LayoutError};
use crate::process::{self, Identity};
use crate::store::{ProcessRow, Role, Store, StoreError};
use crate::user::{SystemUser, UserError};
use crate::wakes::Waker;

/// How long a process may take to end after it was asked to.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// A process that ends sooner than this after its start did not really start.
const SOON: SignedDuration = SignedDuration::from_mins(1);

/// Lines of a failed `preDeploy` that its problem shows.
const LAST_LINES: usize = 12;

/// Why an application could not be started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ApplicationError {
    /// Nothing was delivered to it yet.
    #[error("no environment was delivered to application `{key}`")]
    NoEnvironment {
        /// Which one.
        key: ApplicationKey,
    },
    /// There is no command.
    #[error("application `{key}` has no command to run here")]
    NoCommand {
        /// Which one.
        key: ApplicationKey,
    },
    /// The directory to run in cannot be used.
    #[error("use working directory `{path}`")]
    WorkingDirectory {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no such user, or it cannot be looked up.
    #[error(transparent)]
    User(#[from] UserError),
    /// It would run as the databases' superuser.
    #[error("application `{key}` would run as user `{user}`, which the databases run as")]
    DatabaseUser {
        /// Which one.
        key: ApplicationKey,
        /// The user.
        user: String,
    },
    /// Its log cannot be written.
    #[error("open log `{path}`")]
    Log {
        /// The log.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The system refused to run the program.
    #[error("run `{program}`")]
    Run {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A process could not be looked at or ended.
    #[error("{doing} process {pid}")]
    Process {
        /// What was to be done: a verb.
        doing: &'static str,
        /// Which one.
        pid: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The state directory cannot be used.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The state cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl IntoProblem for ApplicationError {
    fn problem(&self) -> Problem {
        let problem = |class, code| Problem::from_error(class, code, self);
        match self {
            Self::NoEnvironment { .. } => problem(Class::Internal, "environment-missing")
                .hint("Run `boma apply` once more."),
            Self::NoCommand { .. } => problem(Class::User, "command-empty")
                .hint("Write a program and its arguments into `spec.source.command`."),
            Self::WorkingDirectory { .. } => problem(Class::User, "working-directory")
                .hint("Make the directory, or correct `spec.source.workingDirectory`."),
            Self::User(error) => error.problem(),
            Self::DatabaseUser { .. } => problem(Class::User, "application-user-refused")
                .hint("Give the working directory to another user, or name one in `config.toml` (`application-user`)."),
            Self::Log { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                problem(Class::Config, "disk-full").hint(crate::files::FREE_SPACE)
            }
            Self::Log { .. } => problem(Class::Config, "application-log"),
            Self::Run { source, program } if source.kind() == io::ErrorKind::NotFound => {
                problem(Class::User, "command-not-found").hint(format!(
                    "Install `{program}`, or write its whole path into the manifest: it is looked for in the PATH that `boma` runs with."
                ))
            }
            Self::Run { source, program } if source.kind() == io::ErrorKind::PermissionDenied => {
                problem(Class::User, "command-not-allowed").hint(format!(
                    "Make `{program}` executable for the user that the application runs as."
                ))
            }
            Self::Run { .. } => problem(Class::Transient, "command-not-started"),
            Self::Process { .. } => problem(Class::Transient, "process-failed"),
            Self::Layout(error) => error.problem(),
            Self::Store(error) => error.problem(),
        }
    }
}

/// Runs the processes of applications.
#[derive(Clone)]
pub(crate) struct Applications {
    pub(crate) store: Store,
    pub(crate) layout: Layout,
    /// The user that servers run as.
    pub(crate) servers: SystemUser,
    /// The user that all applications run as, if configured.
    pub(crate) configured: Option<String>,
    pub(crate) waker: Waker,
    /// How long a process may take to end after it was asked to.
    pub(crate) grace: Duration,
}

/// A program, ready to be started.
struct Prepared {
    command: Command,
    secrets: ApplicationSecrets,
    log: PathBuf,
}

impl Applications {
    /// Ends the application's process, if there is one, and starts it anew.
    pub(crate) async fn restart(
        &self,
        key: &ApplicationKey,
        deployment: &str,
        program: &Program,
    ) -> Result<ProcessState, ApplicationError> {
        // Prepared before anything is stopped: what cannot be started leaves the old one running.
        let prepared = self.prepare(key, program, Role::Main).await?;
        let wanted = key.clone();
        let before = self
            .store
            .read(move |state| state.process(&wanted, Role::Main))
            .await?;
        if let Some(row) = &before {
            self.end(row).await?;
        }
        let failures = before
            .filter(|row| row.deployment == deployment)
            .map_or(0, |row| row.failures);
        let (child, row) = self
            .start(key, Role::Main, deployment, failures, prepared)
            .await?;
        let state = running(&row);
        self.watch(key.clone(), row, Some(child));
        Ok(state)
    }

    async fn end(&self, row: &ProcessRow) -> Result<(), ApplicationError> {
        let ended = process::end_session(&row.identity(), self.grace).await;
        ended.map_err(process_error("end", row.pid))
    }

    /// Ends the application's process and forgets it.
    pub(crate) async fn stop(&self, key: &ApplicationKey) -> Result<(), ApplicationError> {
        let wanted = key.clone();
        let Some(row) = self
            .store
            .read(move |state| state.process(&wanted, Role::Main))
            .await?
        else {
            return Ok(());
        };
        self.end(&row).await?;
        let key = key.clone();
        Ok(self
            .store
            .write(move |state| state.forget_process(&key, Role::Main))
            .await?)
    }

    /// Runs a program to its end; the outcome is on record when this returns.
    pub(crate) async fn run_pre_deploy(
        &self,
        key: &ApplicationKey,
        deployment: &str,
        program: &Program,
    ) -> Result<Option<Problem>, StoreError> {
        let failure = match self.pre_deploy(key, deployment, program).await {
            Ok(failure) => failure,
            Err(ApplicationError::Store(error)) => return Err(error),
            Err(error) => Some(error.problem()),
        };
        let run = PreDeployRun {
            deployment: deployment.to_owned(),
            failure: failure.clone(),
            at: Timestamp::now(),
        };
        let key = key.clone();
        self.store
            .write(move |state| {
                state.register_application(&key)?;
                state.set_pre_deploy(&key, &run)?;
                state.forget_process(&key, Role::PreDeploy)
            })
            .await?;
        Ok(failure)
    }

    async fn pre_deploy(
        &self,
        key: &ApplicationKey,
        deployment: &str,
        program: &Program,
    ) -> Result<Option<Problem>, ApplicationError> {
        let prepared = self.prepare(key, program, Role::PreDeploy).await?;
        let wanted = key.clone();
        // A Boma that was killed left its run going; two migrations at once are asking for trouble.
        if let Some(row) = self
            .store
            .read(move |state| state.process(&wanted, Role::PreDeploy))
            .await?
        {
            wait_for_end(&row.identity()).await?;
        }
        let (log, secrets) = (prepared.log.clone(), prepared.secrets.clone());
        let (mut child, row) = self
            .start(key, Role::PreDeploy, deployment, 0, prepared)
            .await?;
        wait_for_end(&row.identity()).await?;
        let status = child.wait().map_err(process_error("wait for", row.pid))?;
        if status.success() {
            return Ok(None);
        }
        let text = crate::files::tail(&log, 16 << 10).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
        let mut problem = Problem::new(
            Class::User,
            "pre-deploy-failed",
            format!(
                "preDeploy `{}` ended with {status}",
                program.command.join(" ")
            ),
        )
        .hint(format!(
            "Its whole output is in `{}`. The version that was running goes on.",
            log.display()
        ));
        if !last.is_empty() {
            problem.causes.push(redacted(&last, &secrets));
        }
        Ok(Some(problem))
    }

    /// What became of a process on record. An end that nobody has seen yet is recorded.
    pub(crate) async fn state_of(
        &self,
        key: &ApplicationKey,
        row: &ProcessRow,
    ) -> Result<ProcessState, StoreError> {
        if row.exited_at.is_none() && row.identity().is_alive() {
            return Ok(running(row));
        }
        let (at, failures) = match row.exited_at {
            Some(at) => (at, row.failures),
            None => self.record_end(key, row).await?,
        };
        Ok(ProcessState::Exited {
            deployment: row.deployment.clone(),
            at,
            failures,
        })
    }

    async fn record_end(
        &self,
        key: &ApplicationKey,
        row: &ProcessRow,
    ) -> Result<(Timestamp, u32), StoreError> {
        let at = Timestamp::now();
        let soon = at.duration_since(row.since) < SOON;
        let failures = if soon {
            row.failures.saturating_add(1)
        } else {
            0
        };
        let (key, row) = (key.clone(), row.clone());
        self.store
            .write(move |state| state.set_exited(&key, &row, at, failures))
            .await?;
        Ok((at, failures))
    }

    /// Wakes the engine when a running process ends, and reaps it if it is a child.
    pub(crate) fn watch(&self, key: ApplicationKey, row: ProcessRow, child: Option<Child>) {
        let this = self.clone();
        tokio::spawn(async move {
            if let Err(error) = wait_for_end(&row.identity()).await {
                tracing::warn!(application = %key, error = %error, "cannot watch a process");
                return;
            }
            if let Some(mut child) = child {
                match child.wait() {
                    Ok(status) => tracing::info!(application = %key, %status, "the process ended"),
                    Err(error) => {
                        tracing::warn!(application = %key, %error, "cannot reap a process");
                    }
                }
            }
            if let Err(error) = this.record_end(&key, &row).await {
                tracing::warn!(application = %key, %error, "cannot record the end of a process");
            }
            this.waker.wake();
        });
    }

    async fn prepare(
        &self,
        key: &ApplicationKey,
        program: &Program,
        role: Role,
    ) -> Result<Prepared, ApplicationError> {
        let wanted = key.clone();
        let secrets = self
            .store
            .read(move |state| state.environment(&wanted))
            .await?
            .ok_or_else(|| ApplicationError::NoEnvironment { key: key.clone() })?;
        let (name, arguments) = program
            .command
            .split_first()
            .ok_or_else(|| ApplicationError::NoCommand { key: key.clone() })?;
        let home = self.layout.application(key)?;
        make_home(&home)?;
        let place = run_as::place(self, key, program, &home)?;
        environment::find(name, &place.directory, secrets.get("PATH")).map_err(|source| {
            ApplicationError::Run {
                program: name.clone(),
                source,
            }
        })?;
        let (log, rotate) = match role {
            Role::Main => (self.layout.application_log(key)?, log::Rotate::WhenLarge),
            Role::PreDeploy => (self.layout.pre_deploy_log(key)?, log::Rotate::Always),
        };
        let (out, err) = log::open(&log, rotate)
            .and_then(|file| Ok((file.try_clone()?, file)))
            .map_err(|source| ApplicationError::Log {
                path: log.clone(),
                source,
            })?;
        let mut command = Command::new(name);
        command
            .args(arguments)
            .current_dir(&place.directory)
            .env_clear()
            .envs(environment::base(place.account.as_ref()))
            .envs(secrets.iter().map(|(name, value)| (name, value.expose())))
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err);
        if let Some(account) = &place.account {
            use std::os::unix::process::CommandExt;
            // With the user goes every supplementary group: the standard library clears them.
            command.uid(account.uid.as_raw()).gid(account.gid.as_raw());
        }
        Ok(Prepared {
            command,
            secrets,
            log,
        })
    }

    async fn start(
        &self,
        key: &ApplicationKey,
        role: Role,
        deployment: &str,
        failures: u32,
        prepared: Prepared,
    ) -> Result<(Child, ProcessRow), ApplicationError> {
        let program = prepared
            .command
            .get_program()
            .to_string_lossy()
            .into_owned();
        let (store, key, deployment) = (self.store.clone(), key.clone(), deployment.to_owned());
        let handle = Handle::current();
        let work = move || {
            let mut recorded = None;
            let started = detach::start(prepared.command, |pid| {
                let identity = Identity::of(pid).map_err(process_error("look at", pid))?;
                let row = ProcessRow {
                    deployment,
                    pid,
                    birth: identity.birth,
                    since: Timestamp::now(),
                    exited_at: None,
                    failures,
                };
                recorded = Some(row.clone());
                let write = store.write(move |state| state.set_process(&key, role, &row));
                handle.block_on(write).map_err(ApplicationError::from)
            });
            match (started, recorded) {
                (Ok(child), Some(row)) => Ok((child, row)),
                (Err(StartError::Record(error)), _) => Err(error),
                (Err(StartError::System(source)), _) => {
                    Err(ApplicationError::Run { program, source })
                }
                (Ok(_), None) => Err(StoreError::Closed.into()),
            }
        };
        tokio::task::spawn_blocking(work)
            .await
            .unwrap_or(Err(StoreError::Closed.into()))
    }
}

impl ProcessRow {
    pub(crate) fn identity(&self) -> Identity {
        Identity {
            pid: self.pid,
            birth: self.birth.clone(),
        }
    }
}

fn running(row: &ProcessRow) -> ProcessState {
    ProcessState::Running {
        deployment: row.deployment.clone(),
        pid: Some(row.pid),
        since: row.since,
    }
}

async fn wait_for_end(identity: &Identity) -> Result<(), ApplicationError> {
    let failed = process_error("wait for", identity.pid);
    match identity.open() {
        Ok(Some(alive)) => alive.ended().await.map_err(failed),
        Ok(None) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

fn process_error(doing: &'static str, pid: u32) -> impl FnOnce(io::Error) -> ApplicationError {
    move |source| ApplicationError::Process { doing, pid, source }
}

/// Makes the application's own directory. Others may pass through to `work`, and list nothing.
fn make_home(home: &Path) -> Result<(), ApplicationError> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(home)
        .map_err(|source| {
            LayoutError::Io {
                doing: "create",
                path: home.to_owned(),
                source,
            }
            .into()
        })
}

#[cfg(test)]
mod tests;
