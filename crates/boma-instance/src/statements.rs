//! What a database spends its time with, by `pg_stat_statements`.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The extension that counts.
pub const EXTENSION: &str = "pg_stat_statements";

/// What is known of the statements of a database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    tag = "known",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Statements {
    /// The database has not the extension, or its server was started without it.
    NotCounted,
    /// They are counted.
    Counted {
        /// Since when; none: the server does not say.
        since: Option<Timestamp>,
        /// How long all statements of the database took together, in milliseconds.
        all_ms: f64,
        /// Those that took longest together, the first one most.
        top: Vec<Statement>,
    },
}

/// Statements that differ in their constants only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    /// Their text, with `$1` in the place of constants.
    pub text: String,
    /// Who has sent them.
    pub role: String,
    /// How often.
    pub calls: u64,
    /// How many rows they gave or changed.
    pub rows: u64,
    /// How long they took together, in milliseconds.
    pub total_ms: f64,
    /// How long one took on average, in milliseconds.
    pub mean_ms: f64,
}
