use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use boma_engine::keys::{DatabaseKey, GrantKey};
use boma_engine::platform::{Binding, Credential, Environment};
use boma_instance::Secret;
use boma_testkit::eventually;

use super::*;
use crate::seal::Sealer;

const PATIENCE: Duration = Duration::from_secs(20);
const PASSWORD: &str = "pw-9f8e7d6c5b4a";

struct Scene {
    dir: tempfile::TempDir,
    applications: Applications,
    key: ApplicationKey,
}

fn reopen(dir: &tempfile::TempDir) -> Applications {
    let layout = Layout::new(dir.path().to_owned());
    let servers = SystemUser {
        name: "databases".to_owned(),
        uid: nix::unistd::Uid::from_raw(4242),
        gid: nix::unistd::Gid::from_raw(4242),
    };
    Applications {
        store: Store::open(&layout.database(), Sealer::new(&[7; 32]).unwrap()).unwrap(),
        layout,
        servers,
        configured: None,
        waker: Waker::default(),
        grace: Duration::from_millis(300),
    }
}

async fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene {
        applications: reopen(&dir),
        dir,
        key: ApplicationKey::new("a/b/c/d", "api"),
    };
    let grant = GrantKey {
        application: scene.key.clone(),
        database: DatabaseKey::new("a/b/c/d", "db"),
    };
    let uri = format!("postgresql://api_1:{PASSWORD}@db.internal:5432/db");
    let environment = Environment {
        fingerprint: "f1".to_owned(),
        plain: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
        secrets: BTreeMap::new(),
        bindings: vec![Binding {
            env_var: "DATABASE_URL".to_owned(),
            grant,
            host: "db.internal".to_owned(),
            port: 5432,
            database: "db".to_owned(),
            credential: Credential {
                role: "api_1".to_owned(),
                password: Secret::new(PASSWORD.to_owned()),
                verifier: Secret::new("v".to_owned()),
                serial: 1,
            },
            uri: Secret::new(uri),
        }],
    };
    let key = scene.key.clone();
    scene
        .applications
        .store
        .write(move |state| state.deliver(&key, &environment))
        .await
        .unwrap();
    scene
}

impl Scene {
    fn program(&self, script: &str) -> Program {
        Program {
            command: ["sh", "-c", script].map(str::to_owned).to_vec(),
            working_directory: Some(self.dir.path().display().to_string()),
        }
    }

    fn log(&self, name: &str) -> String {
        let path = self
            .applications
            .layout
            .application(&self.key)
            .unwrap()
            .join(name);
        std::fs::read_to_string(path).unwrap_or_default()
    }

    async fn row(&self) -> Option<ProcessRow> {
        let key = self.key.clone();
        self.applications
            .store
            .read(move |state| state.process(&key, Role::Main))
            .await
            .unwrap()
    }

    async fn state(&self) -> ProcessState {
        match self.row().await {
            Some(row) => self.applications.state_of(&self.key, &row).await.unwrap(),
            None => ProcessState::NotRunning,
        }
    }

