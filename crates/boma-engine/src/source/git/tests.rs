//! Against real repositories, by the real program.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use boma_problem::{IntoProblem, Problem};
use tempfile::TempDir;

use super::*;
use crate::source::Roots;

/// A repository that is fetched from, and a place to fetch to.
struct World {
    dir: TempDir,
}

pub(super) fn git(place: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=Ann", "-c", "user.email=ann@example.com"])
        .args([
            "-c",
            "protocol.file.allow=always",
            "-c",
            "init.defaultBranch=main",
        ])
        .args(arguments)
        .current_dir(place)
        .env_remove("GIT_DIR")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "git {arguments:?}: {text}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(super) fn database(name: &str) -> String {
    format!(
        "apiVersion: lowops.manifests.v1\nkind: Database\nmetadata: {{name: {name}, organization: \
         acme, organizational-unit: eu, environment: dev, project: shop}}\n"
    )
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("remote")).unwrap();
        let world = Self { dir };
        git(&world.remote(), &["init", "--quiet"]);
        world.commit("orders.yaml", &database("orders"), "add orders");
        world
    }

    fn remote(&self) -> PathBuf {
        self.dir.path().join("remote")
    }

    fn place(&self) -> PathBuf {
        self.dir.path().join("place")
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.remote().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn commit(&self, name: &str, text: &str, subject: &str) {
        self.write(name, text);
        self.commit_all(subject);
    }

    fn commit_all(&self, subject: &str) {
        git(&self.remote(), &["add", "--all"]);
        git(&self.remote(), &["commit", "--quiet", "-m", subject]);
    }

    fn source(&self) -> GitSource {
        self.source_of("main", "")
    }

    fn source_of(&self, branch: &str, path: &str) -> GitSource {
        let url = format!("file://{}", self.remote().display());
        let location = GitLocation::new(&url, branch, Path::new(path)).unwrap();
        GitSource::new(location, self.place())
    }
}

async fn read(source: &mut GitSource) -> Snapshot {
    source.read().await.unwrap().unwrap()
}

fn names(snapshot: &Snapshot) -> Vec<String> {
    let files = snapshot.files.iter();
    files.map(|file| file.source.name.to_string()).collect()
}

async fn problem(source: &mut GitSource) -> Problem {
    source.read().await.unwrap_err().problem()
}

#[tokio::test]
async fn a_commit_is_read_with_who_wrote_it_and_the_same_one_is_not_read_again() {
    let world = World::new();
    let mut source = world.source();
    let first = read(&mut source).await;
    assert_eq!(names(&first), ["orders.yaml"]);
    let revision = source.revision().unwrap();
    assert_eq!(revision.author, "Ann <ann@example.com>");
    assert_eq!(revision.subject, "add orders");
    assert_eq!(
        revision.commit,
        git(&world.remote(), &["rev-parse", "HEAD"]).trim()
    );
    assert!(source.read().await.unwrap().is_none());
}

#[tokio::test]
async fn files_that_did_not_change_are_not_read_again() {
    let world = World::new();
    world.commit("billing.yaml", &database("billing"), "add billing");
    let mut source = world.source();
    let first = read(&mut source).await;
    world.commit("orders.yaml", &database("orders2"), "rename orders");
    let second = read(&mut source).await;
    assert_eq!(second.changes, 1);
    assert!(
        std::sync::Arc::ptr_eq(&first.files[0], &second.files[0]),
        "billing was read again"
    );
    world.write("new/more.yaml", &database("more"));
    fs::remove_file(world.remote().join("billing.yaml")).unwrap();
    world.commit_all("another");
    let third = read(&mut source).await;
    assert_eq!(names(&third), ["new/more.yaml", "orders.yaml"]);
}

#[tokio::test]
async fn history_may_be_rewritten() {
    let world = World::new();
    let mut source = world.source();
    read(&mut source).await;
    git(
        &world.remote(),
        &["checkout", "--quiet", "--orphan", "other"],
    );
    fs::remove_file(world.remote().join("orders.yaml")).unwrap();
    world.commit("billing.yaml", &database("billing"), "begin anew");
    git(&world.remote(), &["branch", "--force", "main"]);
    assert_eq!(names(&read(&mut source).await), ["billing.yaml"]);
}

