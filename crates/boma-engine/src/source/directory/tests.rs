//! What is read of a directory, and what is read again.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use boma_manifest::{LARGEST_FILE, testing};
use tempfile::TempDir;

use super::super::{File, Snapshot};
use super::DirectorySource;

const FOREIGN: &str = "apiVersion: v1\nkind: ConfigMap\n";

fn write(root: &Path, name: &str, text: impl AsRef<[u8]>) -> Result<()> {
    let path = root.join(name);
    fs::create_dir_all(path.parent().context("a file without a directory")?)?;
    fs::write(&path, text)?;
    // As if it had been written a while ago, so that its stamp says enough.
    set_age(&path, 100)
}

/// Sets when a file was changed last, so many seconds ago.
fn set_age(path: &Path, seconds: u64) -> Result<()> {
    let then = SystemTime::now() - Duration::from_secs(seconds);
    Ok(fs::File::options()
        .append(true)
        .open(path)?
        .set_modified(then)?)
}

fn names(snapshot: &Snapshot) -> Vec<&str> {
    snapshot
        .files
        .iter()
        .map(|file| &*file.source.name)
        .collect()
}

fn problems(snapshot: &Snapshot) -> Vec<String> {
    let shown = |problem: &boma_problem::Problem| format!("{} {problem}", problem.code);
    snapshot.problems().map(shown).collect()
}

fn read(root: &Path) -> Snapshot {
    DirectorySource::new(root).read()
}

#[test]
fn manifests_are_found_wherever_they_are() -> Result<()> {
    let root = TempDir::new()?;
    for (name, text) in testing::repository(2) {
        write(root.path(), &name, text)?;
    }
    for name in ["a.yml", "deep/er/b.YAML", "c.json", ".dot.yaml"] {
        write(root.path(), name, FOREIGN)?;
    }
    for name in [
        ".git/config.yaml",
        ".github/workflows/ci.yml",
        "README.md",
        "yaml",
    ] {
        write(root.path(), name, "not read")?;
    }
    let snapshot = read(root.path());
    assert_eq!(
        names(&snapshot),
        [
            ".dot.yaml",
            "a.yml",
            "c.json",
            "deep/er/b.YAML",
            "project/project-0/application/shop-0.yaml",
            "project/project-0/application/shop-1.yaml",
            "project/project-0/database/orders-0.yaml",
            "project/project-0/database/orders-1.yaml",
        ]
    );
    assert_eq!(snapshot.manifests().count(), 6);
    assert_eq!((problems(&snapshot), snapshot.is_sound()), (vec![], true));
    Ok(())
}

#[test]
fn what_gitignore_names_is_passed_over() -> Result<()> {
    let root = TempDir::new()?;
    fs::create_dir(root.path().join(".git"))?;
    write(root.path(), ".gitignore", "*.local.yaml\n/build/\n")?;
    write(
        root.path(),
        "team/.gitignore",
        "!keep.local.yaml\nscratch\n",
    )?;
    for name in [
        "a.yaml",
        "a.local.yaml",
        "build/b.yaml",
        "team/keep.local.yaml",
        "team/scratch/c.yaml",
    ] {
        write(root.path(), name, FOREIGN)?;
    }
    assert_eq!(
        names(&read(root.path())),
        ["a.yaml", "team/keep.local.yaml"]
    );
    // A source within a repository keeps to the patterns above it; one outside of any does not.
    assert_eq!(names(&read(&root.path().join("team"))), ["keep.local.yaml"]);
    fs::remove_dir(root.path().join(".git"))?;
    write(root.path(), "team/x.local.yaml", FOREIGN)?;
    assert_eq!(
        names(&read(&root.path().join("team"))),
        ["keep.local.yaml", "x.local.yaml"]
    );
    Ok(())
}

#[test]
fn one_file_can_be_a_source() -> Result<()> {
    let root = TempDir::new()?;
    let (_, text) = testing::database(1);
    write(root.path(), "one.yaml", text)?;
    write(root.path(), "other.yaml", FOREIGN)?;
    let snapshot = read(&root.path().join("one.yaml"));
    assert_eq!(
        (names(&snapshot), snapshot.manifests().count()),
        (vec!["one.yaml"], 1)
    );
    Ok(())
}

#[test]
fn a_source_that_is_not_there_is_an_error() -> Result<()> {
    let root = TempDir::new()?;
    let nowhere = root.path().join("nowhere");
    let snapshot = read(&nowhere);
    let text = format!("source-not-found there is nothing at {}", nowhere.display());
    assert_eq!(
        (problems(&snapshot), snapshot.is_sound()),
        (vec![text], false)
    );
    Ok(())
}

