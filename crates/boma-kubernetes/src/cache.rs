//! Objects of one kind, as they were last heard of.
//!
//! A watch tells of changes late, and what was just written must be seen by the next look: a plan
//! made from an older world would do things twice. So whatever the API server answers to a write
//! goes in here too, and a version that is older than the one at hand is passed over.
//!
//! A thousand databases are seven thousand objects. As trees of values they take some 100 MiB, each map
//! more than half a KiB, and as texts 14; so they are kept packed ([`packed`]), and read when they are
//! asked for, which takes some ten microseconds each.

mod packed;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use boma_instance::InstanceId;
use kube::ResourceExt;
use kube::core::DynamicObject;
use kube::runtime::watcher::Event;

use crate::names::Part;
use packed::{Firsts, Stored};

/// Namespace (empty for objects without) and name.
pub(crate) type Place = (String, String);

/// Where an object is.
pub(crate) fn place_of(object: &DynamicObject) -> Place {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// How many objects of a kind there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Many {
    /// One for each project or so: they are kept as they came.
    #[default]
    Few,
    /// One for each database or application: they are packed.
    Many,
}

/// The objects of one kind.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    many: Many,
    firsts: Firsts,
    objects: BTreeMap<Place, Arc<Stored>>,
    /// What the list that is being read has told of so far, and its newest version.
    listing: Option<(BTreeSet<Place>, u64)>,
}

impl Cache {
    /// Of a kind of which there are so many.
    pub(crate) fn of(many: Many) -> Self {
        Self {
            inner: Mutex::new(Inner {
                many,
                ..Inner::default()
            }),
        }
    }

    /// All of them, by place.
    pub(crate) fn all(&self) -> impl Iterator<Item = Arc<DynamicObject>> + use<> {
        self.those(|_| true)
    }

    /// Those that are this to Boma, by place.
    pub(crate) fn of_part(&self, part: Part) -> impl Iterator<Item = Arc<DynamicObject>> + use<> {
        self.those(move |stored| stored.is_part(part))
    }

    /// One that belongs to an instance.
    pub(crate) fn of_instance(&self, id: InstanceId) -> Option<Arc<DynamicObject>> {
        let id = id.to_string();
        let inner = self.lock();
        let mut objects = inner.objects.values();
        objects.find(|stored| stored.is_of(&id))?.object()
    }

    /// Where those are that are this to Boma, and their versions.
    pub(crate) fn versions_of(&self, part: Part) -> Vec<(Place, u64)> {
        let inner = self.lock();
        let those = inner.objects.iter();
        let those = those.filter(|(_, stored)| stored.is_part(part));
        those
            .map(|(place, stored)| (place.clone(), stored.version()))
            .collect()
    }

    /// One of them.
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<Arc<DynamicObject>> {
        let place = (namespace.to_owned(), name.to_owned());
        self.lock().objects.get(&place)?.object()
    }

    /// The version of one of them.
    pub(crate) fn version(&self, namespace: &str, name: &str) -> Option<u64> {
        let place = (namespace.to_owned(), name.to_owned());
        Some(self.lock().objects.get(&place)?.version())
    }

    /// Takes what the API server answered to a write or a read; tells whether it is news.
    pub(crate) fn put(&self, object: DynamicObject) -> bool {
        self.lock().put(object)
    }

    /// Takes an object away that was seen to be gone.
    pub(crate) fn remove(&self, namespace: &str, name: &str) -> bool {
        let place = (namespace.to_owned(), name.to_owned());
        self.lock().objects.remove(&place).is_some()
    }

    /// Takes an object away that was not there when it was asked for. `known` is its version from
    /// before that: one that was written meanwhile stays.
    pub(crate) fn forget(&self, namespace: &str, name: &str, known: Option<u64>) {
        let place = (namespace.to_owned(), name.to_owned());
        let mut inner = self.lock();
        if inner.objects.get(&place).map(|stored| stored.version()) == known {
            inner.objects.remove(&place);
        }
    }

