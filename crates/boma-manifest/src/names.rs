//! Names, each a type of its own with the limits of what it names.

use boma_problem::{IntoProblem, Problem};

use crate::problems::{Code, error, quote};

/// Longest RFC 1123 label (<https://www.rfc-editor.org/rfc/rfc1123#section-2.1>), and longest
/// name of most Kubernetes objects.
const LABEL: usize = 63;

/// Longest name of a manifest: leaves Kubernetes objects that are named after it 23 characters.
const RESOURCE: usize = 40;

/// Longest RFC 1123 subdomain, as Kubernetes limits object names.
const SUBDOMAIN: usize = 253;

/// What names of one type may look like.
#[derive(Debug)]
pub(crate) struct Rule {
    /// What is named, with its article: "the name of a project".
    pub(crate) what: &'static str,
    /// The rule in words.
    pub(crate) words: &'static str,
    /// The rule as a regular expression, for the schema.
    pub(crate) pattern: &'static str,
    /// Longest name, in characters.
    pub(crate) longest: usize,
    /// Whether the name may begin with a character.
    first: fn(char) -> bool,
    /// Whether a character may stand in the name.
    inner: fn(char) -> bool,
    /// Whether the name may end with a character.
    last: fn(char) -> bool,
}

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// Nothing is there.
    #[error("is empty")]
    Empty,
    /// More characters than allowed.
    #[error("has {length} characters, {longest} are allowed")]
    TooLong {
        /// How many it has.
        length: usize,
        /// How many it may have.
        longest: usize,
    },
    /// A character that may not stand there.
    #[error("has {character:?} at character {position}")]
    Character {
        /// The character.
        character: char,
        /// Where it stands, counted from 1.
        position: usize,
    },
}

/// "the name of a project `Login_Svc` has 'L' at character 1".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {} {fault}", quote(.text))]
pub struct NameError {
    what: &'static str,
    words: &'static str,
    text: String,
    /// What is wrong with it.
    pub fault: NameFault,
    suggestion: Option<String>,
}

impl IntoProblem for NameError {
    fn problem(&self) -> Problem {
        let problem = error(Code::InvalidName, self.to_string());
        match &self.suggestion {
            Some(name) => problem.hint(format!("Write `{name}`: {}.", self.words)),
            None => problem.hint(format!("Use {}.", self.words)),
        }
    }
}

impl Rule {
    fn check(&self, text: &str) -> Result<(), NameError> {
        let fault = self.fault(text);
        match fault {
            None => Ok(()),
            Some(fault) => Err(NameError {
                what: self.what,
                words: self.words,
                text: text.to_owned(),
                fault,
                suggestion: self.suggestion(text),
            }),
        }
    }

    fn fault(&self, text: &str) -> Option<NameFault> {
        let length = text.chars().count();
        if length == 0 {
            return Some(NameFault::Empty);
        }
        if length > self.longest {
            let longest = self.longest;
            return Some(NameFault::TooLong { length, longest });
        }
        text.chars()
            .enumerate()
            .find(|(index, character)| {
                !(self.inner)(*character)
                    || *index == 0 && !(self.first)(*character)
                    || index + 1 == length && !(self.last)(*character)
            })
            .map(|(index, character)| NameFault::Character {
                character,
                position: index + 1,
            })
    }

    /// What the person most likely meant: lower case, hyphens for what is not allowed.
    fn suggestion(&self, text: &str) -> Option<String> {
        let fits = |text: &String| self.fault(text).is_none();
        let filler = if (self.inner)('-') { '-' } else { '_' };
        let replaced: String = text
            .chars()
            .take(self.longest)
            .map(|character| match character {
                allowed if (self.inner)(allowed) => allowed,
                other if (self.inner)(other.to_ascii_lowercase()) => other.to_ascii_lowercase(),
                _ => filler,
            })
            .collect();
        let trimmed = replaced
            .trim_start_matches(|character| !(self.first)(character))
            .trim_end_matches(|character| !(self.last)(character));
        Some(trimmed.to_owned()).filter(fits)
    }
}

const LABEL_RULE: &str =
    "lower-case letters, digits and hyphens, the first and last a letter or digit";
const LABEL_PATTERN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
const SUBDOMAIN_RULE: &str =
    "lower-case letters, digits, hyphens and dots, the first and last a letter or digit";
const SUBDOMAIN_PATTERN: &str = "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$";

fn label_edge(character: char) -> bool {
    character.is_ascii_lowercase() || character.is_ascii_digit()
}

fn label_inner(character: char) -> bool {
    label_edge(character) || character == '-'
}

fn subdomain_inner(character: char) -> bool {
    label_inner(character) || character == '.'
}

fn variable_first(character: char) -> bool {
    character.is_ascii_alphabetic() || character == '_'
}

