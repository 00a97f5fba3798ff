//! What `boma` says on standard error, for programs that gather logs.

use std::fs;

use anyhow::{Context, Result, ensure};
use boma_instance::MajorVersion;
use serde_json::Value;

use crate::installation::{Installation, wait};
use crate::manifests::database;
use crate::trouble::serve_with;

fn lines(text: &str) -> Result<Vec<Value>> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
        .collect()
}

#[test]
fn a_log_for_programs_is_a_document_in_each_line() -> Result<()> {
    let boma = Installation::new()?.only(MajorVersion::V17);
    boma.write("orders.yaml", &database("orders", ""))?;
    let arguments = [
        "m",
        "--log-format",
        "json",
        "-v",
        "--dashboard",
        "127.0.0.1:0",
    ];
    let _serving = serve_with(&boma, &arguments)?;
    let said = wait(|| {
        let said = lines(&fs::read_to_string(boma.path("serve.log"))?)?;
        let converged = |line: &Value| line["message"] == "Everything is as the manifests say.";
        ensure!(said.iter().any(converged), "{said:?}");
        Ok(said)
    })?;
    for line in said {
        let at = line["timestamp"].as_str().context("a time")?;
        ensure!(at.parse::<jiff::Timestamp>().is_ok(), "{line}");
        ensure!(line["level"].is_string(), "{line}");
    }
    boma.write("orders.yaml", &database("orders", "memroy: 1Gi"))?;
    wait(|| {
        let said = lines(&fs::read_to_string(boma.path("serve.log"))?)?;
        let told = said.iter().find(|line| line["level"] == "ERROR");
        let problem = &told.context("an error")?["problem"];
        ensure!(problem["place"]["file"] == "orders.yaml", "{problem}");
        ensure!(problem["hints"].is_array(), "{problem}");
        Ok(())
    })
}
