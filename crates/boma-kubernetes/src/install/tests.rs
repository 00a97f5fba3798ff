use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http_body_util::BodyExt as _;
use kube::client::Body;

use super::*;

fn options(sources: Vec<InstalledSource>) -> InstallOptions {
    InstallOptions {
        namespace: "boma-system".into(),
        image: "registry.example/boma:0.1.0".into(),
        pull_secrets: vec!["registry".into()],
        replicas: 2,
        sources,
        dashboard: None,
        config: "[kubernetes]\n".into(),
    }
}

#[test]
fn the_objects_of_an_installation() {
    let objects = options(vec![InstalledSource::ConfigMap("databases".into())]).objects();
    let texts = objects
        .iter()
        .map(|one| serde_saphyr::to_string(one).unwrap());
    insta::assert_snapshot!("objects", texts.collect::<Vec<_>>().join("---\n"));
    let git = ["https://git.example/m.git", "--branch", "main"].map(str::to_owned);
    let git = options(vec![
        InstalledSource::CustomResources,
        InstalledSource::Git(git.to_vec()),
    ])
    .deployment();
    let container = &git["spec"]["template"]["spec"]["containers"][0];
    let arguments = container["args"].to_string();
    assert!(
        arguments.ends_with(
            "\"serve\",\"custom-resources\",\"https://git.example/m.git\",\"--branch\",\"main\",\"--admission\",\"0.0.0.0:9443\"]"
        ),
        "{arguments}"
    );
    assert!(!git.to_string().contains(MANIFESTS));
}

#[test]
fn every_right_is_in_the_documentation_with_its_reason() {
    let page = include_str!("../../../../docs/kubernetes.md");
    let all = [
        (&RIGHTS[..], ""),
        (&OWN_RIGHTS[..], ", in Boma's namespace"),
        (&[admission::RIGHT][..], ", its own"),
        (&dashboard::RIGHTS[..], ", with a dashboard"),
    ];
    for (rights, scope) in all {
        for right in rights {
            let (resources, verbs) = (right.resources.join(", "), right.verbs.join(", "));
            let line = format!("| {resources}{scope} | {verbs} | {} |", right.why);
            assert!(page.contains(&line), "{line}");
        }
    }
    let table = page.split_once("| what | verbs | why |\n|---|---|---|\n");
    let table = table.unwrap().1.lines().take_while(|line| !line.is_empty());
    let had: usize = all.iter().map(|(rights, _)| rights.len()).sum();
    assert_eq!(table.count(), had, "a right that nobody has");
}

#[test]
fn the_api_server_is_led_to_boma_where_it_reads_custom_resources() {
    let without = options(vec![InstalledSource::ConfigMap("databases".into())]).objects();
    let with = options(vec![InstalledSource::CustomResources]).objects();
    assert_eq!(with.len(), without.len() + 2);
    let texts = with[without.len() - 1..with.len() - 1]
        .iter()
        .map(|one| serde_saphyr::to_string(one).unwrap());
    insta::assert_snapshot!("admission", texts.collect::<Vec<_>>().join("---\n"));
    let role = with
        .iter()
        .find(|one| one["kind"] == "ClusterRole")
        .unwrap();
    let rules = role["rules"].as_array().unwrap();
    let own = json!(["boma.boma-system"]);
    assert_eq!(rules.last().unwrap()["resourceNames"], own);
}

#[test]
fn a_dashboard_is_reached_from_within_or_by_a_proxy_that_asks_whether_it_is_there() {
    let with = |dashboard, source| InstallOptions {
        dashboard,
        ..options(vec![source])
    };
    let find = |objects: &[Value], kind: &str, name: &str| -> Option<Value> {
        let mut all = objects.iter();
        let found = all.find(|one| one["kind"] == kind && one["metadata"]["name"] == name);
        found.cloned()
    };
    let none = with(None, InstalledSource::CustomResources).objects();
    assert_eq!(find(&none, "Service", "boma-dashboard"), None);
    assert!(!serde_json::to_string(&none).unwrap().contains("pods/log"));
    for (reach, address, has_probe) in [
        (InstalledDashboard::Forwarded, "127.0.0.1:9480", false),
        (InstalledDashboard::BehindProxy, "0.0.0.0:9480", true),
    ] {
        let objects = with(Some(reach), InstalledSource::CustomResources).objects();
        let service = find(&objects, "Service", "boma-dashboard").unwrap();
        assert_eq!(service["spec"]["type"], "ClusterIP");
        let deployment = find(&objects, "Deployment", "boma").unwrap();
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let arguments = container["args"].to_string();
        assert!(
            arguments.ends_with(&format!("\"--dashboard\",\"{address}\"]")),
            "{arguments}"
        );
        assert_eq!(container["readinessProbe"].is_object(), has_probe);
        let role = find(&objects, "ClusterRole", "boma:boma-system").unwrap();
        let written = json!({
            "apiGroups": [GROUP], "resources": ["databases", "applications"],
            "verbs": ["create", "patch", "delete"],
        });
        assert!(role["rules"].as_array().unwrap().contains(&written));
    }
    let map = InstalledSource::ConfigMap("databases".into());
    let objects = with(Some(InstalledDashboard::Forwarded), map).objects();
    let role = find(&objects, "ClusterRole", "boma:boma-system").unwrap();
    let role = role.to_string();
    assert!(
        role.contains("pods/log") && !role.contains("people make"),
        "{role}"
    );
}

