use boma_engine::keys::DatabaseKey;
use boma_engine::platform::Workload;
use jiff::Timestamp;

use super::*;

const PROJECT: &str = "fincorp/retail/development/login-svc";

fn row() -> ApplicationRow {
    let mut row = ApplicationRow::new(ApplicationKey::new(PROJECT, "auth-api"));
    let text = Variable::Text("costs $(PRICE)".into());
    let secret = Variable::Secret {
        name: "auth-api.accounts-db".into(),
        key: "DATABASE_URL".into(),
    };
    row.variables.insert("NOTE".into(), text);
    row.variables.insert("DATABASE_URL".into(), secret);
    row.bindings
        .insert(DatabaseKey::new(PROJECT, "accounts-db"), "d1".into());
    row.aliases
        .insert("accounts-db.internal".into(), "10.96.0.7".parse().unwrap());
    row
}

fn run() -> RunRow {
    RunRow {
        deployment: "0123456789abcdef".into(),
        workload: Workload::Containers {
            image: "auth:1".into(),
            port: Some(8080),
            replicas: 2,
        },
        container: None,
        restarts: 0,
        since: Timestamp::UNIX_EPOCH,
    }
}

fn with<T>(row: &ApplicationRow, look: impl FnOnce(Running<'_>) -> T) -> T {
    look(Running {
        home: "boma-system",
        namespace: "login-svc-development",
        row,
        pull_secrets: &["registry".to_owned()],
    })
}

fn yaml(wanted: &Desired) -> String {
    serde_saphyr::to_string(&wanted.object()).unwrap()
}

fn program() -> Program {
    Program {
        command: vec!["migrate".into(), "up".into()],
        working_directory: None,
    }
}

#[test]
fn the_objects_of_an_application() {
    with(&row(), |running| {
        let image = ("auth:1", Some(8080), 2);
        insta::assert_snapshot!("deployment", yaml(&running.deployment(&run(), image)));
        let theirs = (Kind::StatefulSet, "auth", "web");
        insta::assert_snapshot!("attached", yaml(&running.attached(&run(), theirs)));
        let job = running.job("0123456789abcdef", &program(), "auth:1");
        insta::assert_snapshot!("job", yaml(&job));
    });
}

#[test]
fn only_what_a_pod_is_made_of_makes_another_one() {
    let template = |row: &ApplicationRow, run: &RunRow, replicas| {
        with(row, |running| {
            let image = ("auth:1", Some(8080), replicas);
            running.deployment(run, image).body["spec"]["template"].clone()
        })
    };
    let before = template(&row(), &run(), 2);
    assert_eq!(template(&row(), &run(), 5), before);
    let renamed = RunRow {
        deployment: "another".into(),
        ..run()
    };
    assert_eq!(template(&row(), &renamed, 2), before);
    let mut other = row();
    other
        .bindings
        .insert(DatabaseKey::new(PROJECT, "accounts-db"), "d2".into());
    assert_ne!(template(&other, &run(), 2), before, "another secret");
    let asked = RunRow {
        restarts: 1,
        ..run()
    };
    assert_ne!(template(&row(), &asked, 2), before, "somebody asked for it");
}

#[test]
fn a_job_beside_a_workload_is_its_container_without_what_serves() {
    let template = json!({"spec": {
        "serviceAccountName": "auth",
        "restartPolicy": "Always",
        "containers": [
            {"name": "mesh", "image": "m"},
            {
                "name": "web",
                "image": "auth:1",
                "command": ["serve"],
                "args": ["--port"],
                "ports": [{"containerPort": 80}],
                "livenessProbe": {"tcpSocket": {"port": 80}},
                "env": [{"name": "OWN", "value": "1"}, {"name": "NOTE", "value": "old"}],
            },
        ],
    }});
    let job = with(&row(), |running| {
        running.job_beside("0123456789abcdef", &program(), (&template, "web"))
    });
    let pod = &job.body["spec"]["template"]["spec"];
    assert_eq!(pod["serviceAccountName"], "auth");
    assert_eq!(pod["restartPolicy"], "Never");
    assert_eq!(pod["containers"].as_array().unwrap().len(), 1);
    let container = &pod["containers"][0];
    assert_eq!(container["command"], json!(["migrate", "up"]));
    for gone in ["args", "ports", "livenessProbe"] {
        assert!(container.get(gone).is_none(), "{gone}");
    }
    let names: Vec<_> = container["env"].as_array().unwrap().iter().collect();
    let names: Vec<_> = names
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["OWN", "DATABASE_URL", "NOTE"]);
    assert_eq!(job.name, "auth-api-pre-deploy-01234567");
}
