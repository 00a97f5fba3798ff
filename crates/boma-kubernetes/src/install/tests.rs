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
    for (rights, scope) in [
        (&RIGHTS[..], ""),
        (&OWN_RIGHTS[..], ", in Boma's namespace"),
        (&[admission::RIGHT][..], ", its own"),
        (&dashboard::RIGHTS[..], ", with a dashboard"),
    ] {
        for right in rights {
            let (resources, verbs) = (right.resources.join(", "), right.verbs.join(", "));
            let line = format!("| {resources}{scope} | {verbs} | {} |", right.why);
            assert!(page.contains(&line), "{line}");
        }
    }
    let lines = page
        .lines()
        .filter(|line| line.contains("list, watch") || line.contains("/status | patch"));
    assert_eq!(lines.count(), RIGHTS.len(), "a right that nobody has");
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
