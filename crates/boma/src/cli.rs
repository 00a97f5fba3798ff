//! What can be typed.

mod agents;
mod backups;
mod edits;
pub(crate) mod people;
mod plugin;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

pub(crate) use agents::{AgentArgs, InstallArgs, PodArgs, PrepareArgs};
pub(crate) use backups::{
    BackupCommand, BackupListArgs, DeleteBackupArgs, ForgetBackupsArgs, ForkArgs, KeyArgs,
    OneBackupArgs, RepositoryArgs, RestoreArgs, TargetArgs,
};
pub(crate) use edits::{
    AttachArgs, CreateArgs, DetachArgs, EditArgs, FieldChange, NewKind, SetArgs,
};

/// Managed PostgreSQL from manifests in Git
///
/// Databases and applications are described by small YAML manifests; `boma apply` makes them so,
/// `boma serve` keeps them so.
#[derive(Debug, Parser)]
#[command(name = "boma", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Reads a command line, the program's own name first; what cannot be read ends the program.
    pub(crate) fn read(arguments: impl IntoIterator<Item = OsString>) -> Self {
        let arguments: Vec<OsString> = arguments.into_iter().collect();
        let command = plugin::named(Self::command(), arguments.first());
        let matches = command.get_matches_from(arguments);
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// Flags of every command.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// Directory that holds everything Boma keeps on this machine [default: /var/lib/boma as root,
    /// else ~/.local/state/boma]
    #[arg(long, global = true, env = "BOMA_STATE_DIR", value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Where databases run
    #[arg(long, global = true, env = "BOMA_PLATFORM", value_enum, default_value_t = PlatformName::Local)]
    pub(crate) platform: PlatformName,
    /// Address of the dashboard of a `boma serve` that is asked in place of an installation on this machine; the token
    /// for it is in BOMA_TOKEN or in a file
    #[arg(long, global = true, env = "BOMA_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// File with the token for the server
    #[arg(long, global = true, env = "BOMA_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, hide_possible_values = true)]
    pub(crate) color: Color,
    /// Say less on standard error
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// How lines on standard error are written: for people, or as JSON, one document a line
    #[arg(long, global = true, env = "BOMA_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub(crate) log_format: LogFormat,
    /// Write a log to standard error (can be repeated)
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// Where databases run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlatformName {
    /// On this machine, as processes.
    Local,
    /// In the Kubernetes cluster that KUBECONFIG names, or that this program runs in.
    Kubernetes,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How to print what is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// Columns for people.
    Table,
    /// JSON.
    Json,
    /// Manifests that can be applied again.
    Yaml,
    /// `kind/name`, one a line.
    Name,
}

/// How lines on standard error are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// JSON, one document a line.
    Json,
}

/// How to print one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OneFormat {
    /// For people.
    Text,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// How to print problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people.
    Text,
    /// JSON.
    Json,
    /// Annotations of GitHub Actions.
    Github,
}

/// How to print a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanFormat {
    /// For people.
    Text,
    /// JSON.
    Json,
    /// A comment for a pull request.
    Markdown,
}

/// How to print an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EnvFormat {
    /// `NAME=value`, one a line.
    Dotenv,
    /// Lines that a POSIX shell can read.
    Shell,
    /// JSON.
    Json,
}

