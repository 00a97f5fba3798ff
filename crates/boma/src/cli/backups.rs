//! What can be typed about backups and restores.

use boma_manifest::LogPosition;
use clap::{Args, Subcommand};

use super::{ListFormat, OneFormat};

/// What is done with base backups.
#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Take a base backup now, and wait until it is whole
    Create(BackupArgs),
    /// List the base backups of a database, and what can be restored
    List(BackupListArgs),
    /// Show everything about one base backup
    Describe(OneBackupArgs),
    /// Delete one base backup; refused when others need it, and for the last whole one
    Delete(DeleteBackupArgs),
    /// Read everything in the repository, and say which backups are whole
    Verify(BackupArgs),
    /// Prove the newest backup: restore it beside the database, check it, and let it go
    Drill(BackupArgs),
    /// List whose backups lie in a repository, also of databases that are gone
    Repository(RepositoryArgs),
    /// Delete all backups of a database that is gone
    Forget(ForgetBackupsArgs),
    /// Print the key of a repository, or take one in; without it nothing in it can be read
    Key(KeyArgs),
}

/// Arguments of most commands about backups.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// Name of the database
    pub(crate) database: String,
}

/// Arguments of `backup list`.
#[derive(Debug, Args)]
pub(crate) struct BackupListArgs {
    /// Name of the database
    pub(crate) database: String,
    /// How to print
    #[arg(long, short, value_enum, default_value_t = ListFormat::Table)]
    pub(crate) output: ListFormat,
}

/// Arguments of `backup describe`.
#[derive(Debug, Args)]
pub(crate) struct OneBackupArgs {
    /// Name of the database
    pub(crate) database: String,
    /// Name of the base backup; `backup list` shows them
    pub(crate) backup: String,
    /// How to print
    #[arg(long, short, value_enum, default_value_t = OneFormat::Text)]
    pub(crate) output: OneFormat,
}

/// Arguments of `backup delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteBackupArgs {
    /// Name of the database
    pub(crate) database: String,
    /// Name of the base backup; `backup list` shows them
    pub(crate) backup: String,
    /// Do not ask for the backup's name
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// Arguments of `backup repository`.
#[derive(Debug, Args)]
pub(crate) struct RepositoryArgs {
    /// Name of the repository
    #[arg(default_value = "default")]
    pub(crate) repository: String,
    /// How to print
    #[arg(long, short, value_enum, default_value_t = ListFormat::Table)]
    pub(crate) output: ListFormat,
}

/// Arguments of `backup forget`.
#[derive(Debug, Args)]
pub(crate) struct ForgetBackupsArgs {
    /// Id of the instance; `backup repository` shows it
    pub(crate) instance: uuid::Uuid,
    /// Name of the repository
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) repository: String,
    /// The database's name, in place of being asked for it
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
}

/// Arguments of `backup key`.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// Name of the repository
    #[arg(default_value = "default")]
    pub(crate) repository: String,
    /// Take the key from standard input, for a repository that another installation made
    #[arg(long)]
    pub(crate) import: bool,
    /// Make another key for what is written from now on; what is there is read with the former one
    #[arg(long, conflicts_with = "import")]
    pub(crate) renew: bool,
}

/// Arguments of `restore`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(crate) struct RestoreArgs {
    /// Name of the database whose backups are used
    pub(crate) database: String,
    /// Make a new database of this name; the other is not touched
    #[arg(long = "as", value_name = "NEW", group = "what")]
    pub(crate) new: Option<String>,
    /// Replace the database itself, once what was restored was seen to be well; what it was is kept
    #[arg(long, group = "what")]
    pub(crate) in_place: bool,
    /// Give a restore in place up, or bring back what it has replaced
    #[arg(long, group = "what", conflicts_with_all = ["moment", "timeline"])]
    pub(crate) undo: bool,
    /// Destroy what restores in place have replaced
    #[arg(long, group = "what", conflicts_with_all = ["moment", "timeline"])]
    pub(crate) forget_old: bool,
    /// The database's name again, in place of being asked for it before something is destroyed
    #[arg(long, value_name = "NAME", requires = "forget_old")]
    pub(crate) confirm: Option<String>,
    /// The id under which its backups are, where the database is gone; `backup repository` shows it
    #[arg(long, value_name = "ID", requires = "new")]
    pub(crate) instance: Option<uuid::Uuid>,
    /// The repository that they are in
    #[arg(
        long,
        value_name = "NAME",
        default_value = "default",
        requires = "instance"
    )]
    pub(crate) repository: String,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

/// Arguments of `fork`.
#[derive(Debug, Args)]
pub(crate) struct ForkArgs {
    /// Name of the database that is forked; it is not touched
    pub(crate) database: String,
    /// Name of the new database
    #[arg(long = "as", value_name = "NEW")]
    pub(crate) new: String,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

/// A moment to restore to; the newest when all are left out.
#[derive(Debug, Args)]
pub(crate) struct TargetArgs {
    /// As of this time, with its zone: `2026-11-21T14:32:06Z`
    #[arg(long, value_name = "TIME", group = "moment")]
    pub(crate) to_time: Option<String>,
    /// Up to this position in the write-ahead log: `0/1A2B3C4D`
    #[arg(long, value_name = "POSITION", group = "moment")]
    pub(crate) to_lsn: Option<LogPosition>,
    /// Up to this restore point, which `pg_create_restore_point` has named
    #[arg(long, value_name = "POINT", group = "moment")]
    pub(crate) to_name: Option<String>,
    /// As this base backup ended; `backup list` names them
    #[arg(long, value_name = "BACKUP", group = "moment")]
    pub(crate) to_backup: Option<String>,
    /// The line of history that the moment is on; the newest when left out
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) timeline: Option<u32>,
}
