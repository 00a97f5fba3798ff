use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::kinds::Kind;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

#[test]
fn what_could_not_be_made_is_said_by_the_newest_event() {
    let mut owner = object(Kind::StatefulSet, json!({}));
    owner.metadata.uid = Some("u1".into());
    let event = |uid: &str, at: &str, message: &str| {
        let data = json!({
            "involvedObject": {"uid": uid},
            "reason": "FailedCreate",
            "lastTimestamp": at,
            "message": message,
        });
        std::sync::Arc::new(object(Kind::Event, data))
    };
    let events = [
        event("u1", "2026-11-21T10:00:00Z", "exceeded quota: small"),
        event("u1", "2026-11-21T09:00:00Z", "violates PodSecurity"),
        event("u2", "2026-11-21T11:00:00Z", "of another"),
    ];
    let problem = not_made(&owner, &events).unwrap().problem();
    assert_eq!(problem.code.as_str(), "quota-exceeded");
    let text = "the pod could not be made: exceeded quota: small";
    assert_eq!(problem.to_string(), text);
    assert!(problem.hints[0].starts_with("Raise the ResourceQuota"));
    let problem = not_made(&owner, &events[1..]).unwrap().problem();
    assert_eq!(problem.code.as_str(), "pod-refused");
    assert!(problem.to_string().ends_with("violates PodSecurity"));
    assert_eq!(not_made(&owner, &events[2..]), None);
}

fn object(kind: Kind, data: Value) -> DynamicObject {
    let object = DynamicObject::new("accounts-db-1-0", &kind.resource());
    DynamicObject { data, ..object }
}

fn said(status: &Value) -> Problem {
    let pod = object(Kind::Pod, json!({ "status": status }));
    trouble(Some(&pod), None, NOW).problem()
}