    /// Takes what the watch tells; answers whether anything changed, and whether a list is whole.
    pub(crate) fn heard(&self, event: Event<DynamicObject>) -> Heard {
        let mut inner = self.lock();
        let changed = match event {
            Event::Apply(object) => inner.put(object),
            Event::Delete(object) => inner.delete(&object),
            Event::Init => {
                inner.listing = Some((BTreeSet::new(), 0));
                false
            }
            Event::InitApply(object) => {
                if let Some((places, newest)) = &mut inner.listing {
                    places.insert(place_of(&object));
                    *newest = (*newest).max(version(&object));
                }
                inner.put(object)
            }
            Event::InitDone => {
                inner.listed();
                return Heard::Whole;
            }
        };
        if changed { Heard::News } else { Heard::Nothing }
    }

    /// Read one after the other: a thousand at one time would be more than all that is kept.
    fn those<W: Fn(&Stored) -> bool>(
        &self,
        which: W,
    ) -> impl Iterator<Item = Arc<DynamicObject>> + use<W> {
        let inner = self.lock();
        let those = inner.objects.values().filter(|stored| which(stored));
        let those: Vec<Arc<Stored>> = those.cloned().collect();
        those.into_iter().filter_map(|stored| stored.object())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an event of a watch brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing that was not known.
    Nothing,
    /// A change.
    News,
    /// A list was read to its end.
    Whole,
}

impl Inner {
    fn put(&mut self, mut object: DynamicObject) -> bool {
        let place = place_of(&object);
        let known = self.objects.get(&place);
        // An object that was made anew counts on from the API server's counter as well.
        if known.is_some_and(|known| known.version() >= version(&object)) {
            return false;
        }
        // Nobody here reads them, and they are half of many objects.
        object.metadata.managed_fields = None;
        let version = version(&object);
        let stored = Stored::new(object, version, self.many, &mut self.firsts);
        self.objects.insert(place, Arc::new(stored));
        true
    }

    fn delete(&mut self, object: &DynamicObject) -> bool {
        let place = place_of(object);
        let is_newer = self
            .objects
            .get(&place)
            .is_some_and(|known| known.version() > version(object));
        !is_newer && self.objects.remove(&place).is_some()
    }

    /// Drops what a whole list did not tell of, but for what was written after it.
    fn listed(&mut self) {
        if let Some((places, newest)) = self.listing.take() {
            self.objects
                .retain(|place, known| places.contains(place) || known.version() > newest);
        }
    }
}

/// The API server's count of changes. It is opaque by the letter; in every release since 1.0 it is
/// etcd's revision, and since 1.35 it is said to be comparable as a number.
fn version(object: &DynamicObject) -> u64 {
    object
        .resource_version()
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, version: u64) -> DynamicObject {
        let resource = crate::kinds::Kind::Secret.resource();
        let mut object = DynamicObject::new(name, &resource).within("ns");
        object.metadata.resource_version = Some(version.to_string());
        object
    }

    fn versions(cache: &Cache) -> Vec<u64> {
        cache.all().map(|object| version(&object)).collect()
    }

    #[test]
    fn a_late_watch_takes_back_nothing() {
        let cache = Cache::of(Many::Many);
        assert!(cache.put(object("a", 7)));
        assert_eq!(cache.heard(Event::Apply(object("a", 5))), Heard::Nothing);
        assert_eq!(cache.heard(Event::Delete(object("a", 6))), Heard::Nothing);
        assert_eq!(versions(&cache), [7]);
        assert_eq!(cache.heard(Event::Apply(object("a", 8))), Heard::News);
        assert_eq!(cache.heard(Event::Delete(object("a", 9))), Heard::News);
        assert_eq!(cache.all().count(), 0);
    }

    #[test]
    fn what_was_written_while_it_was_asked_for_is_there() {
        let cache = Cache::of(Many::Many);
        let before = cache.version("ns", "a");
        cache.put(object("a", 7));
        cache.forget("ns", "a", before);
        assert_eq!(versions(&cache), [7]);
        cache.forget("ns", "a", Some(7));
        assert_eq!(cache.all().count(), 0);
    }

    #[test]
    fn a_list_forgets_what_is_gone_and_keeps_what_was_written_meanwhile() {
        let cache = Cache::of(Many::Many);
        cache.put(object("gone", 3));
        cache.heard(Event::Init);
        cache.heard(Event::InitApply(object("stays", 4)));
        cache.put(object("new", 9));
        assert_eq!(cache.heard(Event::InitDone), Heard::Whole);
        assert_eq!(versions(&cache), [9, 4]);
    }
}