#[tokio::test]
async fn one_directory_of_one_branch_is_read() {
    let world = World::new();
    git(&world.remote(), &["checkout", "--quiet", "-b", "release/1"]);
    world.commit("db/eu/billing.yaml", &database("billing"), "billing");
    let mut source = world.source_of("release/1", "db/eu");
    assert_eq!(names(&read(&mut source).await), ["billing.yaml"]);
    // What changes elsewhere is another commit, and no other manifest.
    world.commit("README.md", "hello", "words");
    assert_eq!(read(&mut source).await.changes, 0);
    assert_eq!(source.revision().unwrap().subject, "words");
    git(&world.remote(), &["rm", "-r", "--quiet", "db"]);
    world.commit_all("away with it");
    let gone = problem(&mut source).await;
    assert_eq!(gone.code, "git-no-such-path");
    let text = gone.to_string();
    assert!(
        text.contains("there is no directory `db/eu` in commit"),
        "{text}"
    );
}

#[tokio::test]
async fn a_remote_that_vanishes_is_a_problem_that_passes() {
    let world = World::new();
    let mut source = world.source();
    read(&mut source).await;
    let away = world.dir.path().join("away");
    fs::rename(world.remote(), &away).unwrap();
    let vanished = problem(&mut source).await;
    assert_eq!(vanished.code, "git-fetch-failed");
    let text = vanished.to_string();
    assert!(
        text.contains("branch main") && text.contains("does not appear to be"),
        "{text}"
    );
    fs::rename(away, world.remote()).unwrap();
    assert!(source.read().await.unwrap().is_none());
    world.commit("orders.yaml", &database("orders3"), "go on");
    assert_eq!(read(&mut source).await.changes, 1);
}

#[tokio::test]
async fn what_is_damaged_or_was_left_half_way_is_made_again() {
    let world = World::new();
    let mut source = world.source();
    read(&mut source).await;
    // As a checkout that was killed leaves it, and a person who edits where nothing is to be edited.
    fs::write(world.place().join(".git/index.lock"), "").unwrap();
    fs::write(world.place().join("mine.yaml"), "x").unwrap();
    world.commit("billing.yaml", &database("billing"), "add billing");
    assert_eq!(
        names(&read(&mut source).await),
        ["billing.yaml", "orders.yaml"]
    );
    fs::write(world.place().join(".git/HEAD"), "nonsense").unwrap();
    world.commit("billing.yaml", &database("billing2"), "change billing");
    assert_eq!(read(&mut source).await.files.len(), 2);
    assert_eq!(source.revision().unwrap().subject, "change billing");
}

#[tokio::test]
async fn nothing_of_the_repository_is_executed_or_followed() {
    let world = World::new();
    let secret = world.dir.path().join("secret.yaml");
    fs::write(&secret, "password: hunter2").unwrap();
    symlink(&secret, world.remote().join("link.yaml")).unwrap();
    let other = world.dir.path().join("other");
    fs::create_dir(&other).unwrap();
    git(&other, &["init", "--quiet"]);
    fs::write(other.join("inner.yaml"), database("inner")).unwrap();
    git(&other, &["add", "--all"]);
    git(&other, &["commit", "--quiet", "-m", "inner"]);
    git(
        &world.remote(),
        &[
            "submodule",
            "--quiet",
            "add",
            other.to_str().unwrap(),
            "module",
        ],
    );
    world.commit_all("traps");
    let place = world.place();
    fs::create_dir_all(&place).unwrap();
    git(&place, &["init", "--quiet"]);
    let hook = place.join(".git/hooks/post-checkout");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\ntouch \"$(dirname \"$0\")/ran\"\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let mut source = world.source();
    let snapshot = read(&mut source).await;
    assert_eq!(names(&snapshot), ["orders.yaml"]);
    assert_eq!(snapshot.problems.len(), 1);
    assert_eq!(snapshot.problems[0].code, "link-refused");
    assert!(!snapshot.problems[0].to_string().contains("hunter2"));
    assert!(!hook.with_file_name("ran").exists());
}

