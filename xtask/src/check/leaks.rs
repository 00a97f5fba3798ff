//! Nothing of the machine it was written on gets into the repository.

use std::path::Path;

use anyhow::Result;

use super::Finding;
use crate::tree::Tree;

/// Hosts that a lock file may name.
const PUBLIC_HOSTS: [&str; 4] = [
    "github.com",
    "registry.npmjs.org",
    "opencollective.com",
    "tidelift.com",
];

/// Home directories that are no person's.
const KNOWN_HOMES: [&str; 1] = ["linuxbrew"];

pub(super) fn check(root: &Path, tree: &Tree) -> Result<Vec<Finding>> {
    let mut own = vec![root.canonicalize()?];
    own.extend(std::env::var_os("HOME").map(Into::into));
    let own: Vec<String> = own
        .iter()
        .filter(|path| path.components().count() > 1 && path != &Path::new("/tmp"))
        .map(|path| format!("{}/", path.display()))
        .collect();
    Ok(find(&own, tree))
}

/// What is found, given the directories of whoever runs the check.
fn find(own: &[String], tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.all().filter(|(path, _)| *path != file!()) {
        for (index, line) in text.lines().enumerate() {
            let offence = own
                .iter()
                .find(|own| line.contains(own.as_str()))
                .map(|own| format!("`{own}` is a path of this machine"))
                .or_else(|| home(line).map(|name| format!("`{name}` is somebody's home directory")))
                .or_else(|| is_lock(path).then(|| private_host(line)).flatten());
            findings.extend(offence.map(|text| Finding::at(path, index + 1, text)));
        }
    }
    findings
}

fn is_lock(path: &str) -> bool {
    [
        ".npmrc",
        "Cargo.lock",
        "package-lock.json",
        "pip.conf",
        "requirements.txt",
    ]
    .iter()
    .any(|name| path.ends_with(name))
}

/// The home directory of a person that a line names.
fn home(line: &str) -> Option<&str> {
    ["/home/", "/Users/"].iter().find_map(|homes| {
        let start = line.find(homes)?;
        let name = line[start + homes.len()..]
            .split(|c: char| !c.is_alphanumeric() && c != '-' && c != '_')
            .next()?;
        let full = &line[start..start + homes.len() + name.len()];
        (!name.is_empty() && !KNOWN_HOMES.contains(&name)).then_some(full)
    })
}

fn private_host(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("://")?;
    let host = rest.split(['/', '"', ':']).next()?;
    let public = PUBLIC_HOSTS.contains(&host);
    (!public).then(|| format!("`{host}` is not a public registry; write the lock file without it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let own = ["/srv/checkout/".to_owned()];
        find(&own, &Tree::of(&[(path, text)]))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn paths_of_a_machine_are_found() {
        assert_eq!(
            found("a.md", "ok\nsee /srv/checkout/x"),
            ["a.md:2: `/srv/checkout/` is a path of this machine"]
        );
        let home = format!("{}alice/x", "/home/");
        assert_eq!(found("a.sh", &home).len(), 1);
        assert_eq!(found("a.rs", "/home/linuxbrew/.linuxbrew/opt"), [""; 0]);
    }

    #[test]
    fn a_lock_file_that_names_a_mirror_is_found() {
        let mirror = "\"resolved\": \"https://npm.example.internal:8080/knex\"";
        assert_eq!(found("tests/x/package-lock.json", mirror).len(), 1);
        let public = "\"resolved\": \"https://registry.npmjs.org/knex\"";
        assert_eq!(found("tests/x/package-lock.json", public), [""; 0]);
        assert_eq!(found("README.md", mirror), [""; 0]);
    }
}
