use std::os::unix::fs::symlink;

use boma_manifest::edit::{Step, Written};

use super::*;
use crate::source::DirectorySource;

const DATABASE: &str = "# Ours.\napiVersion: lowops.manifests.v1\nkind: Database\nmetadata:\n  \
                        name: orders\n  organization: o\n  organizational-unit: u\n  \
                        environment: e\n  project: p\nspec:\n  memory: 1Gi # enough\n";

fn memory(size: &str) -> Change {
    Change::Set(
        Step::fields(["spec", "memory"]),
        Written::Text(size.to_owned()),
    )
}

struct World {
    directory: tempfile::TempDir,
    snapshot: Snapshot,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("orders.yaml"), DATABASE).unwrap();
        let snapshot = DirectorySource::new(directory.path()).read();
        Self {
            directory,
            snapshot,
        }
    }

    fn proposal(&self, size: &str) -> Proposal {
        let manifest = self.snapshot.manifests().next().unwrap();
        Proposal::of(manifest, &[memory(size)]).unwrap()
    }

    fn text(&self) -> String {
        fs::read_to_string(self.directory.path().join("orders.yaml")).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

#[test]
fn what_is_proposed_is_shown_judged_and_written() {
    let world = World::new();
    let proposal = world.proposal("2Gi");
    let lines: Vec<String> = proposal
        .difference()
        .iter()
        .filter(|line| matches!(line.mark, Mark::Removed | Mark::Added))
        .map(|line| format!("{}{}", line.mark.letter(), line.text))
        .collect();
    assert_eq!(
        lines,
        ["-  memory: 1Gi # enough", "+  memory: 2Gi # enough"]
    );
    let basis = Arc::default();
    let (catalog, problems) = proposal.judge(&world.snapshot, &basis);
    assert_eq!((catalog.databases().len(), problems.len()), (1, 0));
    let (_, problems) = world.proposal("2Gu").judge(&world.snapshot, &basis);
    assert!(problems.iter().any(Problem::is_error), "{problems:?}");

    let path = world.directory.path().join("orders.yaml");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    proposal.write(world.directory.path()).unwrap();
    assert_eq!(world.text(), DATABASE.replace("1Gi", "2Gi"));
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o640
    );
    assert_eq!(world.names(), ["orders.yaml"]);
}

#[test]
fn of_two_people_the_second_is_told() {
    let world = World::new();
    let (first, second) = (world.proposal("2Gi"), world.proposal("4Gi"));
    first.write(world.directory.path()).unwrap();
    let error = second.write(world.directory.path()).unwrap_err().problem();
    assert_eq!(error.code, "manifest-changed");
    assert!(error.to_string().contains("by somebody else"), "{error}");
    assert_eq!(world.text(), DATABASE.replace("1Gi", "2Gi"));
    assert_eq!(world.names(), ["orders.yaml"]);
}

#[test]
fn a_new_file_is_written_over_nothing_and_nowhere_else() {
    let world = World::new();
    let root = world.directory.path();
    let other = DATABASE.replace("orders", "stock");
    let proposal = Proposal::new_file("shop/stock.yaml", other.clone());
    let (catalog, problems) = proposal.judge(&world.snapshot, &Arc::default());
    assert_eq!((catalog.databases().len(), problems.len()), (2, 0));
    let path = proposal.write(root).unwrap();
    assert_eq!(fs::read_to_string(path).unwrap(), other);
    let error = proposal.write(root).unwrap_err().problem();
    assert_eq!(error.code, "manifest-exists", "{error}");

    let elsewhere = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), root.join("link")).unwrap();
    for name in [
        "../x.yaml",
        "/x.yaml",
        ".x.yaml",
        "a/../../x.yaml",
        "x.sh",
        "link/x.yaml",
    ] {
        let error = Proposal::new_file(name, other.clone()).write(root);
        let error = error.unwrap_err().problem();
        assert_eq!(error.code, "manifest-outside", "{name}: {error}");
        assert!(
            error.to_string().contains("no place for a manifest"),
            "{error}"
        );
    }
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[test]
fn a_file_that_is_gone_is_not_made_again() {
    let world = World::new();
    let proposal = world.proposal("2Gi");
    fs::remove_file(world.directory.path().join("orders.yaml")).unwrap();
    let error = proposal
        .write(world.directory.path())
        .unwrap_err()
        .problem();
    assert_eq!(error.code, "manifest-not-written");
    assert!(error.to_string().contains("No such file"), "{error}");
    assert!(world.names().is_empty(), "{:?}", world.names());
}

#[test]
fn a_manifest_goes_and_with_the_last_one_of_a_file_the_file() {
    let world = World::new();
    let path = world.directory.path().join("orders.yaml");
    let second = DATABASE.replace("orders", "stock");
    fs::write(&path, format!("{DATABASE}---\n{second}")).unwrap();
    let snapshot = DirectorySource::new(world.directory.path()).read();
    let manifest = snapshot.manifests().next().unwrap();
    let proposal = Proposal::removal(manifest).unwrap();
    assert!(!proposal.is_removal());
    let (catalog, problems) = proposal.judge(&snapshot, &Arc::default());
    assert_eq!((catalog.databases().len(), problems.len()), (1, 0));
    proposal.write(world.directory.path()).unwrap();
    assert_eq!(world.text(), format!("---\n{second}"));

    let snapshot = DirectorySource::new(world.directory.path()).read();
    let manifest = snapshot.manifests().next().unwrap();
    let proposal = Proposal::removal(manifest).unwrap();
    assert!(proposal.is_removal() && !proposal.is_empty());
    let (catalog, problems) = proposal.judge(&snapshot, &Arc::default());
    assert_eq!((catalog.databases().len(), problems.len()), (0, 0));
    // What somebody else has written meanwhile is not taken away.
    fs::write(&path, DATABASE).unwrap();
    let refused = proposal.write(world.directory.path()).unwrap_err();
    assert_eq!(refused.problem().code, "manifest-changed");
    assert_eq!(world.text(), DATABASE);
    fs::write(&path, format!("---\n{second}")).unwrap();
    proposal.write(world.directory.path()).unwrap();
    assert!(world.names().is_empty(), "{:?}", world.names());
}

#[test]
fn a_file_that_is_a_link_does_not_go() {
    let world = World::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("stock.yaml");
    fs::write(&target, DATABASE).unwrap();
    let link = world.directory.path().join("orders.yaml");
    fs::remove_file(&link).unwrap();
    symlink(&target, &link).unwrap();
    let file = boma_manifest::SourceFile::new("orders.yaml", DATABASE.as_bytes());
    let file = (*file).clone();
    let refused = Proposal::replacing(file, String::new()).write(world.directory.path());
    assert_eq!(refused.unwrap_err().problem().code, "manifest-is-link");
    assert!(target.exists());
}