#[test]
fn links_lead_to_files_within_and_nowhere_else() -> Result<()> {
    let outside = TempDir::new()?;
    write(outside.path(), "secret.yaml", "password: x\n")?;
    let root = TempDir::new()?;
    let path = |name: &str| root.path().join(name);
    // As Kubernetes mounts a ConfigMap.
    write(root.path(), "..2026_11_21/a.yaml", FOREIGN)?;
    symlink("..2026_11_21", path("..data"))?;
    symlink("..data/a.yaml", path("a.yaml"))?;
    // A second name of a file that is read anyway.
    write(root.path(), "b.yaml", FOREIGN)?;
    symlink("b.yaml", path("also-b.yaml"))?;
    // A directory within, and itself.
    write(root.path(), "real/c.yaml", FOREIGN)?;
    symlink("real", path("linked"))?;
    symlink(".", path("loop"))?;
    let snapshot = read(root.path());
    assert_eq!(names(&snapshot), ["a.yaml", "b.yaml", "real/c.yaml"]);
    assert_eq!(problems(&snapshot), Vec::<String>::new());

    symlink(outside.path().join("secret.yaml"), path("z1.yaml"))?;
    symlink(outside.path(), path("z2"))?;
    symlink("nowhere.yaml", path("z3.yaml"))?;
    symlink(
        outside.path().join("secret.yaml"),
        path("not-a-manifest.txt"),
    )?;
    let snapshot = read(root.path());
    assert_eq!(names(&snapshot), ["a.yaml", "b.yaml", "real/c.yaml"]);
    let found = problems(&snapshot);
    assert_eq!(
        found[0],
        "link-refused z1.yaml is a link that leads out of the source"
    );
    assert_eq!(
        found[1],
        "link-refused z2 is a link that leads out of the source"
    );
    assert!(
        found[2].starts_with("source-unreadable read z3.yaml: "),
        "{found:?}"
    );
    assert_eq!(found.len(), 3);
    assert!(!snapshot.is_sound());
    Ok(())
}

#[test]
fn files_that_are_no_manifests_do_no_harm() -> Result<()> {
    let root = TempDir::new()?;
    nix::unistd::mkfifo(
        &root.path().join("pipe.yaml"),
        nix::sys::stat::Mode::S_IRWXU,
    )?;
    fs::create_dir(root.path().join("directory.yaml"))?;
    write(root.path(), "lock.json", vec![b'{'; 3 * LARGEST_FILE])?;
    write(root.path(), "empty.yaml", "")?;
    write(
        root.path(),
        "a\nb\u{1b}.yaml",
        "apiVersion: lowops.manifests.v1\nspec: [\n",
    )?;
    let snapshot = read(root.path());
    assert_eq!(names(&snapshot), ["a\nb\u{1b}.yaml", "empty.yaml"]);
    assert_eq!(problems(&snapshot).len(), 1);

    let large = [
        b"apiVersion: lowops.manifests.v1\n".as_slice(),
        &vec![b'#'; LARGEST_FILE],
    ]
    .concat();
    write(root.path(), "large.yaml", large)?;
    let expected = "file-too-large large.yaml has 1048608 bytes, 1048576 are read";
    assert_eq!(problems(&read(root.path()))[0], expected);
    Ok(())
}

#[test]
fn a_directory_that_cannot_be_read_is_an_error() -> Result<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(()); // root reads everything
    }
    let root = TempDir::new()?;
    write(root.path(), "closed/a.yaml", FOREIGN)?;
    write(root.path(), "b.yaml", FOREIGN)?;
    fs::set_permissions(
        root.path().join("closed"),
        fs::Permissions::from_mode(0o000),
    )?;
    fs::set_permissions(
        root.path().join("b.yaml"),
        fs::Permissions::from_mode(0o000),
    )?;
    let found = problems(&read(root.path()));
    fs::set_permissions(
        root.path().join("closed"),
        fs::Permissions::from_mode(0o700),
    )?;
    assert!(
        found[0].starts_with("source-unreadable read b.yaml: "),
        "{found:?}"
    );
    assert!(
        found[1].starts_with("source-unreadable read closed: "),
        "{found:?}"
    );
    Ok(())
}

#[test]
fn patterns_that_cannot_be_read_are_shown() -> Result<()> {
    let root = TempDir::new()?;
    write(root.path(), ".gitignore", "[z-a]\n*.tmp.yaml\n")?;
    write(root.path(), "a.yaml", FOREIGN)?;
    write(root.path(), "b.tmp.yaml", FOREIGN)?;
    let snapshot = read(root.path());
    assert_eq!(names(&snapshot), ["a.yaml"]);
    assert!(
        problems(&snapshot)[0].starts_with("ignore-patterns-unreadable "),
        "{snapshot:?}"
    );
    assert!(snapshot.is_sound());
    Ok(())
}

/// Whether two snapshots share a file.
fn shared(one: &Snapshot, other: &Snapshot, name: &str) -> bool {
    let file = |snapshot: &Snapshot| -> Option<Arc<File>> {
        snapshot
            .files
            .iter()
            .find(|file| &*file.source.name == name)
            .cloned()
    };
    match (file(one), file(other)) {
        (Some(one), Some(other)) => Arc::ptr_eq(&one, &other),
        _ => false,
    }
}

