//! Lines of history of a cluster: where each was left for the next. Pure.
//!
//! PostgreSQL notes them in files such as `00000003.history`, one line for each earlier timeline:
//! its number, the position at which it was left, and why.

use boma_instance::wal::{Lsn, Timeline};

/// Where a timeline came from, as its `.history` file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// Whose.
    pub timeline: Timeline,
    /// Earlier ones, oldest first.
    pub switches: Vec<Switch>,
}

/// A timeline that was left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// Which.
    pub parent: Timeline,
    /// Where.
    pub at: Lsn,
    /// Why, in PostgreSQL's words.
    pub reason: String,
}

/// What is wrong with a `.history` file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// A line is not one of a history.
    #[error("line {line} of the history of timeline {timeline} cannot be read")]
    Line {
        /// Whose history.
        timeline: Timeline,
        /// From 1.
        line: usize,
    },
    /// Timelines or positions go backwards.
    #[error("line {line} of the history of timeline {timeline} goes backwards")]
    Backwards {
        /// Whose history.
        timeline: Timeline,
        /// From 1.
        line: usize,
    },
    /// It names no timeline.
    #[error("the history of timeline {timeline} is empty")]
    Empty {
        /// Whose history.
        timeline: Timeline,
    },
}

impl History {
    /// Reads the content of a `.history` file. Empty lines and those that begin with `#` are left
    /// out, as PostgreSQL does.
    pub fn parse(timeline: Timeline, text: &str) -> Result<Self, HistoryError> {
        let mut switches: Vec<Switch> = Vec::new();
        for (at, row) in text.lines().enumerate() {
            let line = at + 1;
            let row = row.trim();
            if row.is_empty() || row.starts_with('#') {
                continue;
            }
            let switch = parse_line(row).ok_or(HistoryError::Line { timeline, line })?;
            let behind = switches
                .last()
                .is_none_or(|last| last.parent < switch.parent && last.at <= switch.at);
            if !behind || switch.parent >= timeline {
                return Err(HistoryError::Backwards { timeline, line });
            }
            switches.push(switch);
        }
        if switches.is_empty() {
            return Err(HistoryError::Empty { timeline });
        }
        Ok(Self { timeline, switches })
    }
}

fn parse_line(row: &str) -> Option<Switch> {
    let mut words = row.splitn(3, |byte: char| byte.is_ascii_whitespace());
    let parent: u32 = words.next()?.parse().ok()?;
    let at = words.next()?.parse().ok()?;
    (parent > 0).then(|| Switch {
        parent: Timeline(parent),
        at,
        reason: words.next().unwrap_or_default().trim().to_owned(),
    })
}

/// A timeline with all that came before it: one way through history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    parts: Vec<Part>,
}

/// The part of a lineage that is on one timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which.
    pub timeline: Timeline,
    /// Where it begins.
    pub begin: Lsn,
    /// Where it was left; none: it is the newest.
    pub end: Option<Lsn>,
}

impl Lineage {
    /// A timeline that nothing came before, or of which nothing else is wanted.
    pub fn alone(timeline: Timeline) -> Self {
        Self {
            parts: vec![Part {
                timeline,
                begin: Lsn(0),
                end: None,
            }],
        }
    }

    /// That of a timeline with a history.
    pub fn of(history: &History) -> Self {
        let mut parts = Vec::with_capacity(history.switches.len() + 1);
        let mut begin = Lsn(0);
        for switch in &history.switches {
            parts.push(Part {
                timeline: switch.parent,
                begin,
                end: Some(switch.at),
            });
            begin = switch.at;
        }
        parts.push(Part {
            timeline: history.timeline,
            begin,
            end: None,
        });
        Self { parts }
    }

    /// Its parts, oldest first; never none.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Its newest timeline.
    pub fn timeline(&self) -> Timeline {
        self.parts.last().map_or(Timeline(1), |part| part.timeline)
    }

    /// The part on one timeline.
    pub fn part(&self, timeline: Timeline) -> Option<&Part> {
        self.parts.iter().find(|part| part.timeline == timeline)
    }

    /// Whether a position on a timeline is on this way: the timeline was not left before it.
    pub fn holds(&self, timeline: Timeline, lsn: Lsn) -> bool {
        self.part(timeline)
            .is_some_and(|part| part.end.is_none_or(|end| lsn <= end))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const THREE: &str = "1\t0/3000158\tno recovery target specified\n\n\
                         # by hand\n2\t0/5000000\tbefore 2026-11-21 14:32:06+00\n";

    #[test]
    fn a_history_is_read_as_postgresql_writes_it() {
        let history = History::parse(Timeline(3), THREE).unwrap();
        assert_eq!(history.switches.len(), 2);
        assert_eq!(history.switches[0].parent, Timeline(1));
        assert_eq!(history.switches[0].at, Lsn(0x0300_0158));
        assert_eq!(history.switches[1].reason, "before 2026-11-21 14:32:06+00");
    }

    #[test]
    fn a_lineage_holds_what_came_before_a_timeline_was_left() {
        let lineage = Lineage::of(&History::parse(Timeline(3), THREE).unwrap());
        assert_eq!(lineage.timeline(), Timeline(3));
        assert_eq!(lineage.parts()[1].begin, Lsn(0x0300_0158));
        assert!(lineage.holds(Timeline(1), Lsn(0x0300_0158)));
        assert!(!lineage.holds(Timeline(1), Lsn(0x0300_0159)));
        assert!(lineage.holds(Timeline(3), Lsn(u64::MAX)));
        assert!(!lineage.holds(Timeline(4), Lsn(0)));
        assert!(Lineage::alone(Timeline(2)).holds(Timeline(2), Lsn(9)));
    }

    #[test]
    fn a_history_that_cannot_be_says_which_line() {
        for (text, message) in [
            ("", "the history of timeline 3 is empty"),
            ("# nothing\n", "the history of timeline 3 is empty"),
            ("1\n", "line 1 of the history of timeline 3 cannot be read"),
            (
                "\nx\t0/1\t",
                "line 2 of the history of timeline 3 cannot be read",
            ),
            (
                "0\t0/1\t",
                "line 1 of the history of timeline 3 cannot be read",
            ),
            (
                "3\t0/1\t",
                "line 1 of the history of timeline 3 goes backwards",
            ),
            (
                "2\t0/1\t\n1\t0/2\t",
                "line 2 of the history of timeline 3 goes backwards",
            ),
            (
                "1\t0/2\t\n2\t0/1\t",
                "line 2 of the history of timeline 3 goes backwards",
            ),
        ] {
            let error = History::parse(Timeline(3), text).unwrap_err();
            assert_eq!(error.to_string(), message, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_history_or_refused(text in "[0-9A-F/#\t\n a-z]{0,80}") {
            if let Ok(history) = History::parse(Timeline(9), &text) {
                let lineage = Lineage::of(&history);
                prop_assert_eq!(lineage.parts().len(), history.switches.len() + 1);
            }
        }
    }
}
