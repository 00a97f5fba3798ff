//! Manifests that stand for themselves: what is wrong with one holds back that one.
//!
//! ```text
//!   all files ─► catalog ─► an error ─► whose change made it? ─► that one as it was in force ─┐
//!        ▲                                                                                    │
//!        └────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! A commit is taken or left as a whole. Objects of an API server come one by one, from people who
//! know nothing of each other; an error in one must not stop the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use boma_manifest::{Kind, Manifest};
use boma_problem::Problem;

use super::{File, Former, Snapshot};
use crate::catalog::{Basis, Catalog, Subject};
use crate::keys::{ApplicationKey, DatabaseKey};

/// By the name of the file.
type Files = BTreeMap<Arc<str>, Arc<File>>;

/// What is known of manifests that stand for themselves.
#[derive(Debug)]
pub struct Alone {
    basis: Arc<Basis>,
    /// As they were in force last.
    in_force: Files,
    /// The catalog of the last look, so that the next one looks at what has changed.
    catalog: Catalog,
}

/// How each is taken.
type Choice = BTreeMap<Arc<str>, Taken>;

/// How one of them is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// As it is.
    Now,
    /// As it was in force; not at all where it never was.
    Before,
}

impl Alone {
    /// Nothing was in force yet.
    pub fn new(basis: Basis) -> Self {
        Self {
            basis: Arc::new(basis),
            in_force: Files::new(),
            catalog: Catalog::default(),
        }
    }

    /// Takes those back whose change is wrong, and says what is wrong with them.
    ///
    /// # Guarantees
    /// What was in force is never left out because of an error: where it is not known how it was,
    /// the error stays in the snapshot, which is not to be acted upon.
    pub fn judge(&mut self, snapshot: Snapshot) -> Snapshot {
        // With an error elsewhere, what is missing there would be laid to these.
        if snapshot.alone.is_empty() && self.in_force.is_empty() || !snapshot.is_sound_but_alone() {
            return snapshot;
        }
        let case = Case::of(snapshot);
        let mut taken = case.first_guess();
        let mut held_back = case.wrong_by_themselves();
        loop {
            let files = self.chosen(&case, &taken);
            let Some(first) = self.first_error(&case, &files) else {
                self.in_force.clone_from(&files);
                return case.with(files, held_back);
            };
            let blamed = match blamed(&first, |name| self.may_go_back(name, &case, &taken)) {
                Some(name) => vec![name],
                // Nothing that is there was changed: something that is gone is missed.
                None => self.gone(&taken),
            };
            if blamed.is_empty() {
                return case.snapshot;
            }
            held_back.push(first);
            taken.extend(blamed.into_iter().map(|name| (name, Taken::Before)));
        }
    }

    /// The files of those that stand for themselves.
    fn chosen(&self, case: &Case, taken: &Choice) -> Files {
        let chosen = taken.iter().filter_map(|(name, taken)| {
            let before = self.in_force.get(name);
            let file = match taken {
                Taken::Now => case.now.get(name),
                // It was in force, and how is not known: it stays, with its error.
                Taken::Before if before.is_none() && case.was_in_force(name) => case.now.get(name),
                Taken::Before => before,
            };
            Some((name.clone(), file?.clone()))
        });
        chosen.collect()
    }

    fn first_error(&mut self, case: &Case, files: &Files) -> Option<Problem> {
        let mut all: Vec<&Arc<File>> = case.rest.iter().chain(files.values()).collect();
        all.sort_by(|one, other| one.source.name.cmp(&other.source.name));
        let parsed = all.into_iter().map(|file| &file.parsed);
        let (catalog, between) = self.catalog.rebuild(parsed, &self.basis);
        self.catalog = catalog;
        let own = files.values().flat_map(|file| file.parsed.problems.clone());
        own.chain(between).find(Problem::is_error)
    }

