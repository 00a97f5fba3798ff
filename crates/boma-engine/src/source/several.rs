//! Several sources as one.
//!
//! ```text
//!   each source ─► its last sound snapshot ─┐
//!                                           ├─► all files together ─► the catalog
//!   each source ─► its last sound snapshot ─┘
//! ```
//!
//! What is wrong within one source holds that one back, at what it said last without an error, and
//! none of the others. What is wrong between them is found by the catalog, and holds all back.

use std::sync::Arc;

use super::Snapshot;

/// What several sources hold.
#[derive(Debug)]
pub struct Several(Vec<Part>);

/// One of them.
#[derive(Clone, Debug, Default)]
struct Part {
    /// As it was read last; none: it was not read yet.
    last: Option<Arc<Snapshot>>,
    /// As it was read last without an error.
    sound: Option<Arc<Snapshot>>,
}

impl Several {
    /// So many sources, of which nothing is known yet.
    pub fn new(count: usize) -> Self {
        Self(vec![Part::default(); count])
    }

    /// Takes what one of them holds now.
    ///
    /// # Panics
    /// When there are not so many.
    pub fn take(&mut self, at: usize, snapshot: Arc<Snapshot>) {
        let part = &mut self.0[at];
        if snapshot.is_sound_but_alone() {
            part.sound = Some(Arc::clone(&snapshot));
        }
        part.last = Some(snapshot);
    }

    /// All of them together; none: one was not read yet, so that what is missing could be there.
    ///
    /// # Guarantees
    /// Of each source there are all files of one reading. Of one that never was without an error
    /// there are these errors, so the whole is not sound.
    pub fn together(&self) -> Option<Snapshot> {
        let mut all = Snapshot::default();
        for part in &self.0 {
            let last = part.last.as_ref()?;
            let held = part
                .sound
                .as_ref()
                .filter(|sound| !Arc::ptr_eq(sound, last));
            let taken = match held {
                Some(sound) if !last.is_sound_but_alone() => {
                    all.held_back.extend(last.problems().cloned());
                    sound
                }
                Some(_) | None => last,
            };
            all.files.extend(taken.files.iter().cloned());
            all.problems.extend(taken.problems.iter().cloned());
            all.held_back.extend(taken.held_back.iter().cloned());
            let revisions = taken.revisions.iter();
            let revisions = revisions.map(|(label, one)| (label.clone(), one.clone()));
            all.revisions.extend(revisions);
            let alone = taken.alone.iter();
            all.alone
                .extend(alone.map(|(name, former)| (name.clone(), former.clone())));
            all.changes += last.changes;
        }
        all.files
            .sort_by(|one, other| one.source.name.cmp(&other.source.name));
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use boma_manifest::{SourceFile, parse_file};
    use boma_problem::Problem;

    use super::*;
    use crate::source::File;

    fn snapshot(files: &[(&str, &str)]) -> Arc<Snapshot> {
        let file = |(name, text): &(&str, &str)| {
            let source = SourceFile::new(*name, text.as_bytes());
            let parsed = Arc::new(parse_file(&source));
            Arc::new(File { source, parsed })
        };
        Arc::new(Snapshot {
            files: files.iter().map(file).collect(),
            ..Snapshot::default()
        })
    }

    fn names(several: &Several) -> Vec<(String, usize)> {
        let files = several.together().unwrap().files;
        let name = |file: &Arc<File>| (file.source.name.to_string(), file.source.bytes.len());
        files.iter().map(name).collect()
    }

    #[test]
    fn nothing_is_known_before_all_were_read() {
        let mut several = Several::new(2);
        several.take(1, snapshot(&[]));
        assert!(several.together().is_none());
        several.take(0, snapshot(&[]));
        assert!(several.together().is_some_and(|all| all.is_sound()));
    }

    #[test]
    fn a_source_with_an_error_stays_as_it_was_and_the_other_goes_on() {
        let mut several = Several::new(2);
        several.take(0, snapshot(&[("b/x.yaml", "")]));
        several.take(1, snapshot(&[("a/y.yaml", "")]));
        let wrong = "kind: Database\napiVersion: lowops.manifests.v1\n";
        several.take(0, snapshot(&[("b/x.yaml", wrong), ("b/z.yaml", "")]));
        several.take(1, snapshot(&[("a/y.yaml", "# more\n")]));
        let all = several.together().unwrap();
        assert!(all.is_sound() && all.held_back.iter().any(Problem::is_error));
        let expected = [("a/y.yaml".to_owned(), 7), ("b/x.yaml".to_owned(), 0)];
        assert_eq!(names(&several), expected);
        several.take(0, snapshot(&[("b/z.yaml", "")]));
        let all = several.together().unwrap();
        assert_eq!(all.held_back, []);
        assert_eq!(names(&several)[1].0, "b/z.yaml");
    }

    #[test]
    fn a_source_that_never_was_without_an_error_makes_the_whole_unsound() {
        let mut several = Several::new(2);
        let wrong = "kind: Database\napiVersion: lowops.manifests.v1\n";
        several.take(0, snapshot(&[("a/x.yaml", wrong)]));
        several.take(1, snapshot(&[]));
        let all = several.together().unwrap();
        assert!(!all.is_sound() && all.held_back.is_empty());
    }
}
