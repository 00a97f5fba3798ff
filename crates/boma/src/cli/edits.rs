//! What can be typed to change manifests.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// What commands that change manifests have in common.
#[derive(Debug, Args)]
pub(crate) struct EditArgs {
    /// Directory with manifests, at any depth, or the address of a Git repository that the change is
    /// committed to
    #[arg(long, value_name = "SOURCE", default_value = ".")]
    pub(crate) source: PathBuf,
    /// Branch of the repository
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(crate) branch: String,
    /// Directory in the repository that the manifests are in; all of it when left out
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) path: Option<PathBuf>,
    /// Secret that lets Boma into the repository (`boma secret set`) [default: what git finds by itself]
    #[arg(long, value_name = "SECRET")]
    pub(crate) credential: Option<String>,
    /// Commit to a new branch of this name, for review, in place of `--branch` itself
    #[arg(long, value_name = "BRANCH")]
    pub(crate) review: Option<String>,
    /// What the commit says [default: what is changed]
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// Only show what would be written
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// What can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NewKind {
    /// A PostgreSQL database.
    Database,
    /// A program that uses databases.
    Application,
}

/// Arguments of `create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// What
    #[arg(value_enum)]
    pub(crate) kind: NewKind,
    /// Its name
    pub(crate) name: String,
    /// What its manifest says: `plan=starter`, `storage.size=20Gi`
    #[arg(value_name = "FIELD=VALUE")]
    pub(crate) fields: Vec<FieldChange>,
    /// Its project: `organization/organizational-unit/environment/project`, or the last of these
    /// [default: the only one that manifests are of]
    #[arg(long, value_name = "PROJECT")]
    pub(crate) project: Option<String>,
    #[command(flatten)]
    pub(crate) edit: EditArgs,
}

/// Arguments of `set`.
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// The database or application: `name`, `database/name` or `application/name`
    pub(crate) name: String,
    /// What to write: `cpuCount=4`, `parameters.work_mem=64MB`; `FIELD-` takes a field out. Fields
    /// of `spec` need no `spec.` before them
    #[arg(required = true, value_name = "FIELD=VALUE")]
    pub(crate) fields: Vec<FieldChange>,
    #[command(flatten)]
    pub(crate) edit: EditArgs,
}

/// A field, and what to write there; none: it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldChange {
    pub(crate) field: String,
    pub(crate) value: Option<String>,
}

impl std::str::FromStr for FieldChange {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (field, value) = match text.split_once('=') {
            Some((field, value)) => (field, Some(value.to_owned())),
            None => (
                text.strip_suffix('-')
                    .ok_or("write `FIELD=VALUE`, or `FIELD-` to take it out")?,
                None,
            ),
        };
        if field.split('.').any(str::is_empty) {
            return Err("the name of a field is missing");
        }
        Ok(Self {
            field: field.to_owned(),
            value,
        })
    }
}

/// Arguments of `attach`.
#[derive(Debug, Args)]
pub(crate) struct AttachArgs {
    /// Name of the application
    pub(crate) application: String,
    /// The database: `name`, or `project/name` for another project's
    pub(crate) database: String,
    /// Environment variable that gets the connection string
    #[arg(long, value_name = "NAME", default_value = "DATABASE_URL")]
    pub(crate) env: String,
    /// To read only
    #[arg(long)]
    pub(crate) read_only: bool,
    #[command(flatten)]
    pub(crate) edit: EditArgs,
}

/// Arguments of `detach`.
#[derive(Debug, Args)]
pub(crate) struct DetachArgs {
    /// Name of the application
    pub(crate) application: String,
    /// The database, as the manifest names it
    pub(crate) database: String,
    #[command(flatten)]
    pub(crate) edit: EditArgs,
}