#[test]
fn an_address_is_checked() {
    let refused = |url: &str, branch: &str, path: &str| {
        let problem = GitLocation::new(url, branch, Path::new(path))
            .unwrap_err()
            .problem();
        assert_eq!(problem.code, "git-location-refused");
        problem.message
    };
    for url in [
        "ext::sh -c true",
        "https://",
        "-u://x",
        "ftp://host/x",
        "https://h/x\n",
    ] {
        assert!(
            refused(url, "main", "").contains("no address of a repository"),
            "{url}"
        );
    }
    let message = refused("https://ann:hunter2@host/x", "main", "");
    assert_eq!(
        message,
        "there is a password in the address of the repository"
    );
    for branch in [
        "", "-x", "a..b", "a b", "x.lock", "a//b", "HEAD@{1}", ".a", "a:b",
    ] {
        let message = refused("https://host/x", branch, "");
        assert_eq!(message, format!("`{branch}` is no name of a branch"));
    }
    for path in ["/etc", "../x", "a/../../x", ".git", "a/.GIT/x"] {
        let message = refused("https://host/x", "main", path);
        assert_eq!(message, format!("`{path}` is no path within a repository"));
    }
    let good = GitLocation::new("ssh://git@host/x.git", "release/1", Path::new("a/./b")).unwrap();
    assert_eq!(
        good.to_string(),
        "ssh://git@host/x.git, branch release/1, directory a/./b"
    );
    assert_eq!(good.below(Path::new("/p")), Path::new("/p/a/b"));
    assert_eq!(good.to_string().parse(), Ok(good.clone()));
    let name = good.directory_name();
    assert!(name.starts_with("x-") && name.len() == 18, "{name}");
    let other = GitLocation::new("ssh://git@host/x.git", "main", Path::new("")).unwrap();
    assert_eq!(other.to_string().parse(), Ok(other.clone()));
    assert_ne!(other.directory_name(), name);
}

#[tokio::test]
async fn a_branch_that_is_not_there_and_a_place_that_cannot_be_written_are_told() {
    let world = World::new();
    let mut source = world.source_of("nowhere", "");
    let missing = problem(&mut source).await;
    assert_eq!(missing.code, "git-fetch-failed");
    assert!(missing.to_string().contains("nowhere"), "{missing}");
    fs::remove_dir_all(world.place()).unwrap();
    fs::write(world.place(), "a file").unwrap();
    let unwritable = problem(&mut source).await;
    assert_eq!(unwritable.code, "git-place-unwritable");
    assert!(unwritable.to_string().contains("write `"), "{unwritable}");
}

#[test]
fn the_other_problems_have_their_words() {
    let location = GitLocation::new("https://host/x", "main", Path::new("")).unwrap();
    let location = Box::new(location);
    let text = |error: GitError| {
        let problem = error.problem();
        (problem.code.clone(), problem.message)
    };
    let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
    assert_eq!(
        text(GitError::NoProgram(missing)),
        ("git-missing".into(), "run `git`".into())
    );
    let command = || "checkout".to_owned();
    let (code, message) = text(GitError::Failed {
        command: command(),
        output: "fatal: no".into(),
    });
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("git-failed", "`git checkout` failed: fatal: no")
    );
    let (code, message) = text(GitError::TooSlow {
        command: command(),
        patience: Duration::from_mins(1),
    });
    let slow = "`git checkout` took more than 60 s";
    assert_eq!((code.as_str(), message.as_str()), ("git-too-slow", slow));
    let (code, message) = text(GitError::Unreadable { location });
    assert_eq!(code, "git-failed");
    let expected =
        "what git says of the newest commit of https://host/x, branch main cannot be read";
    assert_eq!(message, expected);
}

