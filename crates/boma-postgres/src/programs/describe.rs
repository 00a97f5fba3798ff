//! What an installation can do: its settings and its extensions.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use boma_problem::{Class, IntoProblem, Problem};
use serde::Serialize;

use super::Installation;

/// What it takes for a changed setting to be in force: `pg_settings.context`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ParameterContext {
    /// Cannot be changed.
    Internal,
    /// A restart.
    Postmaster,
    /// A reload.
    Sighup,
    /// A new connection; only superusers may set it for one.
    SuperuserBackend,
    /// A new connection.
    Backend,
    /// A reload; only superusers may set it for a session.
    Superuser,
    /// A reload; anyone may set it for a session.
    User,
}

impl ParameterContext {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "internal" => Self::Internal,
            "postmaster" => Self::Postmaster,
            "sighup" => Self::Sighup,
            "superuser-backend" => Self::SuperuserBackend,
            "backend" => Self::Backend,
            "superuser" => Self::Superuser,
            "user" => Self::User,
            _ => return None,
        })
    }
}

/// What a setting takes.
///
/// Limits are in the unit of the setting, which `postgres` does not tell here; whether a value
/// with its unit is right is what [`check_settings`] asks the server itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum ParameterKind {
    /// `on` or `off`.
    Boolean,
    /// A whole number, often with a unit.
    Integer {
        /// The smallest.
        min: i64,
        /// The largest.
        max: i64,
    },
    /// A number.
    Real {
        /// The smallest.
        min: f64,
        /// The largest.
        max: f64,
    },
    /// Text.
    Text,
    /// One of a few words.
    Enum,
}

/// One setting of a server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// What a change of it takes.
    pub context: ParameterContext,
    /// The heading in PostgreSQL's manual: `Resource Usage / Memory`.
    pub group: String,
    /// What it takes.
    #[serde(flatten)]
    pub kind: ParameterKind,
    /// One sentence.
    pub description: String,
}

/// An extension that can be created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Extension {
    /// Its name.
    pub name: String,
    /// The version that `CREATE EXTENSION` makes.
    pub default_version: Option<String>,
    /// One sentence.
    pub comment: Option<String>,
    /// Extensions that it needs.
    pub requires: Vec<String>,
}

/// A value that the server refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("PostgreSQL refuses `{name} = {value}`: {reason}")]
pub struct InvalidSetting {
    /// The setting.
    pub name: String,
    /// Its value.
    pub value: String,
    /// What the server says.
    pub reason: String,
}

impl IntoProblem for InvalidSetting {
    fn problem(&self) -> Problem {
        Problem::from_error(Class::User, "setting-refused", self).hint(format!(
            "Change `{}` under `parameters`, or leave it out.",
            self.name
        ))
    }
}

/// An installation that does not tell what it can do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DescribeError {
    /// The program could not be run.
    #[error("run `{program}`")]
    Run {
        /// Which.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program failed.
    #[error("`{program} --describe-config` fails: {output}")]
    Failed {
        /// Which.
        program: PathBuf,
        /// What it said.
        output: String,
    },
    /// The directory of extensions cannot be read.
    #[error("read `{path}`")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl IntoProblem for DescribeError {
    fn problem(&self) -> Problem {
        Problem::from_error(Class::Config, "postgres-installation-broken", self).hint(
            "Install this PostgreSQL again, or see `boma postgres list` for others on this host.",
        )
    }
}