    /// Whether taking one as it was in force would be another choice.
    fn may_go_back(&self, name: &str, case: &Case, taken: &Choice) -> bool {
        let is_now = taken.get(name) == Some(&Taken::Now);
        is_now
            && match (self.in_force.get(name), case.now.get(name)) {
                (Some(before), now) => now.is_none_or(|now| !Arc::ptr_eq(before, now)),
                (None, _) => !case.was_in_force(name),
            }
    }

    /// Those that were in force and are no more.
    fn gone(&self, taken: &Choice) -> Vec<Arc<str>> {
        let in_force = self.in_force.keys();
        let gone = in_force.filter(|name| !taken.contains_key(*name));
        gone.cloned().collect()
    }
}

/// What is to be judged.
struct Case {
    snapshot: Snapshot,
    /// The files that stand for themselves, as they are now.
    now: Files,
    /// All others.
    rest: Vec<Arc<File>>,
}

impl Case {
    fn of(snapshot: Snapshot) -> Self {
        let files = snapshot.files.iter().cloned();
        let (alone, rest): (Vec<_>, Vec<_>) =
            files.partition(|file| snapshot.alone.contains_key(&file.source.name));
        let now = alone
            .into_iter()
            .map(|file| (file.source.name.clone(), file));
        Self {
            now: now.collect(),
            rest,
            snapshot,
        }
    }

    fn first_guess(&self) -> Choice {
        let guess = |file: &File| {
            if is_wrong(file) {
                Taken::Before
            } else {
                Taken::Now
            }
        };
        let now = self.now.iter();
        now.map(|(name, file)| (name.clone(), guess(file)))
            .collect()
    }

    fn wrong_by_themselves(&self) -> Vec<Problem> {
        let wrong = self.now.values().filter(|file| is_wrong(file));
        wrong
            .flat_map(|file| file.parsed.problems.clone())
            .collect()
    }

    fn was_in_force(&self, name: &str) -> bool {
        match self.snapshot.alone.get(name) {
            Some(Former::InForce) => true,
            Some(Former::Perhaps(subject)) => !self.is_described_elsewhere(subject),
            Some(Former::New) | None => false,
        }
    }

    fn is_described_elsewhere(&self, subject: &Subject) -> bool {
        let documents = self.rest.iter().flat_map(|file| &file.parsed.documents);
        documents
            .into_iter()
            .any(|manifest| subject_of(manifest) == *subject)
    }

    /// The snapshot with these files in place of those that stand for themselves.
    fn with(self, files: Files, held_back: Vec<Problem>) -> Snapshot {
        let mut snapshot = self.snapshot;
        snapshot.files = self.rest.into_iter().chain(files.into_values()).collect();
        let files = &mut snapshot.files;
        files.sort_by(|one, other| one.source.name.cmp(&other.source.name));
        snapshot.held_back.extend(held_back);
        snapshot
    }
}

fn subject_of(manifest: &Manifest) -> Subject {
    let metadata = manifest.metadata();
    let (project, name) = (metadata.project.to_string(), metadata.name.as_str());
    match manifest.kind() {
        Kind::Database => Subject::from(&DatabaseKey::new(project, name)),
        Kind::Application => Subject::from(&ApplicationKey::new(project, name)),
    }
}

fn is_wrong(file: &File) -> bool {
    file.parsed.problems.iter().any(Problem::is_error)
}

/// The manifest that an error is laid to: the one that it is about, or another that it names.
fn blamed(problem: &Problem, may_go_back: impl Fn(&str) -> bool) -> Option<Arc<str>> {
    let places = problem.place.iter();
    let places = places.chain(problem.related.iter().map(|(_, place)| place));
    let names: BTreeSet<(usize, &str)> = places
        .enumerate()
        .map(|(at, place)| (at, place.file.as_str()))
        .collect();
    let found = names.into_iter().find(|(_, name)| may_go_back(name));
    found.map(|(_, name)| Arc::from(name))
}

#[cfg(test)]
mod tests;