#[tokio::test]
async fn of_each_file_it_is_known_who_changed_it_last() {
    let world = World::new();
    world.commit("stock.yaml", &database("stock"), "add stock");
    world.commit(
        "orders.yaml",
        &(database("orders") + "spec: {}\n"),
        "orders: more",
    );
    let mut source = world.source();
    read(&mut source).await;
    let of = async |file: &str| LastChange::of(&Roots::one(world.place()), file).await;
    let orders = of("orders.yaml").await.unwrap();
    assert_eq!(orders.revision.subject, "orders: more");
    assert_eq!(orders.revision.author, "Ann <ann@example.com>");
    assert!(orders.is_exact && !orders.is_modified, "{orders:?}");
    assert_eq!(
        of("stock.yaml").await.unwrap().revision.subject,
        "add stock"
    );
    fs::write(world.place().join("stock.yaml"), "other").unwrap();
    assert!(of("stock.yaml").await.unwrap().is_modified);
    assert_eq!(of("*.yaml").await, None);

    let files = ["orders.yaml", "stock.yaml", "none.yaml"];
    let all = LastChange::of_all(&Roots::one(world.place()), &files.into()).await;
    let known: Vec<_> = all
        .iter()
        .map(|(file, change)| (&**file, &*change.revision.subject, change.is_modified))
        .collect();
    let expected = [
        ("orders.yaml", "orders: more", false),
        ("stock.yaml", "add stock", true),
    ];
    assert_eq!(known, expected);

    // What was not fetched is not known.
    for number in 0..100 {
        world.commit("stock.yaml", &format!("# {number}\n"), "stock again");
    }
    read(&mut source).await;
    let orders = of("orders.yaml").await.unwrap();
    assert!(
        !orders.is_exact && orders.revision.subject == "stock again",
        "{orders:?}"
    );
    assert!(of("stock.yaml").await.unwrap().is_exact);
    let all = LastChange::of_all(&Roots::one(world.place()), &files.into()).await;
    let exact = |file: &str| all[file].is_exact;
    assert!(exact("stock.yaml") && !exact("orders.yaml"), "{all:?}");
    assert_eq!(
        LastChange::of(&Roots::one(world.dir.path()), "remote").await,
        None
    );
}

#[test]
fn an_address_may_name_its_branch_and_directory() {
    let of = |address: &str| {
        let location = GitLocation::of_address(address, "main", Path::new("usual"));
        let GitLocation { url, branch, path } = location.unwrap();
        (url, branch, path.display().to_string())
    };
    let expected = |branch: &str, path: &str| {
        let url = "https://host/x.git".to_owned();
        (url, branch.to_owned(), path.to_owned())
    };
    for (end, branch, path) in [
        ("", "main", "usual"),
        ("#other", "other", "usual"),
        ("#other:db", "other", "db"),
        ("#:db", "main", "db"),
        ("#other:", "other", ""),
    ] {
        let address = format!("https://host/x.git{end}");
        assert_eq!(of(&address), expected(branch, path), "{address}");
    }
    let outside = GitLocation::of_address("https://host/x#main:../y", "main", Path::new(""));
    assert!(
        matches!(outside, Err(LocationError::Path(_))),
        "{outside:?}"
    );
}

#[tokio::test]
async fn a_repository_that_never_answers_is_given_up_with_all_that_asks_it() {
    let world = World::new();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/x.git", silent.local_addr().unwrap());
    let git = Git::around(&world.remote());
    let asking = ["ls-remote", url.as_str()];
    let (mut stream, _) = tokio::select! {
        answer = git.run(&asking, PATIENCE) => panic!("it is silent: {answer:?}"),
        accepted = silent.accept() => accepted.unwrap(),
    };
    // Nobody holds the other end any more.
    let mut sink = tokio::io::sink();
    let end = tokio::io::copy(&mut stream, &mut sink);
    tokio::time::timeout(PATIENCE, end).await.unwrap().unwrap();
    let late = git.run(&asking, Duration::from_millis(1)).await;
    assert!(matches!(late, Err(GitError::TooSlow { .. })), "{late:?}");
}

#[tokio::test]
async fn half_an_answer_changes_nothing() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let world = World::new();
    let mut whole = world.source();
    read(&mut whole).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/x.git", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let _asked = stream.read(&mut request).await.unwrap();
        let half = "HTTP/1.1 200 OK\r\n\
                    content-type: application/x-git-upload-pack-advertisement\r\n\
                    content-length: 4096\r\n\r\n001e# service=git-upload-pack\n00000";
        stream.write_all(half.as_bytes()).await.unwrap();
    });
    let location = GitLocation::new(&url, "main", Path::new("")).unwrap();
    let problem = problem(&mut GitSource::new(location, world.place())).await;
    server.await.unwrap();
    assert_eq!(problem.code, "git-fetch-failed", "{problem:?}");
    assert_eq!(whole.read().await.unwrap().map(|all| all.files.len()), None);
}
