//! Against real repositories, by the real program.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use boma_manifest::SourceFile;
use boma_manifest::edit::{Change, Step, Written};
use tempfile::TempDir;

use super::*;
use crate::source::git::tests::{database, git};
use crate::source::{GitSource, Snapshot};

/// A bare repository, a working tree of somebody else, and places of our own.
struct World {
    dir: TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(world.path("remote.git")).unwrap();
        git(&world.path("remote.git"), &["init", "--quiet", "--bare"]);
        git(
            world.dir.path(),
            &["clone", "--quiet", "remote.git", "other"],
        );
        git(&world.path("other"), &["checkout", "--quiet", "-b", "main"]);
        let text = format!(
            "# Ours.\n{}spec:\n  memory: 1Gi # enough\n",
            database("orders")
        );
        world.others("db/orders.yaml", &text);
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Somebody else commits and pushes a file.
    fn others(&self, name: &str, text: &str) {
        let other = self.path("other");
        if self.path("remote.git/refs/heads/main").exists() {
            git(&other, &["pull", "--quiet", "--rebase", "origin", "main"]);
        }
        let path = other.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        git(&other, &["add", "--all"]);
        git(&other, &["commit", "--quiet", "-m", "others"]);
        git(&other, &["push", "--quiet", "origin", "main"]);
    }

    fn location(&self) -> GitLocation {
        let url = format!("file://{}", self.path("remote.git").display());
        GitLocation::new(&url, "main", Path::new("db")).unwrap()
    }

    async fn snapshot(&self) -> Snapshot {
        let place = tempfile::tempdir_in(self.dir.path()).unwrap();
        let mut source = GitSource::new(self.location(), place.path().join("place"));
        source.read().await.unwrap().unwrap()
    }

    fn writer(&self) -> GitWriter {
        GitWriter::new(
            self.location(),
            self.path("writer"),
            SharedCredential::default(),
        )
    }

    fn shown(&self, what: &str) -> String {
        git(&self.path("remote.git"), &["show", what])
    }

    fn log(&self, branch: &str) -> String {
        let format = "--format=%an <%ae> %s";
        git(&self.path("remote.git"), &["log", format, branch])
    }
}

fn memory(snapshot: &Snapshot, size: &str) -> Proposal {
    let path = Step::fields(["spec", "memory"]);
    let change = Change::Set(path, Written::Text(size.to_owned()));
    let manifest = snapshot.manifests().next().unwrap();
    Proposal::of(manifest, &[change]).unwrap()
}

fn note() -> Note {
    Note {
        name: "Bea".to_owned(),
        email: "bea@example.com".to_owned(),
        message: "orders: more memory".to_owned(),
    }
}

fn code(error: &CommitError) -> String {
    error.problem().code
}

#[tokio::test]
async fn a_change_is_a_commit_of_its_person_and_nothing_else_changes() {
    let world = World::new();
    let snapshot = world.snapshot().await;
    let done = world
        .writer()
        .write(&memory(&snapshot, "2Gi"), &note(), &Onto::Branch)
        .await
        .unwrap();
    assert_eq!(done.branch, "main");
    let text = world.shown("main:db/orders.yaml");
    assert!(text.starts_with("# Ours.\n"), "{text}");
    assert!(text.contains("memory: 2Gi # enough"), "{text}");
    let log = world.log("main");
    assert!(
        log.starts_with("Bea <bea@example.com> orders: more memory\n"),
        "{log}"
    );
    assert_eq!(log.lines().count(), 2, "{log}");
    let files = git(
        &world.path("remote.git"),
        &["diff", "--name-only", "main~1", "main"],
    );
    assert_eq!(files, "db/orders.yaml\n");
}

#[tokio::test]
async fn what_others_push_meanwhile_stays_and_of_two_changes_the_second_is_told() {
    let world = World::new();
    let snapshot = world.snapshot().await;
    world.others("db/stock.yaml", &database("stock"));
    let first = memory(&snapshot, "2Gi");
    world
        .writer()
        .write(&first, &note(), &Onto::Branch)
        .await
        .unwrap();
    assert!(world.shown("main:db/stock.yaml").contains("stock"));

    let second = memory(&snapshot, "4Gi");
    let refused = world.writer().write(&second, &note(), &Onto::Branch).await;
    let refused = refused.unwrap_err();
    assert_eq!(code(&refused), "manifest-changed");
    assert!(world.shown("main:db/orders.yaml").contains("2Gi"));

    let new = Proposal::new_file("stock.yaml", database("stock"));
    let refused = world.writer().write(&new, &note(), &Onto::Branch).await;
    assert_eq!(code(&refused.unwrap_err()), "manifest-exists");
    let outside = Proposal::new_file("../stock.yaml", database("stock"));
    let refused = world.writer().write(&outside, &note(), &Onto::Branch).await;
    assert_eq!(code(&refused.unwrap_err()), "manifest-outside");
}