fn variable_inner(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

fn extension_inner(character: char) -> bool {
    label_inner(character) || character == '_'
}

fn parameter_inner(character: char) -> bool {
    variable_inner(character) || character == '.'
}

macro_rules! name_types {
    ($($(#[$doc:meta])* $name:ident: $rule:expr;)*) => {$(
        $(#[$doc])*
        ///
        /// Cheap to clone.
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            pub(crate) const RULE: Rule = $rule;

            /// Checks a text against the rules of this name.
            pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
                Self::RULE.check(text.as_ref())?;
                Ok(Self(text.as_ref().into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::new(text).map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "pattern": Self::RULE.pattern,
                    "maxLength": Self::RULE.longest,
                })
            }
        }
    )*};
}

name_types! {
    /// Name of a database or an application, unique in its project: an RFC 1123 label of at most
    /// 40 characters.
    ///
    /// ```compile_fail
    /// let name: boma_manifest::ResourceName = "accounts-db".into(); // only `new` makes one
    /// ```
    ResourceName: Rule {
        what: "name",
        words: LABEL_RULE,
        pattern: LABEL_PATTERN,
        longest: RESOURCE,
        first: label_edge,
        inner: label_inner,
        last: label_edge,
    };
    /// Name of an organization: an RFC 1123 label.
    OrganizationName: Rule {
        what: "organization",
        words: LABEL_RULE,
        pattern: LABEL_PATTERN,
        longest: LABEL,
        first: label_edge,
        inner: label_inner,
        last: label_edge,
    };
    /// Name of a unit of an organization: an RFC 1123 label.
    OrganizationalUnitName: Rule {
        what: "organizational unit",
        words: LABEL_RULE,
        pattern: LABEL_PATTERN,
        longest: LABEL,
        first: label_edge,
        inner: label_inner,
        last: label_edge,
    };
    /// Name of an environment: an RFC 1123 label.
    EnvironmentName: Rule {
        what: "environment",
        words: LABEL_RULE,
        pattern: LABEL_PATTERN,
        longest: LABEL,
        first: label_edge,
        inner: label_inner,
        last: label_edge,
    };
    /// Name of a project: an RFC 1123 label.
    ProjectName: Rule {
        what: "project",
        words: LABEL_RULE,
        pattern: LABEL_PATTERN,
        longest: LABEL,
        first: label_edge,
        inner: label_inner,
        last: label_edge,
    };
    /// Name of a plan in the platform's table: an RFC 1123 label.
    PlanName: Rule {
        what: "plan",
        words: LABEL_RULE,
        pattern: LABEL_PATTERN,
        longest: LABEL,
        first: label_edge,
        inner: label_inner,
        last: label_edge,
    };
    /// Name of a repository of backups: an RFC 1123 label.
    RepositoryName: Rule {
        what: "repository",
        words: LABEL_RULE,
        pattern: LABEL_PATTERN,
        longest: LABEL,
        first: label_edge,
        inner: label_inner,
        last: label_edge,
    };
    /// Name of a secret: an RFC 1123 subdomain.
    SecretName: Rule {
        what: "secret",
        words: SUBDOMAIN_RULE,
        pattern: SUBDOMAIN_PATTERN,
        longest: SUBDOMAIN,
        first: label_edge,
        inner: subdomain_inner,
        last: label_edge,
    };
    /// Name of a Kubernetes workload: an RFC 1123 subdomain.
    WorkloadName: Rule {
        what: "workload",
        words: SUBDOMAIN_RULE,
        pattern: SUBDOMAIN_PATTERN,
        longest: SUBDOMAIN,
        first: label_edge,
        inner: subdomain_inner,
        last: label_edge,
    };
    /// Name of a Kubernetes StorageClass: an RFC 1123 subdomain.
    StorageClassName: Rule {
        what: "storage class",
        words: SUBDOMAIN_RULE,
        pattern: SUBDOMAIN_PATTERN,
        longest: SUBDOMAIN,
        first: label_edge,
        inner: subdomain_inner,
        last: label_edge,
    };
    /// Name of a PostgreSQL extension; at most 63 bytes, as any name in PostgreSQL.
    ExtensionName: Rule {
        what: "extension",
        words: "lower-case letters, digits, hyphens and underscores, the first and last a letter or digit",
        pattern: "^[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
        longest: LABEL,
        first: label_edge,
        inner: extension_inner,
        last: label_edge,
    };
    /// Name of an environment variable, as POSIX programs can set it.
    VariableName: Rule {
        what: "environment variable",
        words: "letters, digits and underscores, the first not a digit",
        pattern: "^[A-Za-z_][A-Za-z0-9_]*$",
        longest: SUBDOMAIN,
        first: variable_first,
        inner: variable_inner,
        last: variable_inner,
    };
    /// Name of a PostgreSQL setting, with a dot where an extension brought it.
    ParameterName: Rule {
        what: "parameter",
        words: "letters, digits, underscores and dots, the first not a digit",
        pattern: "^[A-Za-z_]([A-Za-z0-9_.]*[A-Za-z0-9_])?$",
        longest: 2 * LABEL + 1,
        first: variable_first,
        inner: parameter_inner,
        last: variable_inner,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_to_its_rules() {
        for good in ["a", "accounts-db", "0", "1st", &"x".repeat(40)] {
            assert_eq!(ResourceName::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "A",
            "a_b",
            "-a",
            "a-",
            "a.b",
            "a b",
            "é",
            "../x",
            "a'; DROP",
            &"x".repeat(41),
        ] {
            assert!(ResourceName::new(bad).is_err(), "{bad}");
        }
        assert!(ProjectName::new("x".repeat(63)).is_ok());
        assert!(VariableName::new("DATABASE_URL_2").is_ok());
        assert!(VariableName::new("2FAST").is_err());
        assert!(ParameterName::new("pg_stat_statements.max").is_ok());
        assert!(ExtensionName::new("uuid-ossp").is_ok());
    }

    #[test]
    fn the_error_says_what_to_write() {
        let problem = ResourceName::new("Accounts_DB").unwrap_err().problem();
        assert_eq!(problem.code, "invalid-name");
        assert_eq!(
            problem.to_string(),
            "name `Accounts_DB` has 'A' at character 1"
        );
        assert!(problem.hints[0].starts_with("Write `accounts-db`: lower-case letters"));

        let problem = ResourceName::new("").unwrap_err().problem();
        assert_eq!(problem.to_string(), "name `` is empty");
        assert!(problem.hints[0].starts_with("Use lower-case letters"));

        let problem = ResourceName::new("x".repeat(41)).unwrap_err().problem();
        assert!(
            problem
                .to_string()
                .ends_with("has 41 characters, 40 are allowed")
        );
    }
}
