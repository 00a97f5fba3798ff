//! Another key for a repository: what is written from then on is sealed under it, and what was there
//! opens still; through every kind of death in between.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use boma_instance::MajorVersion;

use crate::backups::{insert, shop};
use crate::installation::Installation;
use crate::trouble::{again, killed_after};

/// Ids of the keys under which the manifests of base backups are sealed, from their headers.
fn sealed_under(directory: &Path) -> Result<BTreeSet<Vec<u8>>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(sealed_under(&path)?);
        } else if path.ends_with("manifest") {
            let bytes = fs::read(&path)?;
            found.insert(bytes.get(8..16).context("a header")?.to_vec());
        }
    }
    Ok(found)
}

fn keys(boma: &Installation) -> Result<Vec<String>> {
    let text = boma.boma(["backup", "key"])?.ok()?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// Fails unless everything in the repository opens, and a restore has these rows.
fn expect_readable(boma: &Installation, copy: &str, rows: &str) -> Result<()> {
    let verified = boma.boma(["backup", "verify", "orders"])?.ok()?;
    ensure!(!verified.contains("unusable"), "{verified}");
    boma.boma(["fork", "orders", "--as", copy])?.ok()?;
    let count = "select count(*), max(id) from n";
    let counted = boma.boma(["psql", copy, "--", "-Atc", count])?.ok()?;
    assert_eq!(counted.trim(), rows, "{copy}");
    Ok(())
}

#[test]
fn a_new_key_seals_what_comes_and_the_former_one_opens_what_was() -> Result<()> {
    let boma = shop(MajorVersion::V17)?;
    boma.boma(["backup", "create", "orders"])?.ok()?;
    insert(&boma, 1)?;
    let repository = boma.state().join("repository");
    let first = keys(&boma)?;
    assert_eq!(first.len(), 1);
    assert_eq!(sealed_under(&repository)?.len(), 1);

    let renewed = boma.boma(["backup", "key", "--renew"])?;
    ensure!(renewed.stderr.contains("Export it anew"), "{renewed:?}");
    assert_eq!(renewed.ok()?, "");
    let both = keys(&boma)?;
    ensure!(both.len() == 2 && both[1] == first[0], "{}", both.len());
    insert(&boma, 2)?;
    let label = boma.boma(["backup", "create", "orders"])?.ok()?;
    // It compares with what is sealed under the former key.
    ensure!(label.trim().ends_with("-incr"), "{label}");
    assert_eq!(sealed_under(&repository)?.len(), 2);
    expect_readable(&boma, "copy", "2|2")?;
    let audit = boma.boma(["audit"])?.ok()?;
    ensure!(audit.contains("renew the key of a repository"), "{audit}");
    ensure!(
        !both.iter().any(|key| audit.contains(key)),
        "the audit trail has a key"
    );

    // Killed anywhere, whatever was written under whichever key opens.
    for millis in [0_u64, 20, 60, 150, 400] {
        killed_after(
            &boma,
            &["backup", "key", "--renew"],
            Duration::from_millis(millis),
        )?;
        again(&boma)?;
    }
    ensure!(keys(&boma)?.ends_with(&both), "a key was lost");
    insert(&boma, 3)?;
    boma.boma(["backup", "create", "orders"])?.ok()?;
    expect_readable(&boma, "later", "3|3")
}
