use super::*;

#[test]
fn only_the_whole_token_is_the_token() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    assert!(!is_token(&path, b""));
    fs::write(&path, "abcdef").unwrap();
    assert!(is_token(&path, b"abcdef"));
    for wrong in [&b""[..], b"abcde", b"abcdefg", b"ABCDEF"] {
        assert!(!is_token(&path, wrong));
    }
    fs::write(&path, "").unwrap();
    assert!(!is_token(&path, b""));
}

#[test]
fn what_the_pod_does_not_mount_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let pod = PodConfig {
        secret: dir.path().to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
    };
    let problem = TlsListener::bind(&pod).err().unwrap().problem();
    assert_eq!(problem.code, "pod-secret-unusable");
    assert!(problem.message.ends_with("api.crt`"), "{problem}");
    fs::write(dir.path().join("api.crt"), "no certificate").unwrap();
    fs::write(dir.path().join("api.key"), "no key").unwrap();
    let problem = TlsListener::bind(&pod).err().unwrap().problem();
    assert_eq!(problem.code, "pod-secret-unusable");
    assert!(
        problem.message.starts_with("use the certificate in `"),
        "{problem}"
    );
}

#[test]
fn an_older_mounted_assignment_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let pod = PodConfig {
        secret: dir.path().to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
    };
    let mounted = |generation| {
        let bytes = serde_json::to_vec(&crate::testing::assignment(generation)).unwrap();
        fs::write(dir.path().join("assignment.json"), bytes).unwrap();
    };
    let home = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(home.path()).unwrap();
    pod.take_assignment(&mut ledger);
    assert!(ledger.current().is_none());
    for (given, accepted) in [(2, 2), (1, 2), (3, 3)] {
        mounted(given);
        pod.take_assignment(&mut ledger);
        assert_eq!(ledger.current().unwrap().spec.generation, accepted);
    }
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["agent".to_owned()]).unwrap();
    fs::write(dir.path().join("api.crt"), made.cert.pem()).unwrap();
    fs::write(dir.path().join("api.key"), made.signing_key.serialize_pem()).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let pod = PodConfig {
        secret: dir.path().to_owned(),
        listen: taken.local_addr().unwrap(),
    };
    let problem = TlsListener::bind(&pod).err().unwrap().problem();
    assert_eq!(problem.code, "pod-port-taken");
    assert_eq!(problem.message, format!("listen on {}", pod.listen));
}