#[test]
fn only_what_changed_is_parsed_again() -> Result<()> {
    let root = TempDir::new()?;
    for name in ["a.yaml", "b.yaml", "c.yaml"] {
        write(root.path(), name, FOREIGN)?;
    }
    let mut source = DirectorySource::new(root.path());
    let first = source.read();
    assert_eq!(first.changes, 3);
    let second = source.read();
    assert_eq!(second.changes, 0);
    assert!(
        names(&first)
            .iter()
            .all(|name| shared(&first, &second, name))
    );

    write(root.path(), "b.yaml", "apiVersion: v1\nkind: Secret\n")?;
    fs::remove_file(root.path().join("c.yaml"))?;
    write(root.path(), "d.yaml", FOREIGN)?;
    let third = source.read();
    assert_eq!(
        (names(&third), third.changes),
        (vec!["a.yaml", "b.yaml", "d.yaml"], 3)
    );
    assert!(shared(&second, &third, "a.yaml") && !shared(&second, &third, "b.yaml"));

    // Long after the last change nothing is opened any more.
    let later = SystemTime::now() + Duration::from_mins(1);
    assert!(source.known.values().all(|known| !known.settled));
    source.read_at(later);
    assert!(source.known.values().all(|known| known.settled));
    assert_eq!(source.read_at(later).changes, 0);

    // Touched, with the same content: nothing to do for anybody.
    set_age(&root.path().join("a.yaml"), 50)?;
    let fourth = source.read();
    assert_eq!(fourth.changes, 0);
    assert!(shared(&third, &fourth, "a.yaml"));
    Ok(())
}

#[test]
fn a_change_that_leaves_size_and_time_alone_is_seen() -> Result<()> {
    let root = TempDir::new()?;
    let path = root.path().join("a.yaml");
    fs::write(&path, "apiVersion: v1 # one\n")?;
    let mut source = DirectorySource::new(root.path());
    let before = source.read();
    let modified = fs::metadata(&path)?.modified()?;
    // Within one tick of a coarse clock, both times would stay what they are.
    fs::write(&path, "apiVersion: v1 # two\n")?;
    fs::File::options()
        .append(true)
        .open(&path)?
        .set_modified(modified)?;
    let after = source.read();
    assert_eq!((before.changes, after.changes), (1, 1));
    assert!(str::from_utf8(&after.files[0].source.bytes)?.contains("two"));
    Ok(())
}

#[test]
fn a_source_that_vanishes_and_comes_back_is_read_anew() -> Result<()> {
    let parent = TempDir::new()?;
    let root = parent.path().join("source");
    write(&root, "a.yaml", FOREIGN)?;
    let mut source = DirectorySource::new(&root);
    assert_eq!(source.read().changes, 1);
    fs::remove_dir_all(&root)?;
    let gone = source.read();
    assert_eq!((gone.changes, gone.is_sound()), (1, false));
    write(&root, "a.yaml", FOREIGN)?;
    assert_eq!(source.read().changes, 1);
    Ok(())
}

#[test]
fn a_watcher_gets_the_same_answer_as_a_look_at_everything() -> Result<()> {
    let root = TempDir::new()?;
    for (name, text) in testing::repository(3) {
        write(root.path(), &name, text)?;
    }
    let mut watched = DirectorySource::new(root.path());
    let mut whole = DirectorySource::new(root.path());
    watched.read();
    whole.read();
    let name = "project/project-0/database/orders-1.yaml";
    let path = root.path().join(name);
    let steps: [(&str, &dyn Fn() -> Result<()>); 9] = [
        ("changed", &|| {
            write(root.path(), name, testing::database(1).1 + "# more\n")
        }),
        ("the same", &|| set_age(&path, 5)),
        ("broken", &|| {
            write(
                root.path(),
                name,
                "apiVersion: lowops.manifests.v1\nspec: [\n",
            )
        }),
        ("removed", &|| Ok(fs::remove_file(&path)?)),
        ("back again", &|| {
            write(root.path(), name, testing::database(1).1)
        }),
        ("too large", &|| {
            write(root.path(), name, vec![b'#'; LARGEST_FILE + 1])
        }),
        ("small again", &|| {
            write(root.path(), name, testing::database(1).1)
        }),
        ("a link", &|| {
            fs::remove_file(&path)?;
            Ok(symlink("orders-2.yaml", &path)?)
        }),
        ("a directory", &|| {
            fs::remove_file(&path)?;
            Ok(fs::create_dir(&path)?)
        }),
    ];
    for (what, step) in steps {
        step().with_context(|| what.to_owned())?;
        let changed = watched.read_changed(std::slice::from_ref(&path));
        let all = whole.read();
        assert_eq!(names(&changed), names(&all), "{what}");
        assert_eq!(problems(&changed), problems(&all), "{what}");
        assert_eq!(changed.changes, all.changes, "{what}");
    }
    Ok(())
}
