//! Events beside the objects that they are about, for `kubectl describe` and `kubectl events`. What
//! Boma itself shows it has from its journal: nothing hangs on these, and Kubernetes deletes them
//! after an hour.

use boma_engine::keys::{ApplicationKey, DatabaseKey};
use boma_engine::platform::RecordedEvent;
use boma_manifest::Kind as ManifestKind;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject};
use serde_json::{Value, json};

use super::Inner;
use crate::error::KubernetesError;
use crate::kinds::Kind;
use crate::names;
use crate::resources::api_resource;

/// Longest text that an Event takes, in bytes.
const LONGEST: usize = 1024;

/// What reports, among others that do.
const REPORTER: &str = "lowops.manifests/boma";

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum About {
    Database(DatabaseKey),
    Application(ApplicationKey),
}

impl About {
    /// Reads `Database fincorp/…/accounts-db`; none: it is about the installation.
    fn of(subject: &str) -> Option<Self> {
        match subject.split_once(' ')? {
            ("Database", key) => key.parse().ok().map(Self::Database),
            ("Application", key) => key.parse().ok().map(Self::Application),
            _ => None,
        }
    }

    fn project(&self) -> &str {
        match self {
            Self::Database(key) => &key.project,
            Self::Application(key) => &key.project,
        }
    }

    /// Its custom resource, if it has one.
    fn resource(&self) -> (ManifestKind, &str) {
        match self {
            Self::Database(key) => (ManifestKind::Database, &key.name),
            Self::Application(key) => (ManifestKind::Application, &key.name),
        }
    }

    /// What it runs as, otherwise.
    fn workload(&self) -> (Kind, String) {
        match self {
            Self::Database(key) => (Kind::StatefulSet, names::first_instance(key)),
            Self::Application(key) => (Kind::Deployment, key.name.to_string()),
        }
    }
}

impl Inner {
    /// Writes an event beside the custom resource that it is about, or else beside what was made of
    /// it. Where there is neither, there is nothing to describe.
    pub(super) async fn notice(&self, recorded: &RecordedEvent) -> Result<(), KubernetesError> {
        let Some((namespace, regarding)) = self.regarding(&recorded.event.subject).await else {
            return Ok(());
        };
        let reporter = std::env::var("HOSTNAME").unwrap_or_else(|_unset| "boma".to_owned());
        let notice = notice(recorded, (&namespace, &regarding), &reporter);
        let api = Api::<DynamicObject>::namespaced_with(
            self.cluster.client.clone(),
            &namespace,
            &resource(),
        );
        let doing = || KubernetesError::api(format!("write an Event in {namespace}"));
        self.cluster.wrote();
        let made = api.create(&PostParams::default(), &notice).await;
        match made.map_err(doing()) {
            Ok(_made) => return Ok(()),
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error),
        }
        // It happened before, and is counted.
        let name = notice.name_any();
        let Some(found) = api.get_opt(&name).await.map_err(doing())? else {
            return Ok(());
        };
        let series = Patch::Merge(series(&found, recorded));
        self.cluster.wrote();
        let counted = api.patch(&name, &PatchParams::default(), &series).await;
        counted.map_err(doing())?;
        Ok(())
    }

    /// The object that an event is about, as Events refer to it, and its namespace.
    async fn regarding(&self, subject: &str) -> Option<(String, Value)> {
        let about = About::of(subject)?;
        let namespace = self.known_namespace(about.project())?;
        let (kind, name) = about.resource();
        let resource = api_resource(kind);
        let api = Api::<DynamicObject>::namespaced_with(
            self.cluster.client.clone(),
            &namespace,
            &resource,
        );
        // Where custom resources are not defined there is none either.
        if let Ok(Some(found)) = api.get_opt(name).await {
            return Some((namespace, reference(&found, &resource)));
        }
        let (kind, mut name) = about.workload();
        if let About::Database(key) = &about
            && let Ok(one) = self.recorded_as(key)
        {
            name = one.objects;
        }
        let found = self.cluster.get(kind, &namespace, &name)?;
        Some((namespace, reference(&found, &kind.resource())))
    }
}

fn resource() -> ApiResource {
    ApiResource {
        group: "events.k8s.io".to_owned(),
        version: "v1".to_owned(),
        api_version: "events.k8s.io/v1".to_owned(),
        kind: "Event".to_owned(),
        plural: "events".to_owned(),
    }
}

