//! An object as it is kept. Pure.

use std::sync::Arc;

use kube::ResourceExt;
use kube::core::{DynamicObject, ObjectMeta, TypeMeta};

use super::Many;
use crate::names::{INSTANCE_ID, PART, Part};

/// An object, and what is asked of it all the time.
#[derive(Debug)]
pub(super) struct Stored {
    version: u64,
    part: Option<Box<str>>,
    instance: Option<Box<str>>,
    kept: Kept,
}

#[derive(Debug)]
enum Kept {
    Whole(Arc<DynamicObject>),
    Packed(Packed),
}

/// The text of an object, in two parts: told apart in one, each map in it would be read twice.
#[derive(Debug)]
struct Packed {
    head: Box<[u8]>,
    body: Box<[u8]>,
}

impl Stored {
    pub(super) fn new(object: DynamicObject, version: u64, many: Many) -> Self {
        let label = |name: &str| object.labels().get(name).map(|value| value.as_str().into());
        let (part, instance) = (label(PART), label(INSTANCE_ID));
        let packed = match many {
            Many::Few => None,
            // What would not come out as it went in stays as it is.
            Many::Many => {
                Packed::of(&object).filter(|packed| packed.object().as_ref() == Some(&object))
            }
        };
        let kept = packed.map_or_else(|| Kept::Whole(Arc::new(object)), Kept::Packed);
        Self {
            version,
            part,
            instance,
            kept,
        }
    }

    /// The API server's count of changes.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Whether it is this to Boma.
    pub(super) fn is_part(&self, part: Part) -> bool {
        self.part.as_deref() == Some(part.word())
    }

    /// Whether it belongs to an instance.
    pub(super) fn is_of(&self, instance: &str) -> bool {
        self.instance.as_deref() == Some(instance)
    }

    /// The object; never none: what is packed was read once.
    pub(super) fn object(&self) -> Option<Arc<DynamicObject>> {
        match &self.kept {
            Kept::Whole(object) => Some(object.clone()),
            Kept::Packed(packed) => packed.object().map(Arc::new),
        }
    }
}

impl Packed {
    fn of(object: &DynamicObject) -> Option<Self> {
        let head = serde_json::to_vec(&(&object.types, &object.metadata)).ok()?;
        let body = serde_json::to_vec(&object.data).ok()?;
        Some(Self {
            head: head.into(),
            body: body.into(),
        })
    }

    fn object(&self) -> Option<DynamicObject> {
        let (types, metadata): (Option<TypeMeta>, ObjectMeta) =
            serde_json::from_slice(&self.head).ok()?;
        Some(DynamicObject {
            types,
            metadata,
            data: serde_json::from_slice(&self.body).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_comes_out_as_it_went_in() {
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": "accounts-1",
                "namespace": "team",
                "uid": "8c8b",
                "resourceVersion": "12",
                "creationTimestamp": "2026-11-23T08:00:00Z",
                "labels": {PART: "instance", INSTANCE_ID: "00000000-0000-0000-0000-000000000001"},
                "annotations": {"a": "é\n"},
            },
            "type": "Opaque",
            "data": {"x": "YQ=="},
            "spec": {"replicas": 1, "list": [{"a": null}, 1.5, true]},
        }))
        .unwrap();
        let stored = Stored::new(object.clone(), 12, Many::Many);
        assert!(matches!(stored.kept, Kept::Packed(_)));
        assert_eq!(stored.object().as_deref(), Some(&object));
        assert!(stored.is_part(Part::Instance) && !stored.is_part(Part::Database));
        assert!(stored.is_of("00000000-0000-0000-0000-000000000001"));
        let whole = Stored::new(object.clone(), 12, Many::Few);
        assert!(matches!(whole.kept, Kept::Whole(_)));
        assert_eq!(whole.object().as_deref(), Some(&object));
    }
}
