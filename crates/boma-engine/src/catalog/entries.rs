//! Sorted lists of entries, and how one list becomes the next.

use std::cmp::Ordering;
use std::sync::Arc;

use boma_manifest::Origin;

use super::problem;
use super::{Application, Database};
use crate::keys::{ApplicationKey, DatabaseKey};

/// An entry of a sorted list.
pub(super) trait Entry {
    type Key: Ord + problem::Key;

    fn key(&self) -> &Self::Key;

    fn origin(&self) -> &Origin;

    /// Whether it stands to all others as this one does: what is known of who leads where holds
    /// for the one as for the other.
    fn relates_as(&self, other: &Self) -> bool;
}

impl Entry for Database {
    type Key = DatabaseKey;

    fn key(&self) -> &DatabaseKey {
        &self.key
    }

    fn origin(&self) -> &Origin {
        &self.origin
    }

    fn relates_as(&self, other: &Self) -> bool {
        self.key == other.key && self.admitted_projects == other.admitted_projects
    }
}

impl Entry for Application {
    type Key = ApplicationKey;

    fn key(&self) -> &ApplicationKey {
        &self.key
    }

    fn origin(&self) -> &Origin {
        &self.origin
    }

    fn relates_as(&self, other: &Self) -> bool {
        let whither = |one: &Self| -> Vec<DatabaseKey> {
            let grants = one.grants.iter();
            grants.map(|grant| grant.database.clone()).collect()
        };
        self.key == other.key && whither(self) == whither(other)
    }
}

pub(super) fn find<'e, E: Entry>(entries: &'e [Arc<E>], key: &E::Key) -> Option<&'e Arc<E>> {
    let index = entries
        .binary_search_by(|entry| entry.key().cmp(key))
        .ok()?;
    entries.get(index)
}

/// By name; two of one name by where they are written.
fn order<E: Entry>(one: &Arc<E>, other: &Arc<E>) -> Ordering {
    one.key().cmp(other.key()).then_with(|| {
        let place = |entry: &Arc<E>| {
            let origin = entry.origin();
            (origin.file().name.clone(), origin.document())
        };
        place(one).cmp(&place(other))
    })
}

/// What becomes of a list.
pub(super) struct Edit<'l, E> {
    former: &'l [Arc<E>],
    /// Places of entries that go.
    gone: Vec<usize>,
    new: Vec<Arc<E>>,
}

/// A list that an edit made.
pub(super) struct Edited<E> {
    pub(super) entries: Vec<Arc<E>>,
    /// Whether entries only took the places of others that relate as they do.
    pub(super) relates_as_before: bool,
}

impl<'l, E: Entry> Edit<'l, E> {
    pub(super) fn of(former: &'l [Arc<E>]) -> Self {
        Self {
            former,
            gone: Vec::new(),
            new: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, entry: E) {
        self.new.push(Arc::new(entry));
    }

    /// Takes away the entry of a document, if it is one.
    pub(super) fn remove(&mut self, key: &E::Key, document: &Origin) {
        let is_it = |entry: &E| {
            let origin = entry.origin();
            std::ptr::eq(origin.file(), document.file()) && origin.document() == document.document()
        };
        let first = self.former.partition_point(|entry| entry.key() < key);
        let named = self.former[first..].iter();
        let mut named = named.take_while(|entry| entry.key() == key);
        let place = named.position(|entry| is_it(entry));
        self.gone.extend(place.map(|place| first + place));
    }

    /// The list afterwards. What stays is copied, not looked at.
    pub(super) fn apply(mut self) -> Edited<E> {
        self.gone.sort_unstable();
        self.new.sort_unstable_by(order);
        let relates_as_before = self.only_replaces();
        let Self { former, gone, new } = self;
        let mut entries = Vec::with_capacity(former.len() + new.len());
        let mut gone = gone.into_iter().peekable();
        let mut from = 0;
        let mut copy_to = |entries: &mut Vec<Arc<E>>, to: usize| {
            while let Some(hole) = gone.next_if(|hole| *hole < to) {
                entries.extend_from_slice(&former[from..hole]);
                from = hole + 1;
            }
            entries.extend_from_slice(&former[from..to]);
            from = to;
        };
        for entry in new {
            let place = former.partition_point(|one| order(one, &entry).is_lt());
            copy_to(&mut entries, place);
            entries.push(entry);
        }
        copy_to(&mut entries, former.len());
        Edited {
            entries,
            relates_as_before,
        }
    }

    fn only_replaces(&self) -> bool {
        let mut pairs = self.gone.iter().zip(&self.new);
        self.gone.len() == self.new.len()
            && pairs.all(|(gone, new)| self.former[*gone].relates_as(new))
    }
}
