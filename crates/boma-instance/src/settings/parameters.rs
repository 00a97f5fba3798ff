//! What is wrong with a manifest's `parameters`, as far as it can be known without the server.

use std::collections::BTreeMap;

use boma_problem::{Class, IntoProblem, Problem};

use super::owned::owned;

/// A setting as `postgres --describe-config` describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerParameter {
    /// When a change takes effect.
    pub context: ParameterContext,
    /// `BOOLEAN`, `INTEGER`, `REAL`, `STRING` or `ENUM`.
    pub vartype: String,
    /// Smallest value of a number, in the setting's own unit.
    pub min: Option<f64>,
    /// Largest value of a number, in the setting's own unit.
    pub max: Option<f64>,
}

/// When a change of a setting takes effect (`pg_settings.context`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterContext {
    /// Never: compiled in or decided by initdb.
    Internal,
    /// At a restart.
    Postmaster,
    /// At a reload.
    Reload,
    /// At a reload, for sessions that start later.
    Session,
}

/// All settings that a server knows, by name.
pub type ServerParameters = BTreeMap<String, ServerParameter>;

/// A parameter that is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("parameter `{name}` {what}")]
pub struct ParameterProblem {
    /// As the manifest spells it.
    pub name: String,
    /// Why.
    pub what: WhatIsWrong,
}

/// Why a parameter is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WhatIsWrong {
    /// It is not a name of a setting at all.
    #[error("is not a name of a setting")]
    NotAName,
    /// Its value cannot be written to a configuration file.
    #[error("has a value with a control character")]
    ControlCharacter,
    /// The platform sets it.
    #[error("belongs to the platform: {reason}")]
    Owned {
        /// Why.
        reason: &'static str,
    },
    /// It stands twice, in two spellings.
    #[error("is there twice, also as `{other}`; PostgreSQL does not tell upper from lower case")]
    Twice {
        /// The other spelling.
        other: String,
    },
    /// The server does not know it.
    #[error("is not known to this version of PostgreSQL")]
    Unknown {
        /// The nearest name that it knows.
        nearest: Option<String>,
    },
    /// It cannot be changed in a running installation.
    #[error("is fixed when PostgreSQL is compiled or a cluster is made")]
    Fixed,
    /// The value is of another type.
    #[error("takes {expected}, not `{value}`")]
    Type {
        /// What it takes.
        expected: &'static str,
        /// What was given.
        value: String,
    },
    /// The value is too small or too large.
    #[error("takes a value from {min} to {max}, not `{value}`")]
    Range {
        /// Smallest.
        min: f64,
        /// Largest.
        max: f64,
        /// What was given.
        value: String,
    },
    /// The value would take away what the platform relies on.
    #[error("cannot be `{value}`: {reason}")]
    Value {
        /// What was given.
        value: String,
        /// Why not.
        reason: &'static str,
    },
}

impl IntoProblem for ParameterProblem {
    fn problem(&self) -> Problem {
        let name = &self.name;
        let (code, hint) = match &self.what {
            WhatIsWrong::NotAName => (
                "parameter-not-a-name",
                "Names are letters, digits and `_`; a setting of an extension has one dot."
                    .to_owned(),
            ),
            WhatIsWrong::ControlCharacter => (
                "parameter-value-refused",
                format!("Write the value of `{name}` on one line."),
            ),
            WhatIsWrong::Owned { .. } => ("parameter-owned", format!("Leave `{name}` out.")),
            WhatIsWrong::Twice { .. } => ("parameter-twice", "Keep one of them.".to_owned()),
            WhatIsWrong::Unknown {
                nearest: Some(nearest),
            } => ("parameter-unknown", format!("Did you mean `{nearest}`?")),
            WhatIsWrong::Unknown { nearest: None } => (
                "parameter-unknown",
                "The names are in the manual of PostgreSQL, chapter Server Configuration."
                    .to_owned(),
            ),
            WhatIsWrong::Fixed => ("parameter-fixed", format!("Leave `{name}` out.")),
            WhatIsWrong::Type { .. } | WhatIsWrong::Range { .. } | WhatIsWrong::Value { .. } => (
                "parameter-value-refused",
                format!("Change the value of `{name}`."),
            ),
        };
        Problem::from_error(Class::User, code, self).hint(hint)
    }
}

/// Looks for everything that is wrong with `parameters`. `known` is what the server of that version
/// describes itself; empty: it is not at hand, and only what holds for every server is looked at.
///
/// Words and units of values are the server's to judge (`check_settings` of an installation asks
/// it); here a number without a unit is compared with its limits.
pub fn validate_parameters(
    parameters: &BTreeMap<String, String>,
    known: &ServerParameters,
) -> Vec<ParameterProblem> {
    let mut before = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, value) in parameters {
        let lower = name.to_ascii_lowercase();
        let what = match before.insert(lower.clone(), name) {
            Some(other) => Some(WhatIsWrong::Twice {
                other: other.clone(),
            }),
            None => what_is_wrong(&lower, value, known),
        };
        problems.extend(what.map(|what| ParameterProblem {
            name: name.clone(),
            what,
        }));
    }
    problems
}