#[test]
fn what_keeps_a_pod_is_said_with_what_to_do() {
    let waiting = |reason: &str, message: &str| {
        json!({"containerStatuses": [{
            "name": "postgres",
            "image": "postgres:99",
            "state": {"waiting": {"reason": reason, "message": message}},
        }]})
    };
    let unscheduled = json!({"conditions": [
        {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"},
    ]});
    let crashed = json!({"initContainerStatuses": [{
        "name": "boma",
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
        "lastState": {"terminated": {"exitCode": 127}},
    }]});
    for (status, code, text, class) in [
        (
            waiting("ImagePullBackOff", "not found"),
            "image-not-pulled",
            "image `postgres:99` cannot be pulled: not found",
            Class::Config,
        ),
        (
            crashed,
            "pod-crashes",
            "container `boma` of the pod ends again and again: exit code 127",
            Class::Config,
        ),
        (
            unscheduled,
            "pod-unschedulable",
            "no node takes the pod: 0/1 nodes are available",
            Class::Transient,
        ),
        (
            json!({"phase": "Pending"}),
            "pod-starting",
            "the pod is starting: pending",
            Class::Transient,
        ),
        (
            waiting("ContainerCreating", ""),
            "pod-starting",
            "the pod is starting: ",
            Class::Transient,
        ),
        (
            waiting(
                "CreateContainerConfigError",
                "failed to sync secret cache: timed out waiting for the condition",
            ),
            "pod-starting",
            "the pod is starting: failed to sync secret cache: timed out waiting for the condition",
            Class::Transient,
        ),
        (
            waiting("CreateContainerConfigError", "secret \"x\" not found"),
            "pod-crashes",
            "container `postgres` of the pod ends again and again: secret \"x\" not found",
            Class::Config,
        ),
    ] {
        let problem = said(&status);
        assert_eq!((problem.code.as_str(), problem.class), (code, class));
        assert_eq!(problem.message, text);
        assert!(!problem.hints.is_empty());
    }
    assert_eq!(trouble(None, None, NOW).problem().code, "pod-missing");
}

#[test]
fn a_volume_without_a_class_is_told_from_a_full_cluster() {
    let pod = |why: &str| {
        let condition = json!({"type": "PodScheduled", "status": "False", "message": why});
        object(Kind::Pod, json!({"status": {"conditions": [condition]}}))
    };
    let unbound = pod("pod has unbound immediate PersistentVolumeClaims");
    let claim = |spec: Value| {
        let data = json!({"spec": spec, "status": {"phase": "Pending"}});
        object(Kind::VolumeClaim, data)
    };
    let none = claim(json!({}));
    let problem = trouble(Some(&unbound), Some(&none), NOW).problem();
    assert_eq!(problem.code, "volume-missing");
    assert_eq!(
        problem.message,
        "the volume is not there: the cluster has no default StorageClass"
    );
    let slow = claim(json!({"storageClassName": "slow"}));
    let problem = trouble(Some(&unbound), Some(&slow), NOW).problem();
    assert_eq!(problem.code, "volume-pending");
    assert_eq!(
        problem.message,
        "storage class `slow` has no volume for it yet: pod has unbound immediate \
         PersistentVolumeClaims"
    );
    assert!(problem.hints[0].contains("`kubectl describe pvc`"));
    let full = pod("0/1 nodes are available: 1 Insufficient memory.");
    let problem = trouble(Some(&full), Some(&slow), NOW).problem();
    assert_eq!(problem.code, "pod-unschedulable");
}

/// A pod on a node, with these conditions.
fn on_a_node(conditions: &Value) -> DynamicObject {
    let spec = json!({"nodeName": "n1"});
    let status = json!({"conditions": conditions});
    object(Kind::Pod, json!({"spec": spec, "status": status}))
}

#[test]
fn a_pod_that_is_going_away_says_so_until_it_is_late() {
    let mut pod = on_a_node(&json!([]));
    pod.metadata.deletion_timestamp = Some(NOW.into());
    let after = |seconds| trouble(Some(&pod), None, NOW + SignedDuration::from_secs(seconds));
    assert_eq!(after(60).problem().code, "pod-ending");
    let late = after(61).problem();
    assert_eq!(late.code, "node-lost");
    assert_eq!(
        late.message,
        "the pod should have ended at 1970-01-01T00:00:00Z, and node `n1` has not said that it did"
    );
    assert!(late.hints[0].starts_with("`kubectl describe node n1`"));
}

#[test]
fn a_node_that_is_not_heard_from_is_told_from_a_server_that_is_not_ready() {
    let ready = |reason: &Value, containers: &str| {
        let conditions = json!([
            {"type": "Ready", "status": "False", "reason": reason},
            {"type": "ContainersReady", "status": containers},
        ]);
        trouble(Some(&on_a_node(&conditions)), None, NOW)
    };
    // What the node controller leaves behind: the condition of before, and another status.
    let lost = ready(&Value::Null, "True");
    assert!(lost.is_of_its_node() && !lost.keeps_down(None, NOW));
    let lost = lost.problem();
    assert_eq!(
        (lost.code.as_str(), lost.class),
        ("node-lost", Class::Transient)
    );
    assert_eq!(
        lost.message,
        "node `n1` is not heard from: whether the server still runs there, nobody knows"
    );
    let taint = "`kubectl taint node n1 node.kubernetes.io/out-of-service=nodeshutdown:NoExecute`";
    assert!(lost.hints[1].contains(taint), "{:?}", lost.hints);
    for (reason, containers) in [
        ("ContainersNotReady", "False"),
        ("ReadinessGatesNotReady", "True"),
    ] {
        assert!(!ready(&json!(reason), containers).is_of_its_node());
    }
}

#[test]
fn what_only_a_person_can_mend_is_failed_and_the_rest_unknown() {
    let (id, now) = (InstanceId(Uuid::from_u128(1)), Timestamp::UNIX_EPOCH);
    let phase = |trouble: PodTrouble| unknown(id, trouble.problem(), now).phase;
    assert_eq!(phase(PodTrouble::NoPod), Phase::Unknown);
    assert_eq!(phase(PodTrouble::NoVolume(String::new())), Phase::Failed);
    assert!(boma_engine::is_settled(&rested(id, 4, now), 4));
    assert!(!boma_engine::is_settled(&rested(id, 4, now), 5));
}

#[test]
fn what_cannot_start_is_waited_for_for_a_minute() {
    let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
    let mut pod = object(Kind::Pod, json!({}));
    let mut is_down = |trouble: &PodTrouble, seconds: i64| {
        let made = now - SignedDuration::from_secs(seconds);
        pod.metadata.creation_timestamp = Some(made.into());
        trouble.keeps_down(Some(&pod), now)
    };
    let stuck = PodTrouble::Unschedulable(String::new());
    assert!(!is_down(&stuck, 59));
    assert!(is_down(&stuck, 61));
    // Who is on the way comes, or ends, by itself.
    assert!(!is_down(&PodTrouble::Starting(String::new()), 3600));
    assert!(!is_down(&PodTrouble::Ending, 3600));
    assert!(!PodTrouble::NoPod.keeps_down(None, now));
    assert!(PodTrouble::NotMade(String::new()).keeps_down(None, now));
}
