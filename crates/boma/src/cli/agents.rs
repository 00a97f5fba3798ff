//! What Boma and Kubernetes type: the programs beside PostgreSQL servers.

use std::path::PathBuf;

use clap::Args;

/// Arguments of `agent`.
#[derive(Debug, Args)]
pub(crate) struct AgentArgs {
    /// The instance directory
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// Directory of the Unix sockets
    #[arg(long)]
    pub(crate) run_dir: PathBuf,
    /// Directory of templates and spare clusters
    #[arg(long)]
    pub(crate) store: PathBuf,
    /// Directory of the PostgreSQL programs
    #[arg(long)]
    pub(crate) bin_dir: PathBuf,
    /// File that standard output and error go to
    #[arg(long)]
    pub(crate) log: PathBuf,
    /// System user to become
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Cgroup to join (can be repeated)
    #[arg(long)]
    pub(crate) cgroup: Vec<PathBuf>,
}

/// Arguments of `agent-pod`.
#[derive(Debug, Args)]
pub(crate) struct PodArgs {
    /// The instance directory
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// Directory of the Unix sockets
    #[arg(long)]
    pub(crate) run_dir: PathBuf,
    /// Where the Secret of the instance is mounted
    #[arg(long)]
    pub(crate) secret: PathBuf,
    /// PostgreSQL's major version
    #[arg(long)]
    pub(crate) postgres: boma_instance::MajorVersion,
    /// Be the agent itself, and not the process that starts it
    #[arg(long)]
    pub(crate) inner: bool,
}

/// Arguments of `agent-install`.
#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    /// The file to write
    pub(crate) target: PathBuf,
}

/// Arguments of `agent-prepare`.
#[derive(Debug, Args)]
pub(crate) struct PrepareArgs {
    /// Directory of templates and spare clusters
    #[arg(long)]
    pub(crate) store: PathBuf,
    /// Directory of the PostgreSQL programs
    #[arg(long)]
    pub(crate) bin_dir: PathBuf,
    /// How many spare clusters to keep
    #[arg(long)]
    pub(crate) count: usize,
    /// Milliseconds to wait first
    #[arg(long)]
    pub(crate) after: u64,
    /// System user to become
    #[arg(long)]
    pub(crate) user: Option<String>,
}
