use boma_instance::MajorVersion;
use kube::core::Status;
use uuid::Uuid;

use super::*;

fn answered(code: u16, message: &str) -> Problem {
    let status = Status::failure(message, "").with_code(code);
    let source = kube::Error::Api(Box::new(status));
    KubernetesError::api("write Secret a/b")(source).problem()
}

#[test]
fn answers_of_the_api_server_are_sorted() {
    for (code, message, wanted, class) in [
        (
            403,
            "pods \"x\" is forbidden: exceeded quota: q",
            "quota-exceeded",
            Class::Config,
        ),
        (
            403,
            "unable to create: being terminated",
            "namespace-ending",
            Class::Transient,
        ),
        (
            403,
            "User \"x\" cannot list secrets",
            "kubernetes-forbidden",
            Class::Config,
        ),
        (401, "Unauthorized", "kubernetes-forbidden", Class::Config),
        (422, "Invalid value", "kubernetes-refused", Class::Config),
        (
            429,
            "too many requests",
            "kubernetes-unreachable",
            Class::Transient,
        ),
        (
            503,
            "etcd is away",
            "kubernetes-unreachable",
            Class::Transient,
        ),
        (
            409,
            "the object has been modified",
            "kubernetes-unreachable",
            Class::Transient,
        ),
    ] {
        let problem = answered(code, message);
        assert_eq!(
            (problem.code.as_str(), problem.class),
            (wanted, class),
            "{message}"
        );
        assert!(
            problem.to_string().starts_with("write Secret a/b: "),
            "{problem}"
        );
        assert!(problem.to_string().contains(message), "{problem}");
        assert!(!problem.hints.is_empty());
    }
}

#[test]
fn what_hinders_says_what_to_do() {
    let key = || DatabaseKey::new("a/b/c/d", "db");
    let grant = || GrantKey {
        application: boma_engine::keys::ApplicationKey::new("a/b/c/d", "api"),
        database: key(),
    };
    let (namespace, name) = (|| "ns".to_owned(), || "x".to_owned());
    let json = || serde_json::from_str::<u8>("x").unwrap_err();
    for (error, code, text) in [
        (
            KubernetesError::Configuration("no file".into()),
            "kubernetes-unknown",
            "find out which Kubernetes cluster is meant: no file",
        ),
        (
            KubernetesError::NotListed(30),
            "kubernetes-unreachable",
            "the API server did not list the objects of Boma within 30 s",
        ),
        (
            KubernetesError::Record {
                namespace: namespace(),
                name: name(),
                source: json(),
            },
            "record-unreadable",
            "read the record in Secret ns/x: expected value at line 1 column 1",
        ),
        (
            KubernetesError::Contended {
                namespace: namespace(),
                name: name(),
            },
            "record-contended",
            "Secret ns/x is changed by somebody else again and again",
        ),
        (
            KubernetesError::NamespacesTaken {
                names: "a and b".into(),
            },
            "namespace-taken",
            "namespaces a and b exist and are not Boma's",
        ),
        (
            KubernetesError::UnknownDatabase { key: key() },
            "database-unknown",
            "no database a/b/c/d/db is registered",
        ),
        (
            KubernetesError::BeingPurged { key: key() },
            "being-purged",
            "database a/b/c/d/db is being purged",
        ),
        (
            KubernetesError::GivenUp { key: key() },
            "replacement-given-up",
            "the restore of database a/b/c/d/db in place was given up",
        ),
        (
            KubernetesError::ClaimLeft {
                key: key(),
                namespace: namespace(),
                name: name(),
            },
            "claim-left",
            "volume claim ns/x of database a/b/c/d/db was deleted, and is still there",
        ),
        (
            KubernetesError::NotRetired { key: key() },
            "not-retired",
            "database a/b/c/d/db is in use, and only a retired database is purged",
        ),
        (
            KubernetesError::PasswordInUse { grant: grant() },
            "password-in-use",
            "the password of a/b/c/d/api on a/b/c/d/db is in use and not replaced",
        ),
    ] {
        said(&error, code, text);
    }
}

#[test]
fn what_is_wrong_with_the_cluster_is_named() {
    let (namespace, name) = (|| "ns".to_owned(), || "x".to_owned());
    for (error, code, text) in [
        (
            KubernetesError::NoImage(MajorVersion::V15),
            "image-missing",
            "there is no image for PostgreSQL 15",
        ),
        (
            KubernetesError::NoAddress {
                namespace: namespace(),
                name: name(),
            },
            "service-without-address",
            "Service ns/x has no cluster address",
        ),
        (
            KubernetesError::NotKept {
                what: "Service ns/x".into(),
            },
            "object-not-kept",
            "Service ns/x is not as it was written",
        ),
        (
            KubernetesError::VolumeEnds {
                namespace: namespace(),
                name: name(),
            },
            "volume-ending",
            "volume claim ns/x is being deleted",
        ),
        (
            KubernetesError::NotHere { what: "x" },
            "not-on-kubernetes",
            "x is not done on Kubernetes",
        ),
    ] {
        said(&error, code, text);
    }
}

#[test]
fn what_keeps_an_application_from_running_is_named() {
    let what = || "Deployment ns/web".to_owned();
    let key = || ApplicationKey::new("a/b/c/d", "api");
    let refused = Status::failure("conflict with kubectl", "").with_code(409);
    for (error, code, text) in [
        (
            KubernetesError::WorkloadMissing { what: what() },
            "workload-missing",
            "there is no Deployment ns/web to attach to",
        ),
        (
            KubernetesError::WorkloadTaken {
                what: what(),
                whose: "not Boma's".into(),
            },
            "workload-taken",
            "Deployment ns/web is not Boma's",
        ),
        (
            KubernetesError::WorkloadHeld {
                what: what(),
                source: Box::new(kube::Error::Api(Box::new(refused))),
            },
            "workload-held",
            "give Deployment ns/web its environment: ApiError: conflict with kubectl",
        ),
        (
            KubernetesError::JobGone {
                namespace: "ns".into(),
                name: "x".into(),
            },
            "pre-deploy-gone",
            "Job ns/x was deleted before it ended",
        ),
        (
            KubernetesError::AdmissionPort {
                address: ([0, 0, 0, 0], 9443).into(),
                source: std::io::ErrorKind::AddrInUse.into(),
            },
            "admission-not-open",
            "answer the API server on 0.0.0.0:9443: address in use",
        ),
        (
            KubernetesError::AdmissionCertificate("x".into()),
            "admission-certificate",
            "answer the API server with a certificate of the installation: x",
        ),
        (
            KubernetesError::NoDefinitions,
            "definitions-missing",
            "the cluster has no definitions of Database and Application",
        ),
        (
            KubernetesError::NoEnvironment { key: key() },
            "environment-missing",
            "application a/b/c/d/api was given no environment yet",
        ),
    ] {
        let problem = error.problem();
        assert_eq!(problem.code.as_str(), code);
        assert!(problem.to_string().starts_with(text), "{problem}");
        assert!(!problem.hints.is_empty(), "{problem}");
    }
}

#[test]
fn an_unknown_instance_is_named() {
    let id = InstanceId(Uuid::from_u128(1));
    let unknown = KubernetesError::UnknownInstance { id };
    assert!(unknown.to_string().ends_with("is registered"));
}

fn said(error: &KubernetesError, code: &str, text: &str) {
    let problem = error.problem();
    let found = (problem.code.as_str(), problem.to_string());
    assert_eq!(found, (code, text.to_owned()));
    assert!(!problem.hints.is_empty(), "{problem}");
}