/// Where the manifests are.
#[derive(Clone, Debug, Args)]
pub(crate) struct SourceArgs {
    /// Directory with manifests, at any depth; on Kubernetes also `custom-resources`
    #[arg(value_name = "SOURCE", default_value = ".")]
    pub(crate) source: PathBuf,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write first manifests into a directory
    Init(InitArgs),
    /// Check manifests, without looking at anything that runs
    Validate(ValidateArgs),
    /// Write the manifest of a new database or application
    Create(CreateArgs),
    /// Change fields of a manifest, and nothing else of its file
    Set(SetArgs),
    /// Give an application access to a database, in its manifest
    Attach(AttachArgs),
    /// Take an application's access to a database away, in its manifest
    Detach(DetachArgs),
    /// Show what `apply` would do; exits with 4 when there is something to do
    Plan(PlanArgs),
    /// Make everything so as the manifests say
    Apply(ApplyArgs),
    /// Keep everything so as the manifests say, until stopped
    Serve(ServeArgs),
    /// Print a link that opens the dashboard of `boma serve`
    Dashboard(DashboardArgs),
    /// Say who may use the dashboard, and what they may do
    #[command(subcommand)]
    People(people::PeopleCommand),
    /// Make tokens that let programs use the HTTP API
    #[command(subcommand)]
    Token(people::TokenCommand),
    /// List databases and applications
    Get(GetArgs),
    /// Show everything about a database or an application
    Describe(DescribeArgs),
    /// Show what happened
    Events(EventsArgs),
    /// Show who changed what
    Audit(AuditArgs),
    /// Show the environment of an application
    Env(EnvArgs),
    /// Run a command with the environment of an application
    Run(RunArgs),
    /// Run an application's `preDeploy`, then restart it
    Deploy(NameArgs),
    /// Exchange the passwords of an application, without a pause, or certificates, or the store's key
    Rotate(RotateArgs),
    /// Store secrets under names, such as what lets Boma into a repository
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Take and list base backups, and keep the keys that they are read with
    #[command(subcommand)]
    Backup(BackupCommand),
    /// Bring a database back as it was at a moment, as a new one or in place
    Restore(RestoreArgs),
    /// Make a new database like another is now
    Fork(ForkArgs),
    /// Open psql on a database, as one of its applications or as the superuser
    Psql(PsqlArgs),
    /// Show the log of a database or an application
    Logs(LogsArgs),
    /// Stop databases and applications until `start`; their data stays
    Stop(StopArgs),
    /// Start what `stop` has stopped
    Start(StopArgs),
    /// Destroy a retired database and all of its data
    Purge(PurgeArgs),
    /// Look for what could be wrong with this installation
    Doctor,
    /// Look at the PostgreSQL installations of this machine
    #[command(subcommand)]
    Postgres(PostgresCommand),
    /// Install Boma in a Kubernetes cluster
    #[command(subcommand)]
    Kubernetes(KubernetesCommand),
    /// Print the JSON Schema of manifests, for editors
    Schema,
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Serve one PostgreSQL server (started by Boma itself)
    #[command(hide = true)]
    Agent(AgentArgs),
    /// Make spare clusters ahead (started by Boma itself)
    #[command(hide = true)]
    AgentPrepare(PrepareArgs),
    /// Serve the PostgreSQL server of a pod (started by Kubernetes)
    #[command(hide = true)]
    AgentPod(PodArgs),
    /// Copy this program into a volume of a pod (started by Kubernetes)
    #[command(hide = true)]
    AgentInstall(InstallArgs),
}

/// Arguments of `init`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Directory to write to
    #[arg(default_value = ".")]
    pub(crate) directory: PathBuf,
    /// Organization of the project
    #[arg(long, default_value = "my-organization")]
    pub(crate) organization: String,
    /// Organizational unit of the project
    #[arg(long, default_value = "my-unit")]
    pub(crate) unit: String,
    /// Environment of the project
    #[arg(long, default_value = "development")]
    pub(crate) environment: String,
    /// Name of the project [default: the directory's name]
    #[arg(long)]
    pub(crate) project: Option<String>,
    /// Name of the database [default: the project's with `-db`]
    #[arg(long)]
    pub(crate) database: Option<String>,
    /// Name of the application [default: the project's with `-api`]
    #[arg(long)]
    pub(crate) application: Option<String>,
}

/// Arguments of `validate`.
#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// How to print problems
    #[arg(long, short, value_enum, default_value_t = ReportFormat::Text)]
    pub(crate) output: ReportFormat,
}

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// How to print the plan
    #[arg(long, short, value_enum, default_value_t = PlanFormat::Text)]
    pub(crate) output: PlanFormat,
    /// Show what merging into this commit or branch would do, from the manifests of the two
    #[arg(long, value_name = "COMMIT", conflicts_with = "change_source")]
    pub(crate) base: Option<String>,
    /// The commit or branch to merge [default: HEAD]
    #[arg(long, value_name = "COMMIT", requires = "base")]
    pub(crate) head: Option<String>,
    /// Directory in the repository that the manifests are in [default: SOURCE]
    #[arg(long, value_name = "DIRECTORY", requires = "base")]
    pub(crate) path: Option<PathBuf>,
    /// Compare the merge with what runs here, in place of what the base says
    #[arg(long, requires = "base")]
    pub(crate) running: bool,
    /// Directory with the manifests of another source that is served beside these; may be repeated
    #[arg(long, value_name = "DIRECTORY", requires = "base")]
    pub(crate) with: Vec<PathBuf>,
    /// Take these manifests in place of those of another directory that were applied before
    #[arg(long)]
    pub(crate) change_source: bool,
}