#[test]
fn nobody_is_given_everything() {
    let text = serde_json::to_string(&[rules(&RIGHTS), rules(&dashboard::RIGHTS)]).unwrap();
    for much in ["*", "deletecollection", "escalate", "impersonate", "rbac"] {
        assert!(!text.contains(much), "{much}");
    }
}

#[test]
fn what_other_options_left_is_named() {
    let names = |sources, dashboard| {
        let options = InstallOptions {
            dashboard,
            ..options(sources)
        };
        let left = superfluous(&options).into_iter();
        left.map(|one| format!("{} {}", one["kind"], one["metadata"]["name"]).replace('"', ""))
            .collect::<Vec<_>>()
    };
    let resources = || vec![InstalledSource::CustomResources];
    let forwarded = Some(InstalledDashboard::Forwarded);
    assert!(names(resources(), forwarded).is_empty());
    assert_eq!(names(resources(), None), ["Service boma-dashboard"]);
    let map = vec![InstalledSource::ConfigMap("databases".into())];
    let webhook = [
        "Service boma",
        "ValidatingWebhookConfiguration boma.boma-system",
    ];
    assert_eq!(names(map, forwarded), webhook);
}

/// An API server that knows these paths and the objects at them; whatever else is changed there, it
/// takes. Answers with what was deleted and applied, in order.
fn api_server(there: Vec<(String, Value)>) -> (Client, Arc<Mutex<Vec<String>>>) {
    let changes = Arc::new(Mutex::new(Vec::new()));
    let noted = changes.clone();
    let answer = tower::service_fn(move |request: hyper::Request<Body>| {
        let path = request.uri().path().to_owned();
        let mut known = there.iter().filter(|(at, _)| *at == path);
        let known = known.next().map(|(_, object)| object.clone());
        let method = request.method().clone();
        if method != "GET" {
            noted.lock().unwrap().push(format!("{method} {path}"));
        }
        async move {
            let sent = request.into_body().collect().await.unwrap().to_bytes();
            let (code, body) = match (method.as_str(), known) {
                ("GET", _) if path == "/version" => (200, version()),
                ("GET" | "DELETE", Some(known)) => (200, known),
                ("PATCH", _) => (200, serde_json::from_slice(&sent).unwrap()),
                _ => (
                    404,
                    json!({"kind": "Status", "status": "Failure", "code": 404}),
                ),
            };
            let body = hyper::Response::builder()
                .status(code)
                .body(Body::from(serde_json::to_vec(&body).unwrap()));
            Ok::<_, Infallible>(body.unwrap())
        }
    });
    (Client::new(answer, "default"), changes)
}

fn version() -> Value {
    let fields = ["gitVersion", "gitCommit", "gitTreeState", "buildDate"];
    let more = ["goVersion", "compiler", "platform"];
    let mut version = json!({"major": "1", "minor": "33"});
    for field in fields.into_iter().chain(more) {
        version[field] = json!("");
    }
    version
}

#[tokio::test]
async fn installing_again_without_custom_resources_takes_the_webhook_away_first() {
    let with = options(vec![InstalledSource::CustomResources]);
    let webhook =
        "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/boma.boma-system";
    let service = "/api/v1/namespaces/boma-system/services/boma";
    let dashboard = format!("{service}-dashboard");
    let [own_service, own_webhook] = admission::objects(&with);
    // Somebody else's, of the same name.
    let mut theirs = own_service.clone();
    theirs["metadata"]["labels"] = json!({});
    let (client, changes) = api_server(vec![
        (webhook.to_owned(), own_webhook),
        (service.to_owned(), own_service),
        (dashboard, theirs),
    ]);
    let without = options(vec![InstalledSource::ConfigMap("databases".into())]);
    let done = install_by(&client, &without).await.unwrap();
    let gone = [
        "Service boma",
        "ValidatingWebhookConfiguration boma.boma-system",
    ];
    assert_eq!(done.deleted, gone);
    assert_eq!(
        done.written.len(),
        definitions().len() + without.objects().len()
    );
    let changes = changes.lock().unwrap();
    let deleted = [format!("DELETE {service}"), format!("DELETE {webhook}")];
    assert_eq!(changes[..2], deleted);
    assert!(changes[2..].iter().all(|one| one.starts_with("PATCH ")));
}