#[tokio::test]
async fn of_many_who_write_at_once_all_are_in_the_branch() {
    let world = World::new();
    let writes = (0..4).map(|number| {
        let name = format!("db-{number}");
        let writer = GitWriter::new(
            world.location(),
            world.path(&format!("writer-{number}")),
            SharedCredential::default(),
        );
        let proposal = Proposal::new_file(format!("{name}.yaml"), database(&name));
        tokio::spawn(async move { writer.write(&proposal, &note(), &Onto::Branch).await })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap().unwrap();
    }
    let files = git(
        &world.path("remote.git"),
        &["ls-tree", "--name-only", "main:db"],
    );
    assert_eq!(files.lines().count(), 5, "{files}");
    assert_eq!(world.log("main").lines().count(), 5);
}

#[tokio::test]
async fn a_branch_for_review_leaves_the_other_as_it_is() {
    let world = World::new();
    let snapshot = world.snapshot().await;
    let onto = Onto::Review("more-memory".to_owned());
    let proposal = memory(&snapshot, "2Gi");
    world
        .writer()
        .write(&proposal, &note(), &onto)
        .await
        .unwrap();
    assert!(world.shown("more-memory:db/orders.yaml").contains("2Gi"));
    assert!(world.shown("main:db/orders.yaml").contains("1Gi"));
    world.others("db/stock.yaml", &database("stock"));
    let again = world
        .writer()
        .write(&proposal, &note(), &onto)
        .await
        .unwrap_err();
    assert_eq!(code(&again), "git-branch-there");
    assert!(
        again
            .problem()
            .to_string()
            .contains("`more-memory` already")
    );
}

#[tokio::test]
async fn a_branch_that_is_there_is_none_for_review_even_the_one_that_is_applied() {
    let world = World::new();
    git(&world.path("remote.git"), &["branch", "kept", "main"]);
    let proposal = memory(&world.snapshot().await, "2Gi");
    for name in ["main", "kept"] {
        let onto = Onto::Review(name.to_owned());
        let refused = world.writer().write(&proposal, &note(), &onto).await;
        assert_eq!(code(&refused.unwrap_err()), "git-branch-there", "{name}");
        assert!(
            world
                .shown(&format!("{name}:db/orders.yaml"))
                .contains("1Gi")
        );
    }
}

#[tokio::test]
async fn a_repository_that_takes_nothing_says_why() {
    let world = World::new();
    let snapshot = world.snapshot().await;
    let hook = world.path("remote.git/hooks/pre-receive");
    fs::write(&hook, "#!/bin/sh\necho main is protected >&2\nexit 1\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let refused = world
        .writer()
        .write(&memory(&snapshot, "2Gi"), &note(), &Onto::Branch)
        .await;
    let problem = refused.unwrap_err().problem();
    assert_eq!(problem.code, "git-push-refused");
    assert!(
        problem.to_string().contains("main is protected"),
        "{problem}"
    );
    assert!(problem.hints[0].contains("--review"), "{problem:?}");
    assert!(world.shown("main:db/orders.yaml").contains("1Gi"));
}

#[tokio::test]
async fn a_link_is_not_written_over() {
    let world = World::new();
    symlink("orders.yaml", world.path("other/db/link.yaml")).unwrap();
    world.others("db/stock.yaml", &database("stock"));
    let read = SourceFile::new("link.yaml", database("orders").as_bytes());
    let proposal = Proposal::replacing((*read).clone(), "# another\n".to_owned());
    let refused = world
        .writer()
        .write(&proposal, &note(), &Onto::Branch)
        .await;
    let problem = refused.unwrap_err().problem();
    assert_eq!(problem.code, "manifest-is-link");
    assert!(
        problem.to_string().contains("`link.yaml` is a link"),
        "{problem}"
    );
}

#[test]
fn a_branch_that_moves_all_the_time_is_tried_again_later() {
    let location = GitLocation::new("https://example.com/m.git", "main", Path::new("")).unwrap();
    let problem = GitError::Moving {
        location: Box::new(location),
    }
    .problem();
    assert!(
        problem.to_string().contains("moves all the time"),
        "{problem}"
    );
    assert_eq!(problem.code, "git-branch-moving");
}

/// The other side dies after it has moved the branch and before it says so.
#[tokio::test]
async fn a_push_whose_answer_is_lost_is_found_to_have_arrived() {
    let world = World::new();
    let snapshot = world.snapshot().await;
    let hook = world.path("remote.git/hooks/post-receive");
    fs::write(&hook, "#!/bin/sh\nkill -9 $PPID\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let (proposal, note) = (memory(&snapshot, "2Gi"), note());
    let done = world.writer().write(&proposal, &note, &Onto::Branch).await;
    let newest = git(&world.path("remote.git"), &["rev-parse", "main"]);
    assert_eq!(done.unwrap().commit, newest.trim());
    assert_eq!(world.log("main").matches("orders: more memory").count(), 1);
}

#[tokio::test]
async fn a_file_goes_by_a_commit_and_another_version_of_it_does_not() {
    let world = World::new();
    let snapshot = world.snapshot().await;
    let manifest = snapshot.manifests().next().unwrap();
    let removal = Proposal::removal(manifest).unwrap();
    let changed = memory(&snapshot, "2Gi");
    let done = world.writer().write(&changed, &note(), &Onto::Branch).await;
    done.unwrap();
    let refused = world.writer().write(&removal, &note(), &Onto::Branch).await;
    assert_eq!(code(&refused.unwrap_err()), "manifest-changed");

    let snapshot = world.snapshot().await;
    let manifest = snapshot.manifests().next().unwrap();
    let removal = Proposal::removal(manifest).unwrap();
    let done = world.writer().write(&removal, &note(), &Onto::Branch).await;
    done.unwrap();
    let remote = world.path("remote.git");
    let what = git(&remote, &["diff", "--name-status", "main~1", "main"]);
    assert_eq!(what, "D\tdb/orders.yaml\n");
}
