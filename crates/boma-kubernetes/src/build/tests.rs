use std::collections::BTreeMap;

use boma_instance::{Access, InstanceId, LoginSpec, MajorVersion, Power, Resources, Secret};
use kube::core::DynamicObject;
use uuid::Uuid;

use super::*;

fn spec() -> InstanceSpec {
    InstanceSpec {
        id: InstanceId(Uuid::from_u128(7)),
        generation: 3,
        identity: "fincorp/retail/development/login-svc/accounts-db".into(),
        database: "accounts_db".into(),
        version: MajorVersion::V17,
        power: Power::On,
        resources: Resources {
            cpu_millis: 500,
            memory_bytes: 1 << 30,
            storage_bytes: 10 << 30,
        },
        parameters: BTreeMap::new(),
        extensions: BTreeSet::new(),
        logins: vec![LoginSpec {
            role: "auth_api_1".into(),
            access: Access::ReadWrite,
            verifier: Some(Secret::new("SCRAM-SHA-256$…".into())),
            comment: "fincorp/retail/development/login-svc/auth-api".into(),
        }],
        backup: None,
        origin: None,
        drift: boma_instance::Drift::default(),
        storage_class: None,
    }
}

fn with<T>(look: impl FnOnce(&Setting<'_>) -> T) -> T {
    let key = DatabaseKey::new("fincorp/retail/development/login-svc", "accounts-db");
    look(&Setting {
        key: &key,
        objects: "accounts-db-1",
        namespace: "login-svc-development",
        home: "boma-system",
        image: "docker.io/library/postgres:17",
        agent_image: "boma:0.1.0",
        user: 999,
        pull_secrets: &[],
        identity: None,
    })
}

fn yaml(wanted: &Desired) -> String {
    serde_saphyr::to_string(&wanted.object()).unwrap()
}

fn found(wanted: &Desired) -> DynamicObject {
    serde_json::from_value(wanted.object()).unwrap()
}

#[test]
fn the_objects_of_a_database() {
    with(|setting| {
        insta::assert_snapshot!("service", yaml(&service(setting, &spec())));
        insta::assert_snapshot!("volume_claim", yaml(&volume_claim(setting, &spec())));
        insta::assert_snapshot!("network_policy", yaml(&network_policy(setting, &spec())));
        insta::assert_snapshot!("stateful_set", yaml(&stateful_set(setting, &spec(), 1)));
    });
    let project = "fincorp/retail/development/login-svc";
    insta::assert_snapshot!(
        "namespace",
        yaml(&namespace(
            "boma-system",
            "login-svc-development".into(),
            project
        ))
    );
}

#[test]
fn pods_are_to_the_cloud_what_is_said_and_known_by_what_they_are() {
    let ours = (names::INSTALLATION.to_owned(), "another".to_owned());
    let azure = ("azure.workload.identity/use".to_owned(), "true".to_owned());
    let role = ("eks.amazonaws.com/role-arn".to_owned(), "arn:x".to_owned());
    let identity = Identity {
        service_account: "backups".into(),
        annotations: [role.clone()].into(),
        pod_labels: [ours, azure].into(),
    };
    with(|setting| {
        assert!(service_account(setting).is_none());
        let setting = Setting {
            identity: Some(&identity),
            ..*setting
        };
        let account = service_account(&setting).unwrap();
        assert_eq!(account.annotations.get(&role.0), Some(&role.1));
        assert!(account.is_met_by(&found(&account)));
        let server = stateful_set(&setting, &spec(), 1);
        let pod = &server.body["spec"]["template"];
        assert_eq!(pod["spec"]["serviceAccountName"], "backups");
        assert_eq!(pod["spec"]["automountServiceAccountToken"], false);
        let labels = &pod["metadata"]["labels"];
        assert_eq!(labels["azure.workload.identity/use"], "true");
        assert_eq!(labels[names::INSTALLATION], "boma-system");
    });
}

#[test]
fn without_a_grant_nobody_is_admitted() {
    let mut locked = spec();
    locked.logins[0].verifier = None;
    let policy = with(|setting| network_policy(setting, &locked));
    let rules = policy.body["spec"]["ingress"].as_array().unwrap();
    assert_eq!(rules.len(), 1, "only Boma itself: {rules:?}");
    assert_eq!(rules[0]["ports"][0]["port"], 8443);
}

#[test]
fn an_object_is_met_by_itself_until_somebody_changes_it() {
    for wanted in with(|setting| {
        [
            service(setting, &spec()),
            volume_claim(setting, &spec()),
            network_policy(setting, &spec()),
            stateful_set(setting, &spec(), 1),
        ]
    }) {
        let as_applied = found(&wanted);
        assert!(wanted.is_met_by(&as_applied), "{}", wanted.name);
        let mut emptied = as_applied.clone();
        emptied.data["spec"] = json!({});
        assert!(!wanted.is_met_by(&emptied));
        let mut unlabelled = as_applied.clone();
        unlabelled.metadata.labels = None;
        assert!(!wanted.is_met_by(&unlabelled));
        let may_be_left = matches!(wanted.kind, Kind::StatefulSet | Kind::VolumeClaim);
        let left = wanted.may_be_left(&wanted.met_by(&emptied));
        assert_eq!(left.is_some(), may_be_left, "{left:?}");
        let unknown = wanted.met_by(&unlabelled);
        assert_eq!(wanted.may_be_left(&unknown), None, "it is found by these");
        let less = wanted.clone().annotation("former", "x");
        assert!(!less.is_met_by(&as_applied));
        assert!(
            !wanted.is_met_by(&found(&less)),
            "what is no longer wanted is taken out"
        );
    }
}

#[test]
fn what_a_pod_mounts_and_who_it_is() {
    let placement = json!({"listen": {
        "address": "10.0.0.1", "port": 5432, "names": ["accounts-db.internal"],
    }});
    let given = Assignment {
        spec: spec(),
        placement: serde_json::from_value(placement).unwrap(),
    };
    let identity = Identity {
        service_account: "backups".into(),
        annotations: [("eks.amazonaws.com/role-arn".into(), "arn:x".into())].into(),
        pod_labels: BTreeMap::new(),
    };
    with(|setting| {
        let setting = Setting {
            identity: Some(&identity),
            ..*setting
        };
        insta::assert_snapshot!("secret", yaml(&secret(&setting, b"{}", &given, "token")));
        let account = service_account(&setting).unwrap();
        insta::assert_snapshot!("service_account", yaml(&account));
    });
}