fn reference(object: &DynamicObject, resource: &ApiResource) -> Value {
    json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "namespace": object.namespace(),
        "name": object.name_any(),
        "uid": object.uid(),
    })
}

/// An event as Kubernetes has it. The same one about the same object has the same name, so that it
/// is counted there.
fn notice(
    recorded: &RecordedEvent,
    (namespace, regarding): (&str, &Value),
    reporter: &str,
) -> DynamicObject {
    let event = &recorded.event;
    let same = format!("{regarding} {} {}", event.reason, event.message);
    let digest: String = names::digest_of(same.as_bytes()).chars().take(16).collect();
    let name = regarding["name"].as_str().unwrap_or_default();
    let mut data = json!({
        "eventTime": micro(event.at),
        "reportingController": REPORTER,
        "reportingInstance": reporter,
        "action": event.reason,
        "reason": event.reason,
        "regarding": regarding,
        "note": cut(&event.message),
        "type": if event.warning { "Warning" } else { "Normal" },
    });
    // A series of one is none.
    if recorded.count > 1 {
        data["series"] = json!({
            "count": recorded.count,
            "lastObservedTime": micro(recorded.last),
        });
    }
    DynamicObject {
        data,
        ..DynamicObject::new(&format!("{name}.{digest}"), &resource()).within(namespace)
    }
}

/// What is to be changed in an Event that there is, when the same happened again.
fn series(found: &DynamicObject, recorded: &RecordedEvent) -> Value {
    let before = found.data["series"]["count"].as_u64().unwrap_or(1);
    json!({"series": {
        "count": before + u64::from(recorded.count),
        "lastObservedTime": micro(recorded.last),
    }})
}

/// A moment as Kubernetes writes those of Events: to the microsecond.
fn micro(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// As much of a text as an Event takes.
fn cut(text: &str) -> String {
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    let end = "…";
    let mut at = LONGEST - end.len();
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    format!("{}{end}", &text[..at])
}

#[cfg(test)]
mod tests {
    use boma_engine::platform::Event;

    use super::*;

    fn recorded(count: u32) -> RecordedEvent {
        let at = Timestamp::from_microsecond(1_800_000_000_250_000).unwrap();
        let event = Event {
            at,
            subject: "Database a/b/c/d/ledger".to_owned(),
            reason: "SpecChanged".to_owned(),
            message: "é".repeat(600),
            warning: false,
        };
        RecordedEvent {
            event,
            last: at,
            count,
        }
    }

    #[test]
    fn what_an_event_is_about_is_read_from_its_subject() {
        let ledger = DatabaseKey::new("a/b/c/d", "ledger");
        assert_eq!(
            About::of("Database a/b/c/d/ledger"),
            Some(About::Database(ledger))
        );
        let api = ApplicationKey::new("a/b/c/d", "api");
        let about = About::of("Application a/b/c/d/api");
        assert_eq!(about, Some(About::Application(api)));
        for none in ["Installation", "", "Database", "Planet a/b/c/d/ledger"] {
            assert_eq!(About::of(none), None, "{none}");
        }
    }

    #[test]
    fn an_event_is_as_kubernetes_has_it_and_the_same_again_is_counted() {
        let regarding = json!({"kind": "Database", "name": "ledger", "uid": "u"});
        let place = ("d-c", &regarding);
        let once = notice(&recorded(1), place, "pod");
        assert_eq!(once.data["eventTime"], "2027-01-15T08:00:00.250000Z");
        assert_eq!(once.data["type"], "Normal");
        assert_eq!(once.data["series"], Value::Null);
        let note = once.data["note"].as_str().unwrap();
        assert!(note.len() <= LONGEST && note.ends_with("é…"), "{note}");
        assert!(once.name_any().starts_with("ledger."));
        let again = notice(&recorded(3), place, "other");
        assert_eq!(again.name_any(), once.name_any());
        assert_eq!(again.data["series"]["count"], 3);
        assert_eq!(series(&once, &recorded(2))["series"]["count"], 3);
        assert_eq!(series(&again, &recorded(2))["series"]["count"], 5);
        let regarding = json!({"kind": "Database", "name": "ledger", "uid": "v"});
        let other = notice(&recorded(1), ("d-c", &regarding), "pod");
        assert_ne!(other.name_any(), once.name_any());
    }
}