/// Arguments of `apply`.
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Print the plan and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Seconds to wait until everything is so
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub(crate) patience: u64,
    /// Take these manifests in place of those of another directory that were applied before
    #[arg(long)]
    pub(crate) change_source: bool,
}

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Directories with manifests, at any depth, and addresses of Git repositories, which may end in
    /// `#BRANCH:DIRECTORY`; on Kubernetes also `custom-resources`, those of the cluster
    #[arg(value_name = "SOURCE", default_value = ".")]
    pub(crate) sources: Vec<PathBuf>,
    /// Branch of repositories whose address names none
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(crate) branch: String,
    /// Directory in repositories that the manifests are in, where the address names none; all of it when left out
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) path: Option<PathBuf>,
    /// Secret that lets Boma into the repositories (`boma secret set`): a token, `user:password`, or a private SSH key; as
    /// `ADDRESS=SECRET`, for those whose address begins so; may be repeated [default: what git finds by itself]
    #[arg(long, value_name = "SECRET")]
    pub(crate) credential: Vec<String>,
    /// Sources that the dashboard and the API do not write: those whose name begins so; may be repeated
    #[arg(long, value_name = "SOURCE")]
    pub(crate) read_only: Vec<String>,
    /// Seconds between two looks at a repository, a tenth more or less
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) poll: u64,
    /// Where the dashboard is: an address of this machine, or `off` [default: 127.0.0.1:9480 and, where that is
    /// taken, another port; off on Kubernetes]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) dashboard: Option<DashboardAt>,
    /// Check custom resources for the API server on this address, before it stores them
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) admission: Option<std::net::SocketAddr>,
    /// Be told of pushes at `/hooks/git` on this address [default: 127.0.0.1:9470]
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, require_equals = true, default_missing_value = "127.0.0.1:9470", requires = "webhook_secret")]
    pub(crate) webhook: Option<std::net::SocketAddr>,
    /// File with the secret that pushes are signed with
    #[arg(long, value_name = "FILE", requires = "webhook")]
    pub(crate) webhook_secret: Option<PathBuf>,
    /// Take these manifests in place of those of another directory that were applied before
    #[arg(long)]
    pub(crate) change_source: bool,
}

/// What to do with secrets that have a name.
#[derive(Debug, Subcommand)]
pub(crate) enum SecretCommand {
    /// Store what standard input holds, in the place of what has the name
    Set(SecretArgs),
    /// List the names
    List,
    /// Forget a secret
    Remove(SecretArgs),
}

/// Which secret.
#[derive(Debug, Args)]
pub(crate) struct SecretArgs {
    /// Its name, for what Boma itself needs; or PROJECT/NAME, for applications of a project: its whole
    /// identity, and a name that manifests can say
    #[arg(value_name = "NAME")]
    pub(crate) name: boma_web::SecretName,
}

/// Arguments of `dashboard`.
#[derive(Debug, Args)]
pub(crate) struct DashboardArgs {
    /// Print a token for the HTTP API in place of a link; it is good for twelve hours
    #[arg(long)]
    pub(crate) token: bool,
}

/// Where the dashboard is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DashboardAt {
    /// Nowhere.
    Off,
    /// At this address.
    Address(std::net::SocketAddr),
}

impl std::str::FromStr for DashboardAt {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::Off),
            _ => text.parse().map(Self::Address).map_err(
                |_error| "write an address with its port, such as 127.0.0.1:9480, or `off`",
            ),
        }
    }
}

/// Arguments of `get`.
#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// `databases`, `applications`, a name, or `kind/name`; everything when left out
    pub(crate) what: Option<String>,
    /// How to print
    #[arg(long, short, value_enum, default_value_t = ListFormat::Table)]
    pub(crate) output: ListFormat,
}

/// Arguments of `describe`.
#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    /// Name of a database or an application; its kind may stand before it
    #[arg(required = true, num_args = 1..=2, value_name = "NAME")]
    pub(crate) name: Vec<String>,
}

/// Arguments of `events`.
#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Only those of a database or an application
    pub(crate) name: Option<String>,
    /// How many, newest last
    #[arg(long, short = 'n', default_value_t = 50)]
    pub(crate) limit: u32,
    /// Go on with new ones as they happen
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Print JSON, one event a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `audit`.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// How many, newest last
    #[arg(long, short = 'n', default_value_t = 50)]
    pub(crate) limit: u32,
    /// Print JSON, one entry a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `env`.
#[derive(Debug, Args)]
pub(crate) struct EnvArgs {
    /// Name of the application
    pub(crate) application: String,
    /// Print secrets too, not only where they are
    #[arg(long)]
    pub(crate) reveal: bool,
    /// How to print
    #[arg(long, short, value_enum, default_value_t = EnvFormat::Dotenv)]
    pub(crate) output: EnvFormat,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Name of the application
    pub(crate) application: String,
    /// Wait until `boma serve` has made its databases, in place of saying that it is not there yet
    #[arg(long)]
    pub(crate) wait: bool,
    /// Seconds to wait
    #[arg(long, value_name = "SECONDS", default_value_t = 300, requires = "wait")]
    pub(crate) patience: u64,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<std::ffi::OsString>,
}

