//! An object as it is kept. Pure.
//!
//! Objects of one kind that are the same to Boma differ in names, ids and what is secret: each is kept
//! as what tells it apart from the first of them, which takes a third to a twentieth of its text.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use kube::ResourceExt;
use kube::core::{DynamicObject, ObjectMeta, TypeMeta};
use zstd::zstd_safe::{CCtx, DCtx, compress_bound, get_frame_content_size};

use super::Many;
use crate::names::{INSTANCE_ID, PART, Part};

/// zstd's level: a higher one finds 3 % more in such texts.
const LEVEL: i32 = 1;

thread_local! {
    /// A context takes longer to make than it takes to read an object.
    static CONTEXTS: RefCell<Contexts> = RefCell::new(Contexts {
        packing: CCtx::create(),
        unpacking: DCtx::create(),
    });
}

struct Contexts {
    packing: CCtx<'static>,
    unpacking: DCtx<'static>,
}

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

/// The text of the first object of each part, by the word for the part.
#[derive(Debug, Default)]
pub(super) struct Firsts(HashMap<Box<str>, Arc<[u8]>>);

/// The text of an object, packed. It has two parts: told apart in one, each map in it would be read
/// twice.
#[derive(Debug)]
struct Packed {
    first: Arc<[u8]>,
    frame: Box<[u8]>,
    /// Where the second part of the text begins.
    body: usize,
}

impl Stored {
    pub(super) fn new(
        object: DynamicObject,
        version: u64,
        many: Many,
        firsts: &mut Firsts,
    ) -> Self {
        let label = |name: &str| object.labels().get(name).map(|value| value.as_str().into());
        let (part, instance): (Option<Box<str>>, _) = (label(PART), label(INSTANCE_ID));
        let packed = match many {
            Many::Few => None,
            // What would not come out as it went in stays as it is.
            Many::Many => Packed::of(&object, part.as_deref(), firsts)
                .filter(|packed| packed.object().as_ref() == Some(&object)),
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

impl Firsts {
    /// The first of these; this text, if there was none yet.
    fn of(&mut self, part: &str, text: &[u8]) -> Arc<[u8]> {
        if let Some(first) = self.0.get(part) {
            return first.clone();
        }
        let first: Arc<[u8]> = text.into();
        self.0.insert(part.into(), first.clone());
        first
    }
}

impl Packed {
    fn of(object: &DynamicObject, part: Option<&str>, firsts: &mut Firsts) -> Option<Self> {
        let mut text = serde_json::to_vec(&(&object.types, &object.metadata)).ok()?;
        let body = text.len();
        serde_json::to_writer(&mut text, &object.data).ok()?;
        let first = firsts.of(part.unwrap_or_default(), &text);
        let frame = CONTEXTS.with_borrow_mut(|contexts| contexts.pack(&text, &first))?;
        Some(Self { first, frame, body })
    }

    fn object(&self) -> Option<DynamicObject> {
        let text =
            CONTEXTS.with_borrow_mut(|contexts| contexts.unpack(&self.frame, &self.first))?;
        let (head, body) = text.split_at_checked(self.body)?;
        let (types, metadata): (Option<TypeMeta>, ObjectMeta) =
            serde_json::from_slice(head).ok()?;
        Some(DynamicObject {
            types,
            metadata,
            data: serde_json::from_slice(body).ok()?,
        })
    }
}

impl Contexts {
    fn pack(&mut self, text: &[u8], first: &[u8]) -> Option<Box<[u8]>> {
        let mut frame = Vec::with_capacity(compress_bound(text.len()));
        let done = self
            .packing
            .compress_using_dict(&mut frame, text, first, LEVEL);
        done.ok()?;
        Some(frame.as_slice().into())
    }

    fn unpack(&mut self, frame: &[u8], first: &[u8]) -> Option<Vec<u8>> {
        let length = get_frame_content_size(frame).ok()??;
        let mut text = Vec::with_capacity(usize::try_from(length).ok()?);
        let done = self
            .unpacking
            .decompress_using_dict(&mut text, frame, first);
        done.ok()?;
        Some(text)
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
        let firsts = &mut Firsts::default();
        let stored = Stored::new(object.clone(), 12, Many::Many, firsts);
        assert!(matches!(stored.kept, Kept::Packed(_)));
        assert_eq!(stored.object().as_deref(), Some(&object));
        assert!(stored.is_part(Part::Instance) && !stored.is_part(Part::Database));
        assert!(stored.is_of("00000000-0000-0000-0000-000000000001"));
        let whole = Stored::new(object.clone(), 12, Many::Few, firsts);
        assert!(matches!(whole.kept, Kept::Whole(_)));
        assert_eq!(whole.object().as_deref(), Some(&object));
    }
    #[test]
    fn an_object_takes_as_much_as_sets_it_apart_from_the_first_of_its_part() {
        let object = |part: &str, name: &str| -> DynamicObject {
            let lines: Vec<String> = (0..100).map(|line| format!("{part} {line}")).collect();
            serde_json::from_value(json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "labels": {PART: part}},
                "data": lines,
            }))
            .unwrap()
        };
        let firsts = &mut Firsts::default();
        let mut length_of = |part: &str, name: &str| {
            let object = object(part, name);
            let stored = Stored::new(object.clone(), 1, Many::Many, firsts);
            assert_eq!(stored.object().as_deref(), Some(&object));
            match stored.kept {
                Kept::Packed(packed) => packed.frame.len(),
                Kept::Whole(_) => panic!("it is not packed"),
            }
        };
        length_of("instance", "a");
        length_of("grant", "b");
        for part in ["instance", "grant"] {
            let length = length_of(part, "another");
            assert!(length < 100, "{length}");
        }
        assert_eq!(firsts.0.len(), 2);
    }
}
