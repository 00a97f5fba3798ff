use std::os::unix::fs::PermissionsExt;

use super::*;

fn me() -> SystemUser {
    SystemUser {
        name: "me".to_owned(),
        uid: Uid::effective(),
        gid: Gid::effective(),
    }
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn it_makes_everything_once_and_leaves_it_the_second_time() {
    let dir = scratch();
    let layout = Layout::new(dir.path().join("deep/state"));
    layout.prepare(&me()).unwrap();
    layout.prepare(&me()).unwrap();
    assert_eq!(inspect(layout.root()).unwrap().mode() & 0o777, 0o700);
    assert!(layout.templates().is_dir());
}

#[test]
fn a_deep_state_directory_is_refused_before_anything_is_made() {
    let dir = scratch();
    let root = dir.path().join("x".repeat(90));
    let problem = Layout::new(root.clone())
        .prepare(&me())
        .unwrap_err()
        .problem();
    assert_eq!(problem.code, "socket-path-too-long");
    assert!(
        problem.message.contains("is too deep for Unix sockets"),
        "{problem}"
    );
    assert!(!root.exists());
}

#[test]
fn a_state_directory_that_others_may_write_is_refused() {
    let dir = scratch();
    chmod(dir.path(), 0o777);
    let problem = Layout::new(dir.path().to_owned())
        .prepare(&me())
        .unwrap_err()
        .problem();
    assert_eq!(problem.code, "state-exposed");
    assert!(
        problem
            .message
            .ends_with("can be written by other users (mode 0777)"),
        "{problem}"
    );
    assert!(problem.hints[0].starts_with("Take the right away: `chmod go-w "));
}

#[test]
fn a_file_in_the_way_is_named() {
    let dir = scratch();
    let file = dir.path().join("state");
    std::fs::write(&file, "").unwrap();
    let problem = Layout::new(file).prepare(&me()).unwrap_err().problem();
    assert_eq!(problem.code, "state-not-a-directory");
}

#[test]
fn as_root_the_system_user_must_be_able_to_get_there() {
    if !Uid::effective().is_root() {
        return;
    }
    let nobody = SystemUser {
        name: "nobody".to_owned(),
        uid: Uid::from_raw(65534),
        gid: Gid::from_raw(65534),
    };
    let dir = scratch();
    chmod(dir.path(), 0o700);
    let layout = Layout::new(dir.path().join("state"));
    let problem = layout.prepare(&nobody).unwrap_err().problem();
    assert_eq!(problem.code, "state-unreachable");
    assert!(
        problem.message.starts_with("user nobody cannot enter `"),
        "{problem}"
    );
    assert!(problem.hints[0].contains("chmod o+x"));

    chmod(dir.path(), 0o711);
    layout.prepare(&nobody).unwrap();
    let id = InstanceId(uuid::Uuid::from_u128(7));
    layout.prepare_instance(id, &nobody).unwrap();
    let meta = inspect(&layout.run(id)).unwrap();
    assert_eq!((meta.uid(), meta.mode() & 0o777), (65534, 0o700));
    assert_eq!(inspect(layout.root()).unwrap().mode() & 0o777, 0o711);
}

#[test]
fn a_state_directory_of_somebody_else_is_refused() {
    if !Uid::effective().is_root() {
        return;
    }
    let dir = scratch();
    std::os::unix::fs::chown(dir.path(), Some(65534), None).unwrap();
    let problem = Layout::new(dir.path().to_owned())
        .prepare(&me())
        .unwrap_err()
        .problem();
    assert_eq!(problem.code, "state-wrong-owner");
    assert!(
        problem
            .message
            .ends_with("belongs to user 65534, and this is user 0"),
        "{problem}"
    );
}

#[test]
fn a_state_directory_that_cannot_be_written_says_so() {
    let error = LayoutError::Io {
        doing: "create",
        path: PathBuf::from("/var/lib/boma"),
        source: io::ErrorKind::PermissionDenied.into(),
    };
    let problem = error.problem();
    assert_eq!(problem.code, "state-not-writable");
    assert_eq!(
        problem.to_string(),
        "create `/var/lib/boma`: permission denied"
    );
    assert_eq!(
        problem.hints,
        ["Make `/var/lib/boma` writable for you, or choose another place with `--state-dir`."]
    );
}

#[test]
fn application_directories_stay_inside() {
    let layout = Layout::new(PathBuf::from("/s"));
    let path = layout
        .application(&ApplicationKey::new("a/b/c/d", "api"))
        .unwrap();
    assert_eq!(path, PathBuf::from("/s/applications/a/b/c/d/api"));
    for (project, name) in [
        ("a/../b", "x"),
        ("a", ".."),
        ("a//b", "x"),
        ("a", "x/y"),
        ("", "x"),
    ] {
        let problem = layout
            .application(&ApplicationKey::new(project, name))
            .unwrap_err()
            .problem();
        assert_eq!(problem.code, "unsafe-name");
    }
}