/// The setting of a name in lower case. All but three are spelt so; only for those and for unknown
/// ones all are looked at.
fn find<'k>(known: &'k ServerParameters, name: &str) -> Option<&'k ServerParameter> {
    let spelt_otherwise = || {
        known
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
    };
    known
        .get(name)
        .or_else(|| spelt_otherwise().map(|(_, parameter)| parameter))
}

fn what_is_wrong(name: &str, value: &str, known: &ServerParameters) -> Option<WhatIsWrong> {
    let Some(parsed) = Name::parse(name) else {
        return Some(WhatIsWrong::NotAName);
    };
    if !is_safe_value(value) {
        return Some(WhatIsWrong::ControlCharacter);
    }
    if let Some(reason) = owned(name) {
        return Some(WhatIsWrong::Owned { reason });
    }
    if let Some(reason) = refused_value(name, value) {
        return Some(WhatIsWrong::Value {
            value: value.to_owned(),
            reason,
        });
    }
    match (parsed, find(known, name)) {
        (Name::OfExtension, _) => None,
        (Name::Core, _) if known.is_empty() => None,
        (Name::Core, None) => Some(WhatIsWrong::Unknown {
            nearest: nearest(name, known),
        }),
        (Name::Core, Some(parameter)) => wrong_value(parameter, value),
    }
}

/// Values that take away what the platform relies on, of settings that are free otherwise.
fn refused_value(name: &str, value: &str) -> Option<&'static str> {
    match name {
        "wal_level" if value.eq_ignore_ascii_case("minimal") => {
            Some("backups and replicas need `replica` or `logical`")
        }
        "shared_preload_libraries" | "session_preload_libraries" if value.contains('/') => {
            Some("libraries are named without a path")
        }
        _ => None,
    }
}

fn nearest(name: &str, known: &ServerParameters) -> Option<String> {
    known
        .keys()
        .map(|spelt| {
            let distance = strsim::damerau_levenshtein(name, &spelt.to_ascii_lowercase());
            (distance, spelt)
        })
        .filter(|(distance, _)| *distance <= name.len() / 3)
        .min()
        .map(|(_, spelt)| spelt.clone())
}

fn wrong_value(parameter: &ServerParameter, value: &str) -> Option<WhatIsWrong> {
    if parameter.context == ParameterContext::Internal {
        return Some(WhatIsWrong::Fixed);
    }
    let expected = match parameter.vartype.as_str() {
        "BOOLEAN" if !is_boolean(value) => "`on` or `off`",
        "INTEGER" | "REAL" => return wrong_number(parameter, value),
        _ => return None,
    };
    Some(WhatIsWrong::Type {
        expected,
        value: value.to_owned(),
    })
}

/// PostgreSQL takes any unambiguous beginning of these words (`parse_bool`).
fn is_boolean(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    let begins = |word: &str, least: usize| value.len() >= least && word.starts_with(&value);
    begins("true", 1)
        || begins("false", 1)
        || begins("yes", 1)
        || begins("no", 1)
        || begins("on", 2)
        || begins("off", 2)
        || value == "1"
        || value == "0"
}

fn wrong_number(parameter: &ServerParameter, value: &str) -> Option<WhatIsWrong> {
    let trimmed = value.trim();
    // Hexadecimal and octal numbers are PostgreSQL's to judge.
    if trimmed.starts_with('0') && trimmed.len() > 1 && !trimmed.starts_with("0.") {
        return None;
    }
    let digits = trimmed
        .find(|letter: char| !letter.is_ascii_digit() && !"+-.eE".contains(letter))
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let Ok(number) = number.parse::<f64>() else {
        return Some(WhatIsWrong::Type {
            expected: "a number",
            value: value.to_owned(),
        });
    };
    let (Some(min), Some(max)) = (parameter.min, parameter.max) else {
        return None;
    };
    let out = !(min..=max).contains(&number);
    (unit.trim().is_empty() && out).then(|| WhatIsWrong::Range {
        min,
        max,
        value: value.to_owned(),
    })
}

/// What kind of name it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// `work_mem`.
    Core,
    /// `pg_stat_statements.track`.
    OfExtension,
}

impl Name {
    /// Reads a name as `guc-file.l` does, in ASCII. None: it is not a name.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_word = |word: &str| {
            word.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
                && word
                    .chars()
                    .all(|letter| letter.is_ascii_alphanumeric() || "_$".contains(letter))
        };
        match text.split_once('.') {
            None if is_word(text) => Some(Self::Core),
            Some((extension, name)) if is_word(extension) && is_word(name) => {
                Some(Self::OfExtension)
            }
            _ => None,
        }
    }
}

/// Whether a configuration file can hold the value.
pub(super) fn is_safe_value(value: &str) -> bool {
    !value.contains(|letter: char| letter.is_control() && letter != '\t')
}

#[cfg(test)]
mod tests;
