//! `boma schema`.

use crate::terminal::{Exit, Result, Terminal};

/// Prints the JSON Schema of manifests.
pub(crate) fn run(terminal: Terminal) -> Result {
    terminal.json(&boma_manifest::json_schema())?;
    Ok(Exit::Ok)
}
