//! Every resource of the catalog in turn. In a large installation all but a few are as they should
//! be, and finding that out is most of a plan's work; so it is tried on several threads first, and
//! what something is to be done about is then planned in order, as if nothing had been tried.

use std::ops::Range;
use std::panic::resume_unwind;
use std::thread;

use boma_instance::InstanceId;
use uuid::Uuid;

use super::draft::Draft;
use super::{application, database};
use crate::catalog::Catalog;

/// From so many databases and applications on, threads are worth their start.
const MANY: usize = 4_000;

/// More threads than this wait for memory, not for a processor.
const THREADS: usize = 4;

/// Where something is to be done about more than this share of the resources, trying is in vain.
const RARE: usize = 32;

/// How many threads a catalog is planned on.
pub(super) fn threads_for(catalog: &Catalog) -> usize {
    let resources = catalog.databases().len() + catalog.applications().len();
    if resources < MANY { 1 } else { THREADS }
}

/// Plans the databases.
pub(super) fn databases(
    draft: &mut Draft<'_>,
    threads: usize,
    ids: &mut dyn FnMut() -> InstanceId,
) {
    let count = draft.catalog.databases().len();
    let note = |draft: &mut Draft<'_>, place: usize| {
        draft
            .notes
            .database(&draft.catalog.databases()[place], draft.seen);
    };
    // A trial that needs an id has something to do, and is thrown away.
    let trial = |draft: &mut Draft<'_>, place: usize| {
        database::plan(draft, place, &mut || InstanceId(Uuid::nil()));
    };
    for place in busy(draft, (threads, count), note, trial) {
        database::plan(draft, place, ids);
    }
}

/// Plans the applications.
pub(super) fn applications(draft: &mut Draft<'_>, threads: usize) {
    let count = draft.catalog.applications().len();
    let note = |draft: &mut Draft<'_>, place: usize| {
        draft
            .notes
            .application(&draft.catalog.applications()[place]);
    };
    for place in busy(draft, (threads, count), note, application::plan) {
        application::plan(draft, place);
    }
}

/// Notes what is worth a warning, takes over what becomes of the resources that nothing is to be
/// done about, and gives the places of the others, in order.
fn busy<'a>(
    draft: &mut Draft<'a>,
    (threads, count): (usize, usize),
    note: impl Fn(&mut Draft<'a>, usize) + Sync,
    one: impl Fn(&mut Draft<'a>, usize) + Sync,
) -> Vec<usize> {
    if threads == 1 {
        (0..count).for_each(|place| note(draft, place));
        return (0..count).collect();
    }
    let ranges = (0..threads).map(|n| count * n / threads..count * (n + 1) / threads);
    let tried: Vec<Tried<'a>> = thread::scope(|scope| {
        let before = &*draft;
        let (note, one) = (&note, &one);
        let running: Vec<_> = ranges
            .map(|range| scope.spawn(move || Tried::of(before, range, note, one)))
            .collect();
        let ended = running.into_iter().map(thread::ScopedJoinHandle::join);
        ended
            .map(|tried| tried.unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    });
    let mut busy = Vec::new();
    for one in tried {
        busy.extend(one.adopted_by(draft));
    }
    busy
}

/// What came of trying a range of resources.
struct Tried<'a> {
    /// What becomes of them; its plan is of no use.
    trial: Draft<'a>,
    /// Where something is to be done; what becomes of these is planned once more.
    busy: Vec<usize>,
}

impl<'a> Tried<'a> {
    fn of(
        before: &Draft<'a>,
        range: Range<usize>,
        note: impl Fn(&mut Draft<'a>, usize),
        one: impl Fn(&mut Draft<'a>, usize),
    ) -> Self {
        let mut tried = Self {
            trial: before.trial(),
            busy: Vec::new(),
        };
        let enough = RARE + range.len() / RARE;
        for place in range {
            note(&mut tried.trial, place);
            if tried.busy.len() < enough {
                one(&mut tried.trial, place);
            }
            if tried.busy.len() >= enough || tried.trial.take_work() {
                tried.busy.push(place);
            }
        }
        tried
    }

    /// Hands over what becomes of the quiet ones; gives the busy ones.
    fn adopted_by(self, draft: &mut Draft<'a>) -> Vec<usize> {
        draft.adopt(self.trial);
        self.busy
    }
}
