//! An object as it should be. Pure.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::core::DynamicObject;
use serde_json::{Map, Value, json};

use crate::compare::{Lists, differing};
use crate::kinds::Kind;
use crate::names::{self, Part};

/// Labels or annotations.
pub(crate) type Marks = BTreeMap<String, String>;

/// Whose an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Boma's: what it wants holds against everybody.
    Boma,
    /// Somebody else's: what others say already is not overruled.
    Others,
}

/// How an object is against what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Met {
    /// It is so.
    Whole,
    /// It was applied as it is wanted now, is known by its labels, and somebody has changed these
    /// fields since.
    ChangedByHand(Vec<String>),
    /// It was never applied so, is not known by what it should be, or is being deleted.
    Otherwise,
}

/// An object as it should be; everything that is not said is left to others.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Desired {
    /// What it is.
    pub(crate) kind: Kind,
    /// Where; empty for objects without.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// Whose it is.
    pub(crate) owner: Owner,
    /// Labels, those of every object of Boma among them.
    pub(crate) labels: Marks,
    /// Annotations.
    pub(crate) annotations: Marks,
    /// `spec`, `data` and whatever else stands beside `metadata`.
    pub(crate) body: Value,
}

impl Desired {
    /// An object of the installation that is at home in this namespace.
    pub(crate) fn new(
        home: &str,
        kind: Kind,
        namespace: &str,
        name: impl Into<String>,
        body: Value,
    ) -> Self {
        let managed = (names::MANAGED_BY.to_owned(), names::MANAGER.to_owned());
        let installation = (names::INSTALLATION.to_owned(), home.to_owned());
        Self {
            kind,
            namespace: namespace.to_owned(),
            name: name.into(),
            owner: Owner::Boma,
            labels: Marks::from([managed, installation]),
            annotations: Marks::new(),
            body,
        }
    }

    /// A part of an object that others made: what is said is Boma's, all else is theirs.
    pub(crate) fn within(
        home: &str,
        kind: Kind,
        namespace: &str,
        name: impl Into<String>,
        body: Value,
    ) -> Self {
        let mut part = Self::new(home, kind, namespace, name, body);
        // What manages it is not Boma, and other tools read this label.
        part.labels.remove(names::MANAGED_BY);
        part.owner = Owner::Others;
        part
    }

    /// With one more label.
    pub(crate) fn label(mut self, key: &str, value: impl Into<String>) -> Self {
        self.labels.insert(key.to_owned(), value.into());
        self
    }

    /// With what it is to Boma.
    pub(crate) fn part(self, part: Part) -> Self {
        self.label(names::PART, part.word())
    }

    /// With one more annotation.
    pub(crate) fn annotation(mut self, key: &str, value: impl Into<String>) -> Self {
        self.annotations.insert(key.to_owned(), value.into());
        self
    }

    /// Digest of all of it.
    pub(crate) fn digest(&self) -> String {
        let all = json!([self.labels, self.annotations, self.body]);
        names::digest_of(all.to_string().as_bytes())
    }

    /// What is sent to the API server.
    pub(crate) fn object(&self) -> Value {
        let resource = self.kind.resource();
        let mut annotations = self.annotations.clone();
        annotations.insert(names::APPLIED.to_owned(), self.digest());
        let mut metadata = json!({
            "name": self.name,
            "labels": self.labels,
            "annotations": annotations,
        });
        if !self.namespace.is_empty() {
            metadata["namespace"] = json!(self.namespace);
        }
        let mut object = self.body.as_object().cloned().unwrap_or_default();
        object.insert("apiVersion".into(), json!(resource.api_version));
        object.insert("kind".into(), json!(resource.kind));
        object.insert("metadata".into(), metadata);
        Value::Object(object)
    }

    /// Whether an object is so already: it was applied as it is wanted now, and nobody has changed
    /// it since.
    pub(crate) fn is_met_by(&self, found: &DynamicObject) -> bool {
        self.met_by(found) == Met::Whole
    }

    /// How an object is against what it should be.
    pub(crate) fn met_by(&self, found: &DynamicObject) -> Met {
        let metadata = &found.metadata;
        let has = |wanted: &Marks, found: &Option<Marks>| {
            wanted
                .iter()
                .all(|(key, value)| found.as_ref().and_then(|found| found.get(key)) == Some(value))
        };
        let applied = metadata
            .annotations
            .as_ref()
            .and_then(|annotations| annotations.get(names::APPLIED));
        let lists = match self.kind {
            Kind::NetworkPolicy => Lists::Whole,
            Kind::Namespace
            | Kind::Secret
            | Kind::Service
            | Kind::VolumeClaim
            | Kind::StatefulSet
            | Kind::Pod
            | Kind::Deployment
            | Kind::DaemonSet
            | Kind::Job
            | Kind::ServiceAccount
            | Kind::Event => Lists::Shared,
        };
        let is_applied = metadata.deletion_timestamp.is_none()
            && applied == Some(&self.digest())
            && has(&self.labels, &metadata.labels)
            && has(&self.annotations, &metadata.annotations);
        if !is_applied {
            return Met::Otherwise;
        }
        let fields = differing(&self.body, &found.data, lists);
        if fields.is_empty() {
            return Met::Whole;
        }
        Met::ChangedByHand(fields)
    }

    /// What was changed by hand in an object, where a database's manifest may leave it so: not who
    /// may enter, nor what is secret.
    pub(crate) fn may_be_left(&self, met: &Met) -> Option<String> {
        let Met::ChangedByHand(fields) = met else {
            return None;
        };
        let may = matches!(self.kind, Kind::StatefulSet | Kind::VolumeClaim);
        may.then(|| {
            let fields: Vec<&str> = fields
                .iter()
                .map(|one| one.trim_start_matches('.'))
                .collect();
            format!("{:?} {}: {}", self.kind, self.name, fields.join(", "))
        })
    }
}

/// `data` of a Secret.
pub(crate) fn secret_data<'a>(
    entries: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Map<String, Value> {
    let encoded = entries
        .into_iter()
        .map(|(key, value)| (key.to_owned(), Value::String(STANDARD.encode(value))));
    encoded.collect()
}

/// One entry of a Secret's `data`.
pub(crate) fn secret_entry(secret: &DynamicObject, key: &str) -> Option<Vec<u8>> {
    let text = secret.data.get("data")?.get(key)?.as_str()?;
    STANDARD.decode(text).ok()
}