impl Installation {
    /// Its settings, sorted by name: all that may stand in a file and that the manual lists.
    ///
    /// Defaults are left out: the program prints wrong ones here.
    pub fn parameters(&self) -> Result<Vec<Parameter>, DescribeError> {
        let program = self.program("postgres");
        let output = Command::new(&program)
            .arg("--describe-config")
            .stdin(Stdio::null())
            .output()
            .map_err(|source| DescribeError::Run {
                program: program.clone(),
                source,
            })?;
        if !output.status.success() {
            let output = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(DescribeError::Failed { program, output });
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let mut parameters: Vec<_> = text.lines().filter_map(parse_parameter).collect();
        parameters.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(parameters)
    }

    /// The extensions that can be created, sorted by name.
    pub fn extensions(&self) -> Result<Vec<Extension>, DescribeError> {
        let path = self.share.join("extension");
        let read = |source| DescribeError::Read {
            path: path.clone(),
            source,
        };
        let mut extensions = Vec::new();
        for entry in std::fs::read_dir(&path).map_err(read)? {
            let file = entry.map_err(read)?.path();
            if let Some(name) = control_file_name(&file) {
                let text =
                    std::fs::read_to_string(&file).map_err(|source| DescribeError::Read {
                        path: file.clone(),
                        source,
                    })?;
                extensions.push(parse_extension(name, &text));
            }
        }
        extensions.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(extensions)
    }
}

/// Asks the server program itself whether it takes these settings: names, units, limits and
/// words, without a cluster. `programs` is the directory of an installation's programs. Empty: all
/// is well.
///
/// Settings that an extension defines (their name has a dot) are taken as they are.
pub fn check_settings(
    programs: &Path,
    settings: &BTreeMap<String, String>,
) -> Result<Vec<InvalidSetting>, DescribeError> {
    let program = programs.join("postgres");
    // One process answers the usual case, that all is well; a refusal stops at the first.
    let all: Vec<_> = settings.iter().collect();
    if all.is_empty() || try_settings(&program, &all)?.is_none() {
        return Ok(Vec::new());
    }
    let mut refused = Vec::new();
    for one in all {
        if let Some(reason) = try_settings(&program, &[one])? {
            let (name, value) = (one.0.clone(), one.1.clone());
            refused.push(InvalidSetting {
                name,
                value,
                reason,
            });
        }
    }
    Ok(refused)
}

/// What the server says against these settings, if anything.
fn try_settings(
    program: &Path,
    settings: &[(&String, &String)],
) -> Result<Option<String>, DescribeError> {
    let mut command = Command::new(program);
    command.env("LC_ALL", "C").stdin(Stdio::null());
    // Printing a setting ends the program before it looks for a cluster, but only after it has
    // taken every other setting; root may do it too.
    command.args(["-C", "port", "-c", "data_directory=/nonexistent"]);
    for file in ["config_file", "hba_file", "ident_file"] {
        command.arg("-c").arg(format!("{file}=/dev/null"));
    }
    for (name, value) in settings {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    let output = command.output().map_err(|source| DescribeError::Run {
        program: program.to_owned(),
        source,
    })?;
    if output.status.success() {
        return Ok(None);
    }
    Ok(Some(refusal(&String::from_utf8_lossy(&output.stderr))))
}

/// The server's message and hint, without the severity and the time before it.
fn refusal(text: &str) -> String {
    let parts: Vec<_> = text
        .lines()
        .filter_map(|line| {
            ["FATAL:  ", "ERROR:  ", "HINT:  "]
                .iter()
                .find_map(|severity| line.split_once(severity))
        })
        .map(|(_, message)| message.trim_end_matches('.'))
        .collect();
    if parts.is_empty() {
        text.trim().to_owned()
    } else {
        parts.join("; ")
    }
}

/// Reads a line of `--describe-config`: name, context, group, type, default, min, max, texts.
fn parse_parameter(line: &str) -> Option<Parameter> {
    let mut fields = line.split('\t');
    let name = fields.next()?.to_owned();
    let context = ParameterContext::parse(fields.next()?)?;
    let group = fields.next()?.to_owned();
    let kind = fields.next()?;
    let (_default, min, max) = (fields.next()?, fields.next()?, fields.next()?);
    let kind = match kind {
        "BOOLEAN" => ParameterKind::Boolean,
        "INTEGER" => ParameterKind::Integer {
            min: min.parse().ok()?,
            max: max.parse().ok()?,
        },
        "REAL" => ParameterKind::Real {
            min: min.parse().ok()?,
            max: max.parse().ok()?,
        },
        "STRING" => ParameterKind::Text,
        "ENUM" => ParameterKind::Enum,
        _ => return None,
    };
    let description = fields.next().unwrap_or_default().to_owned();
    Some(Parameter {
        name,
        context,
        group,
        kind,
        description,
    })
}

/// `hstore` of `…/hstore.control`; files of single versions (`x--1.2.control`) are not extensions.
fn control_file_name(file: &Path) -> Option<&str> {
    let name = file.file_name()?.to_str()?.strip_suffix(".control")?;
    (!name.contains("--")).then_some(name)
}

fn parse_extension(name: &str, text: &str) -> Extension {
    let value = |key: &str| {
        text.lines().find_map(|line| {
            let (found, value) = line.split_once('=')?;
            let value = value.trim().trim_matches('\'').replace("''", "'");
            (found.trim() == key).then_some(value)
        })
    };
    Extension {
        name: name.to_owned(),
        default_version: value("default_version"),
        comment: value("comment"),
        requires: value("requires")
            .map(|list| list.split(',').map(|one| one.trim().to_owned()).collect())
            .unwrap_or_default(),
    }
}