    async fn logged(&self, name: &str, text: &str) {
        eventually(PATIENCE, async || {
            let log = self.log(name);
            if log.contains(text) { Ok(()) } else { Err(log) }
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn it_runs_with_its_environment_and_is_found_again() {
    let scene = scene().await;
    let program =
        scene.program("echo \"$GREETING $DATABASE_URL [$CARGO_PKG_NAME]\"; exec sleep 600");
    let started = scene
        .applications
        .restart(&scene.key, "d1", &program)
        .await
        .unwrap();
    let ProcessState::Running { pid: Some(pid), .. } = started else {
        panic!("{started:?}")
    };
    scene.logged("app.log", "hello postgresql://").await;
    assert!(
        scene.log("app.log").contains("[]"),
        "nothing of our own environment: {}",
        scene.log("app.log")
    );

    let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(!String::from_utf8_lossy(&arguments).contains(PASSWORD));

    let again = reopen(&scene.dir);
    let row = scene.row().await.unwrap();
    assert_eq!(
        again.state_of(&scene.key, &row).await.unwrap(),
        running(&row)
    );
    again.stop(&scene.key).await.unwrap();
    assert!(!row.identity().is_alive());
    assert_eq!(scene.state().await, ProcessState::NotRunning);
    again.stop(&scene.key).await.unwrap();
}

#[tokio::test]
async fn a_restart_replaces_the_process_and_its_children() {
    let scene = scene().await;
    let program = scene.program("trap '' TERM; sleep 600 & sleep 601");
    let quick = scene.program("exec sleep 602");
    scene
        .applications
        .restart(&scene.key, "d1", &program)
        .await
        .unwrap();
    let first = scene.row().await.unwrap();
    scene
        .applications
        .restart(&scene.key, "d2", &quick)
        .await
        .unwrap();
    let second = scene.row().await.unwrap();
    assert!(!first.identity().is_alive());
    assert_ne!(first.pid, second.pid);
    assert_eq!(second.deployment, "d2");
    scene.applications.stop(&scene.key).await.unwrap();
}

#[tokio::test]
async fn an_unexpected_end_wakes_and_is_counted_until_the_deployment_changes() {
    let scene = scene().await;
    let failing = scene.program("exit 3");
    for failures in 1..=2 {
        scene
            .applications
            .restart(&scene.key, "d1", &failing)
            .await
            .unwrap();
        tokio::time::timeout(PATIENCE, scene.applications.waker.woken())
            .await
            .unwrap();
        let state = scene.state().await;
        let ProcessState::Exited {
            deployment,
            failures: seen,
            ..
        } = state
        else {
            panic!("{state:?}")
        };
        assert_eq!((deployment.as_str(), seen), ("d1", failures));
    }
    scene
        .applications
        .restart(&scene.key, "d2", &failing)
        .await
        .unwrap();
    tokio::time::timeout(PATIENCE, scene.applications.waker.woken())
        .await
        .unwrap();
    assert!(matches!(
        scene.state().await,
        ProcessState::Exited { failures: 1, .. }
    ));
}

#[tokio::test]
async fn an_end_while_nobody_looked_is_seen_once() {
    let scene = scene().await;
    let program = scene.program("exec sleep 600");
    scene
        .applications
        .restart(&scene.key, "d1", &program)
        .await
        .unwrap();
    let mut row = scene.row().await.unwrap();
    let real = row.clone();
    // A process of an earlier boot: the same number means nothing.
    row.birth = "an earlier boot/1".to_owned();
    let (key, earlier) = (scene.key.clone(), row.clone());
    scene
        .applications
        .store
        .write(move |state| state.set_process(&key, Role::Main, &earlier))
        .await
        .unwrap();
    let first = scene.state().await;
    assert!(
        matches!(first, ProcessState::Exited { failures: 1, .. }),
        "{first:?}"
    );
    assert_eq!(scene.state().await, first);
    assert!(
        real.identity().is_alive(),
        "a stranger with that number is left alone"
    );
    scene.applications.end(&row).await.unwrap();
    assert!(
        real.identity().is_alive(),
        "a stranger with that number is left alone"
    );
    scene.applications.end(&real).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_started_leaves_the_old_one_running() {
    let scene = scene().await;
    scene
        .applications
        .restart(&scene.key, "d1", &scene.program("exec sleep 600"))
        .await
        .unwrap();
    let row = scene.row().await.unwrap();
    let mut elsewhere = scene.program("true");
    elsewhere.working_directory = Some("/nowhere/at/all".to_owned());
    let problem = scene
        .applications
        .restart(&scene.key, "d2", &elsewhere)
        .await
        .unwrap_err()
        .problem();
    assert_eq!(problem.code, "working-directory");
    assert!(
        problem
            .message
            .contains("use working directory `/nowhere/at/all`"),
        "{problem}"
    );
    assert!(row.identity().is_alive());
    scene.applications.stop(&scene.key).await.unwrap();
}

#[tokio::test]
async fn a_missing_program_is_told_with_what_to_do() {
    let scene = scene().await;
    let mut program = scene.program("");
    program.command = vec!["no-such-program-here".to_owned()];
    let problem = scene
        .applications
        .restart(&scene.key, "d1", &program)
        .await
        .unwrap_err()
        .problem();
    assert_eq!(problem.code, "command-not-found");
    assert!(
        problem.message.starts_with("run `no-such-program-here`"),
        "{problem}"
    );
    assert!(problem.hints[0].starts_with("Install `no-such-program-here`"));
    assert_eq!(scene.state().await, ProcessState::NotRunning);
}

#[tokio::test]
async fn pre_deploy_is_recorded_and_its_last_lines_are_told_without_secrets() {
    let scene = scene().await;
    let good = scene.program("echo migrated");
    assert_eq!(
        scene
            .applications
            .run_pre_deploy(&scene.key, "d1", &good)
            .await
            .unwrap(),
        None
    );
    let bad = scene.program("echo \"cannot reach $DATABASE_URL\" >&2; exit 7");
    let failure = scene
        .applications
        .run_pre_deploy(&scene.key, "d2", &bad)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (failure.code.as_str(), failure.class),
        ("pre-deploy-failed", Class::User)
    );
    assert!(
        failure.message.ends_with("ended with exit status: 7"),
        "{failure}"
    );
    assert_eq!(failure.causes, ["cannot reach [redacted]"]);
    assert!(scene.log("pre-deploy.log.1").contains("migrated"));

    let rows = scene
        .applications
        .store
        .read(|state| state.applications())
        .await
        .unwrap();
    let run = rows[0].pre_deploy.as_ref().unwrap();
    assert_eq!(
        (run.deployment.as_str(), run.failure.as_ref()),
        ("d2", Some(&failure))
    );
    assert!(
        scene
            .applications
            .store
            .read(|state| state.processes(Role::PreDeploy))
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_pre_deploy_left_over_by_a_crash_is_waited_for() {
    let scene = scene().await;
    let gate = scene.dir.path().join("gate");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let slow = scene.program("read line < gate; echo first >> order");
    let prepared = scene
        .applications
        .prepare(&scene.key, &slow, Role::PreDeploy)
        .await
        .unwrap();
    let (mut child, _row) = scene
        .applications
        .start(&scene.key, Role::PreDeploy, "d1", 0, prepared)
        .await
        .unwrap();
    let applications = scene.applications.clone();
    let (key, next) = (scene.key.clone(), scene.program("echo second >> order"));
    let second = tokio::spawn(async move { applications.run_pre_deploy(&key, "d2", &next).await });
    std::fs::write(&gate, "go\n").unwrap();
    assert_eq!(second.await.unwrap().unwrap(), None);
    child.wait().unwrap();
    assert_eq!(
        std::fs::read_to_string(scene.dir.path().join("order")).unwrap(),
        "first\nsecond\n"
    );
}

#[tokio::test]
async fn as_root_it_runs_as_the_owner_and_never_as_the_databases() {
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let mut scene = scene().await;
    let open = std::fs::Permissions::from_mode(0o711);
    std::fs::set_permissions(scene.dir.path(), open).unwrap();
    let theirs = scene.dir.path().join("theirs");
    std::fs::create_dir(&theirs).unwrap();
    std::os::unix::fs::chown(&theirs, Some(65534), Some(65534)).unwrap();
    let mut program =
        scene.program("echo \"I am $(id -u) in $(pwd), groups $(id -G), at home $HOME\"");
    program.working_directory = Some(theirs.display().to_string());
    scene
        .applications
        .restart(&scene.key, "d1", &program)
        .await
        .unwrap();
    scene
        .logged(
            "app.log",
            &format!("I am 65534 in {}, groups 65534,", theirs.display()),
        )
        .await;

    program.working_directory = None;
    scene
        .applications
        .restart(&scene.key, "d2", &program)
        .await
        .unwrap();
    scene
        .logged("app.log", "/applications/a/b/c/d/api/work, groups 65534")
        .await;

    scene.applications.servers.uid = nix::unistd::Uid::from_raw(65534);
    let problem = scene
        .applications
        .restart(&scene.key, "d3", &program)
        .await
        .unwrap_err()
        .problem();
    assert_eq!(problem.code, "application-user-refused");
    assert_eq!(
        problem.message,
        "application `a/b/c/d/api` would run as user `databases`, which the databases run as"
    );
}
