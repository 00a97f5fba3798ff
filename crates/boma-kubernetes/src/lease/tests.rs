use super::*;

#[test]
fn a_lease_is_taken_when_nobody_has_it_or_it_did_not_change_for_long_enough() {
    let begun = Instant::now();
    let lease = json!({"holderIdentity": "a", "renewTime": "2026-11-22T00:00:00.000000Z"});
    let seen = |spec: &Value| Seen {
        spec: spec.clone(),
        since: begun,
    };
    let later = begun + DURATION + Duration::from_secs(1);
    assert_eq!(decide(&json!({}), "b", None, begun), Decision::Take);
    let released = json!({"holderIdentity": ""});
    assert_eq!(decide(&released, "b", None, begun), Decision::Take);
    assert_eq!(decide(&lease, "a", None, begun), Decision::Renew);
    // Whatever time stands in it: it was just seen for the first time.
    let wait = Decision::Wait("a".into());
    assert_eq!(decide(&lease, "b", None, later), wait);
    assert_eq!(
        decide(&lease, "b", Some(&seen(&lease)), begun + DURATION),
        wait
    );
    assert_eq!(
        decide(&lease, "b", Some(&seen(&lease)), later),
        Decision::Take
    );
    let older = json!({"holderIdentity": "a", "renewTime": "2026-11-21T23:59:55.000000Z"});
    assert_eq!(decide(&lease, "b", Some(&seen(&older)), later), wait);
}

#[test]
fn a_lease_says_since_when_and_how_often_it_changed_hands() {
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let first = renewed(&json!({}), "a", at("2026-11-22T00:00:00Z"));
    assert_eq!(first["acquireTime"], "2026-11-22T00:00:00.000000Z");
    let again = renewed(&first, "a", at("2026-11-22T00:00:05Z"));
    assert_eq!(again["acquireTime"], first["acquireTime"]);
    assert_eq!(again["renewTime"], "2026-11-22T00:00:05.000000Z");
    assert_eq!(again["leaseTransitions"], first["leaseTransitions"]);
    let other = renewed(&again, "b", at("2026-11-22T00:01:00Z"));
    assert_eq!(other["leaseTransitions"], 2);
    assert_eq!(other["acquireTime"], "2026-11-22T00:01:00.000000Z");
}
