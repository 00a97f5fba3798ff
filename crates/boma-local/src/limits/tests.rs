use super::*;

const V1: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:4 - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw";

fn resources(cpu_millis: u32, memory_mib: u64) -> Resources {
    Resources {
        cpu_millis,
        memory_bytes: memory_mib << 20,
        storage_bytes: 1 << 30,
    }
}

fn id(number: u128) -> InstanceId {
    InstanceId(uuid::Uuid::from_u128(number << 96))
}

/// A directory with the files of a group stands for one: files keep what is written, too.
fn group_v2(dir: &Path, id: InstanceId) -> Limits {
    let group = dir.join(id.short());
    fs::create_dir_all(&group).unwrap();
    for (file, text) in [
        ("cpu.max", "max 100000"),
        ("memory.high", "max"),
        ("memory.max", "max"),
        ("memory.current", "0"),
    ] {
        fs::write(group.join(file), text).unwrap();
    }
    Limits::V2 {
        parent: dir.to_owned(),
    }
}

fn read(dir: &Path, id: InstanceId, file: &str) -> String {
    fs::read_to_string(dir.join(id.short()).join(file)).unwrap()
}

#[test]
fn version_1_is_for_root() {
    let found = find(V1, "0::/", true).unwrap();
    let Limits::V1 { cpu, memory } = found else {
        panic!("{found:?}")
    };
    assert_eq!(cpu, Path::new("/sys/fs/cgroup/cpu/boma"));
    assert_eq!(memory, Path::new("/sys/fs/cgroup/memory/boma"));
    let why = find(V1, "0::/", false).unwrap_err();
    assert_eq!(
        why,
        "this system has control groups of version 1, which only root may use"
    );
    assert!(
        find("", "", true)
            .unwrap_err()
            .contains("no control groups")
    );
}

#[test]
fn version_2_needs_both_controllers_and_the_right() {
    let dir = tempfile::tempdir().unwrap();
    let mounts = format!(
        "41 31 0:38 / {} rw - cgroup2 cgroup2 rw",
        dir.path().display()
    );
    fs::write(dir.path().join("cgroup.controllers"), "cpu io").unwrap();
    assert!(
        find(&mounts, "0::/", true)
            .unwrap_err()
            .starts_with("the controller memory was not handed down")
    );
    fs::write(dir.path().join("cgroup.controllers"), "cpu io memory").unwrap();
    assert!(matches!(find(&mounts, "0::/", true), Ok(Limits::V2 { .. })));
    assert!(
        find(&mounts, "0::/user/a", false)
            .unwrap_err()
            .starts_with("no control group was delegated")
    );

    let mine = dir.path().join("user/a");
    fs::create_dir_all(&mine).unwrap();
    for file in ["cgroup.procs", "cgroup.subtree_control"] {
        fs::write(mine.join(file), "").unwrap();
    }
    fs::write(mine.join("cgroup.controllers"), "cpu memory").unwrap();
    let found = find(&mounts, "0::/user/a", false).unwrap();
    let Limits::V2 { parent } = found else {
        panic!("{found:?}")
    };
    assert_eq!(parent, mine.join("boma"));
}

#[test]
fn limits_are_raised_at_once_and_lowered_when_there_is_room() {
    let (dir, id) = (tempfile::tempdir().unwrap(), id(1));
    let limits = group_v2(dir.path(), id);
    limits
        .set(id, &resources(500, 1024), Change::RaiseOnly)
        .unwrap();
    assert_eq!(read(dir.path(), id, "cpu.max"), "50000 100000");
    assert_eq!(
        read(dir.path(), id, "memory.high"),
        (1_u64 << 30).to_string()
    );
    assert_eq!(
        read(dir.path(), id, "memory.max"),
        ((1_u64 << 30) + (128 << 20)).to_string()
    );
    limits.check(id, &resources(500, 1024)).unwrap();

    limits
        .set(id, &resources(250, 512), Change::RaiseOnly)
        .unwrap();
    limits.check(id, &resources(500, 1024)).unwrap();

    fs::write(
        dir.path().join(id.short()).join("memory.current"),
        (900 << 20).to_string(),
    )
    .unwrap();
    limits.set(id, &resources(250, 512), Change::Exact).unwrap();
    let why = limits.check(id, &resources(250, 512)).unwrap_err();
    assert!(why.contains("memory.max` is "), "{why}");
    fs::write(
        dir.path().join(id.short()).join("memory.current"),
        (100 << 20).to_string(),
    )
    .unwrap();
    limits.set(id, &resources(250, 512), Change::Exact).unwrap();
    limits.check(id, &resources(250, 512)).unwrap();
}

#[test]
fn small_machines_get_the_least_that_the_kernel_takes() {
    let (dir, id) = (tempfile::tempdir().unwrap(), id(2));
    let limits = group_v2(dir.path(), id);
    limits.set(id, &resources(1, 16), Change::Exact).unwrap();
    assert_eq!(read(dir.path(), id, "cpu.max"), "1000 100000");
    assert_eq!(
        read(dir.path(), id, "memory.max"),
        (112_u64 << 20).to_string()
    );
}

#[test]
fn switched_off_says_so() {
    let limits = Limits::probe(false);
    assert_eq!(
        limits.capability(),
        Err("switched off in `config.toml`".to_owned())
    );
    assert!(limits.groups(id(1)).is_empty());
    limits.set(id(1), &resources(1, 1), Change::Exact).unwrap();
}

#[test]
fn a_failure_names_the_group() {
    let limits = Limits::V2 {
        parent: "/nowhere/boma".into(),
    };
    let problem = limits
        .set(id(1), &resources(1, 1), Change::Exact)
        .unwrap_err()
        .problem();
    assert_eq!(problem.code, "limits-not-set");
    assert!(
        problem
            .message
            .starts_with("make control group `/nowhere/boma/"),
        "{problem}"
    );
}

/// The real thing, where this machine and user allow it.
#[test]
fn a_process_in_the_group_is_limited() {
    let limits = Limits::probe(true);
    if limits.capability().is_err() {
        return;
    }
    let id = id(u128::from(std::process::id()));
    limits.set(id, &resources(250, 64), Change::Exact).unwrap();
    limits.check(id, &resources(250, 64)).unwrap();
    limits.set(id, &resources(500, 128), Change::Exact).unwrap();
    limits.check(id, &resources(500, 128)).unwrap();
    let mut script = "cat /proc/self/cgroup".to_owned();
    for group in limits.groups(id) {
        script = format!("echo 0 > {}/cgroup.procs; {script}", group.display());
    }
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains(&format!("/boma/{}", id.short())), "{text}");
    limits.remove(id).unwrap();
    limits.remove(id).unwrap();
    assert!(limits.check(id, &resources(500, 128)).is_err());
}
