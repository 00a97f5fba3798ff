//! Arrows between crates point one way (docs/architecture.md).

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Finding;
use crate::tree::Tree;

/// What a crate may use of ours.
enum MayUse {
    /// These, and `boma-problem`, which is below all.
    These(&'static [&'static str]),
    /// All but the testkit.
    All,
    /// None.
    Nothing,
}

/// One crate of the workspace.
struct Layer {
    name: &'static str,
    may_use: MayUse,
    /// Whether it must touch nothing: no file, network, clock, randomness.
    pure: bool,
}

const fn layer(name: &'static str, may_use: MayUse, pure: bool) -> Layer {
    Layer {
        name,
        may_use,
        pure,
    }
}

/// The workspace, lowest crate first. A new crate needs a row here and a decision record.
const LAYERS: [Layer; 13] = [
    layer("boma-problem", MayUse::Nothing, true),
    layer("boma-manifest", MayUse::These(&[]), true),
    layer("boma-instance", MayUse::These(&[]), true),
    layer("boma-postgres", MayUse::These(&["boma-instance"]), false),
    layer(
        "boma-backup",
        MayUse::These(&["boma-instance", "boma-postgres"]),
        false,
    ),
    layer(
        "boma-agent",
        MayUse::These(&["boma-instance", "boma-postgres", "boma-backup"]),
        false,
    ),
    layer(
        "boma-engine",
        MayUse::These(&["boma-manifest", "boma-instance"]),
        false,
    ),
    layer(
        "boma-local",
        MayUse::These(&["boma-engine", "boma-instance"]),
        false,
    ),
    layer(
        "boma-kubernetes",
        MayUse::These(&["boma-engine", "boma-manifest", "boma-instance"]),
        false,
    ),
    layer(
        "boma-web",
        MayUse::These(&["boma-engine", "boma-manifest", "boma-instance"]),
        false,
    ),
    layer("boma", MayUse::All, false),
    layer(
        "boma-testkit",
        MayUse::These(&["boma-instance", "boma-postgres"]),
        false,
    ),
    layer("xtask", MayUse::Nothing, false),
];

/// Crates that act: not for pure crates.
const ACTING: [&str; 16] = [
    "axum",
    "getrandom",
    "git2",
    "hyper",
    "ignore",
    "kube",
    "nix",
    "object_store",
    "rand",
    "rcgen",
    "ring",
    "rusqlite",
    "tempfile",
    "tokio",
    "tokio-postgres",
    "tracing-subscriber",
];

/// Crates that only some of ours may name.
const RESERVED: [(&str, &[&str]); 3] = [
    ("anyhow", &["xtask", "boma-testkit"]),
    ("k8s-openapi", &["boma-kubernetes"]),
    ("kube", &["boma-kubernetes"]),
];

/// Packages that must not be in the lock file: a second TLS stack, runtime or crypto library.
const BANNED: [&str; 8] = [
    "aws-lc-rs",
    "async-std",
    "native-tls",
    "openssl",
    "openssl-sys",
    "serde_yaml",
    "smol",
    "sqlx",
];

pub(super) fn check(root: &Path, tree: &Tree) -> Result<Vec<Finding>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version=1"])
        .current_dir(root)
        .output()
        .context("start cargo metadata")?;
    ensure!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata = serde_json::from_slice(&output.stdout).context("read cargo metadata")?;
    let mut findings = find(&metadata);
    findings.extend(banned(tree));
    Ok(findings)
}

fn find(metadata: &Value) -> Vec<Finding> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages.flat_map(package).collect()
}

fn package(package: &Value) -> Vec<Finding> {
    let name = package["name"].as_str().unwrap_or_default();
    let Some(layer) = LAYERS.iter().find(|layer| layer.name == name) else {
        let text = "has no layer: a new crate needs a decision record and a row in layers.rs";
        return vec![Finding::in_file(name, text)];
    };
    package["dependencies"]
        .as_array()
        .into_iter()
        .flatten()
        // What only tests use may point anywhere.
        .filter(|dependency| dependency["kind"] != "dev")
        .filter_map(|dependency| offence(layer, dependency["name"].as_str()?))
        .map(|text| Finding::in_file(name, text))
        .collect()
}

fn offence(layer: &Layer, dependency: &str) -> Option<String> {
    if LAYERS.iter().any(|other| other.name == dependency) {
        let allowed = match layer.may_use {
            MayUse::Nothing => false,
            MayUse::All => dependency != "boma-testkit" && dependency != "xtask",
            MayUse::These(these) => dependency == "boma-problem" || these.contains(&dependency),
        };
        return (!allowed).then(|| format!("may not use {dependency}: it is not below it"));
    }
    if layer.pure && ACTING.contains(&dependency) {
        return Some(format!("is pure and may not use {dependency}"));
    }
    let (_, owners) = RESERVED.iter().find(|(name, _)| *name == dependency)?;
    let text = format!("may not use {dependency}: only {} may", owners.join(", "));
    (!owners.contains(&layer.name)).then_some(text)
}

fn banned(tree: &Tree) -> Vec<Finding> {
    let lock = tree.files.get("Cargo.lock").map_or("", String::as_str);
    lock.lines()
        .filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
        .filter(|name| BANNED.contains(name))
        .map(|name| {
            let text = format!("{name}: see docs/decisions for the one we use instead");
            Finding::in_file("Cargo.lock", text)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, dependency: &str, kind: Option<&str>) -> usize {
        let metadata = serde_json::json!({"packages": [{
            "name": name,
            "dependencies": [{"name": dependency, "kind": kind}],
        }]});
        find(&metadata).len()
    }

    #[test]
    fn arrows_that_point_up_or_sideways_are_found() {
        assert_eq!(found("boma-instance", "boma-engine", None), 1);
        assert_eq!(found("boma-local", "boma-agent", None), 1);
        assert_eq!(found("boma-local", "boma-engine", None), 0);
        assert_eq!(found("boma", "boma-local", None), 0);
        assert_eq!(found("boma", "boma-testkit", None), 1);
        assert_eq!(found("boma-agent", "boma-testkit", Some("dev")), 0);
    }

    #[test]
    fn crates_that_act_are_found_in_pure_crates() {
        assert_eq!(found("boma-manifest", "tokio", None), 1);
        assert_eq!(found("boma-manifest", "tokio", Some("build")), 1);
        assert_eq!(found("boma-engine", "tokio", None), 0);
        assert_eq!(found("boma-manifest", "serde", None), 0);
    }

    #[test]
    fn reserved_crates_unknown_crates_and_banned_packages_are_found() {
        assert_eq!(found("boma-engine", "anyhow", None), 1);
        assert_eq!(found("boma-engine", "anyhow", Some("dev")), 0);
        assert_eq!(found("boma-local", "kube", None), 1);
        assert_eq!(found("boma-new", "serde", None), 1);
        let lock = "[[package]]\nname = \"openssl\"\nversion = \"1\"\n";
        assert_eq!(banned(&Tree::of(&[("Cargo.lock", lock)])).len(), 1);
    }
}