/// One name.
#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// Name of the application
    pub(crate) name: String,
}

/// Arguments of `rotate`.
#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    /// Name of the application
    #[arg(required_unless_present_any = ["key", "tls", "authority"])]
    pub(crate) application: Option<String>,
    /// Only the password for this database
    #[arg(long, value_name = "DATABASE")]
    pub(crate) database: Option<String>,
    /// Exchange the key that seals all secrets, in place of a password
    #[arg(long, conflicts_with_all = ["application", "database", "wait", "tls", "authority"])]
    pub(crate) key: bool,
    /// Give every server another private key and certificate, in place of a password
    #[arg(long, conflicts_with_all = ["application", "database", "authority"])]
    pub(crate) tls: bool,
    /// Make another authority, which `--tls` then lets sign, or end trust in the former one
    #[arg(long, value_name = "new|forget", conflicts_with_all = ["application", "database", "wait"])]
    pub(crate) authority: Option<AuthorityChange>,
    /// Wait until it is over, and say how far it is
    #[arg(long)]
    pub(crate) wait: bool,
    /// Seconds to wait
    #[arg(long, value_name = "SECONDS", default_value_t = 300, requires = "wait")]
    pub(crate) patience: u64,
}

/// What becomes of the authority that signs certificates.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum AuthorityChange {
    /// Another one is trusted, too
    New,
    /// The former one is trusted no longer
    Forget,
}

/// Arguments of `psql`.
#[derive(Debug, Args)]
pub(crate) struct PsqlArgs {
    /// Name of the database
    pub(crate) database: String,
    /// Connect as this application; as the superuser when left out
    #[arg(long = "as", value_name = "APPLICATION")]
    pub(crate) application: Option<String>,
    /// Arguments for psql
    #[arg(last = true, value_name = "ARGUMENTS")]
    pub(crate) arguments: Vec<std::ffi::OsString>,
}

/// Arguments of `logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Name of a database or an application
    pub(crate) name: String,
    /// How many lines
    #[arg(long, short = 'n', default_value_t = 100)]
    pub(crate) lines: usize,
    /// Go on with new lines as they come
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// The log of a database's agent in place of its server's
    #[arg(long)]
    pub(crate) agent: bool,
}

/// Arguments of `stop` and `start`.
#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// Names of databases and applications; everything when left out
    pub(crate) names: Vec<String>,
}

/// Arguments of `purge`.
#[derive(Debug, Args)]
pub(crate) struct PurgeArgs {
    /// Name of the retired database
    pub(crate) database: String,
    /// Its name again, in place of being asked for it
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
}

/// What `postgres` does.
#[derive(Debug, Subcommand)]
pub(crate) enum PostgresCommand {
    /// List the PostgreSQL installations that Boma found
    List {
        /// How to print
        #[arg(long, short, value_enum, default_value_t = ListFormat::Table)]
        output: ListFormat,
    },
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Which shell
    pub(crate) shell: clap_complete::Shell,
}

/// What can be done with Boma in a cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum KubernetesCommand {
    /// Run `boma serve` in the cluster that KUBECONFIG names, with this installation's `config.toml`
    Install(ClusterInstallArgs),
    /// Print what `install` would apply
    Manifests(ClusterInstallArgs),
    /// Print the definitions of the custom resources, which `install` applies too
    Definitions,
    /// Write a Helm chart of this version, which makes what `install` applies
    Chart(ChartArgs),
    /// Take Boma out of the cluster; databases go on running, and their records and custom resources stay
    Uninstall,
}

/// Arguments of `kubernetes chart`.
#[derive(Debug, Args)]
pub(crate) struct ChartArgs {
    /// Directory to make; it may be there if it is empty
    pub(crate) directory: PathBuf,
}

/// Arguments of `kubernetes install` and `kubernetes manifests`.
#[derive(Debug, Args)]
pub(crate) struct ClusterInstallArgs {
    /// Addresses of Git repositories, which may end in `#BRANCH:DIRECTORY`; `custom-resources` for
    /// those of the cluster; `configmap/NAME` for a ConfigMap in Boma's namespace whose entries are
    /// manifests
    #[arg(value_name = "SOURCE", required = true)]
    pub(crate) sources: Vec<String>,
    /// Branch of repositories whose address names none
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(crate) branch: String,
    /// Directory in repositories that the manifests are in, where the address names none; all of it when left out
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) path: Option<String>,
    /// How many pods; one acts, the others wait to take over
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=5))]
    pub(crate) replicas: u32,
    /// With a dashboard: `boma --platform kubernetes dashboard` says how to reach it
    #[arg(long)]
    pub(crate) dashboard: bool,
}
