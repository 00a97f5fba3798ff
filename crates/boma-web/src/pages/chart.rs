//! Lines over an hour or a part of it, as SVG: readable without scripts, in the colours of the style sheet. Pure.
//!
//! What was not measured is a gap: no line leads over it.

use std::fmt::Write as _;

use boma_instance::history::LONGEST_STEP;
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

/// Width and height of the drawing, which is stretched to the room that there is.
const SIZE: (f64, f64) = (360.0, 100.0);

/// What a drawing reaches back to: minutes, and how that is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    minutes: u8,
    words: &'static str,
}

/// From the shortest to the longest.
const REACHES: [Reach; 4] = [
    Reach {
        minutes: 10,
        words: "10 minutes",
    },
    Reach {
        minutes: 20,
        words: "20 minutes",
    },
    Reach {
        minutes: 30,
        words: "30 minutes",
    },
    Reach {
        minutes: 60,
        words: "hour",
    },
];

impl Reach {
    /// The shortest one with everything in it that was measured, so that the first minutes can be seen
    /// as well.
    pub(crate) fn of(oldest: Timestamp, now: Timestamp) -> Self {
        let [.., longest] = REACHES;
        let mut all = REACHES.into_iter();
        let found = all.find(|one| now.duration_since(oldest) <= one.duration());
        found.unwrap_or(longest)
    }

    fn duration(self) -> SignedDuration {
        SignedDuration::from_mins(self.minutes.into())
    }
}

/// One line.
pub(crate) struct Chart<'c> {
    /// What is shown: `Connections`.
    pub(crate) title: &'c str,
    /// How far back it reaches.
    pub(crate) reach: Reach,
    /// What was measured, oldest first; none: it was looked, and this could not be told.
    pub(crate) points: &'c [(Timestamp, Option<f64>)],
    /// What it cannot be above, if there is such a limit.
    pub(crate) limit: Option<f64>,
    /// What the upper edge stands for, where there is no limit.
    pub(crate) top: f64,
    /// A value for people.
    pub(crate) words: fn(f64) -> String,
}

impl Chart<'_> {
    /// The whole figure, as it is at a moment.
    pub(crate) fn figure(&self, now: Timestamp) -> Markup {
        let words = self.words;
        let newest = self.points.last().and_then(|(at, value)| {
            let is_now = now.duration_since(*at) <= LONGEST_STEP;
            value.filter(|_| is_now)
        });
        html! {
            figure class="chart" {
                figcaption {
                    (self.title) " "
                    strong { @match newest { Some(value) => (words(value)), None => "unknown" } }
                    @if let Some(limit) = self.limit { span class="muted" { " of " (words(limit)) } }
                }
                div class="plot" {
                    span class="edge" aria-hidden="true" { (words(self.edge())) }
                    (self.drawing(now))
                }
                p class="axis" aria-hidden="true" { span { (self.began()) } span { "now" } }
            }
        }
    }

    fn began(&self) -> String {
        match self.reach.words {
            "hour" => "an hour ago".to_owned(),
            words => format!("{words} ago"),
        }
    }

    /// What the upper edge stands for.
    fn edge(&self) -> f64 {
        self.limit.unwrap_or(self.top)
    }

    fn drawing(&self, now: Timestamp) -> Markup {
        let (width, height) = SIZE;
        let segments = self.segments(now);
        let line: String = segments.iter().map(|one| stroke(one)).collect();
        let area: String = segments.iter().map(|one| filled(one)).collect();
        html! {
            svg role="img" aria-label=(self.in_words(now)) viewBox={ "0 0 " (width) " " (height) } preserveAspectRatio="none" {
                path class="grid" d={ "M0 " (height / 2.0) "H" (width) "M0 0H" (width) } {}
                @if !segments.is_empty() {
                    path class="area" d=(area) {}
                    path class="line" d=(line) {}
                }
            }
        }
    }

    /// What the drawing shows, for who does not see it.
    fn in_words(&self, now: Timestamp) -> String {
        let words = self.words;
        let known = self.known(now);
        let title = format!("{} over the last {}", self.title, self.reach.words);
        let (Some(first), Some(last)) = (known.first(), known.last()) else {
            return format!("{title}: nothing was measured.");
        };
        let (low, high) = known.iter().fold((first.1, first.1), |(low, high), one| {
            (low.min(one.1), high.max(one.1))
        });
        format!(
            "{title}: at last {}, lowest {}, highest {}.",
            words(last.1),
            words(low),
            words(high)
        )
    }

    fn known(&self, now: Timestamp) -> Vec<(Timestamp, f64)> {
        let points = self.points.iter();
        points
            .filter(|(at, _)| now.duration_since(*at) <= self.reach.duration())
            .filter_map(|(at, value)| Some((*at, (*value)?)))
            .collect()
    }

    /// Runs of points without a gap, in the drawing's measures.
    fn segments(&self, now: Timestamp) -> Vec<Vec<(f64, f64)>> {
        let mut segments: Vec<Vec<(f64, f64)>> = Vec::new();
        let mut before: Option<Timestamp> = None;
        for (at, value) in self.points {
            let Some(value) = value else {
                before = None;
                continue;
            };
            let joins = before.is_some_and(|before| at.duration_since(before) <= LONGEST_STEP);
            if !joins {
                segments.push(Vec::new());
            }
            if let Some(segment) = segments.last_mut() {
                segment.push(self.place(now, *at, *value));
            }
            before = Some(*at);
        }
        // What ended before the hour began is not to be seen.
        segments.retain(|one| one.iter().any(|(x, _)| *x >= 0.0));
        segments
    }

    fn place(&self, now: Timestamp, at: Timestamp, value: f64) -> (f64, f64) {
        let (width, height) = SIZE;
        let ago = now.duration_since(at).as_secs_f64() / self.reach.duration().as_secs_f64();
        let part = (value / self.edge()).clamp(0.0, 1.0);
        (width * (1.0 - ago), height * (1.0 - part))
    }
}

/// A line through points; one alone is a dot, which round ends of lines make.
fn stroke(points: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (index, (x, y)) in points.iter().enumerate() {
        let letter = if index == 0 { 'M' } else { 'L' };
        // Writing to a string does not fail.
        let _infallible = write!(path, "{letter}{x:.1} {y:.1}");
    }
    if points.len() == 1 {
        path.push_str("h0.1");
    }
    path
}

/// What is below a line.
fn filled(points: &[(f64, f64)]) -> String {
    let (Some((first, _)), Some((last, _))) = (points.first(), points.last()) else {
        return String::new();
    };
    let bottom = SIZE.1;
    let line = stroke(points).replacen('M', "L", 1);
    format!("M{first:.1} {bottom}{line}L{last:.1} {bottom}Z")
}

/// The smallest of 1, 2, 5, 10, 20, 50, … that is not below a value.
pub(crate) fn round_up(value: f64) -> f64 {
    let mut top = 1.0;
    loop {
        for step in [1.0, 2.0, 5.0] {
            if top * step >= value || top >= 1e15 {
                return top * step;
            }
        }
        top *= 10.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn chart(points: &[(Timestamp, Option<f64>)]) -> Chart<'_> {
        Chart {
            title: "Transactions",
            reach: REACHES[3],
            points,
            limit: None,
            top: 10.0,
            words: |value| format!("{value:.1} a second"),
        }
    }

    fn line(points: &[(i64, Option<f64>)]) -> String {
        let points: Vec<_> = points.iter().map(|(s, value)| (at(*s), *value)).collect();
        let drawn = chart(&points).figure(at(3600)).into_string();
        let (_, rest) = drawn.split_once("class=\"line\" d=\"").unwrap_or_default();
        rest.split('"').next().unwrap_or_default().to_owned()
    }

    #[test]
    fn a_gap_is_a_gap() {
        let known = Some(5.0);
        for (points, expected) in [
            (vec![], ""),
            (vec![(0, known), (100, Some(10.0))], "M0.0 50.0L10.0 0.0"),
            // Nobody has looked for too long; it was looked and not told.
            (
                vec![(0, known), (200, known)],
                "M0.0 50.0h0.1M20.0 50.0h0.1",
            ),
            (
                vec![(0, known), (60, None), (120, known)],
                "M0.0 50.0h0.1M12.0 50.0h0.1",
            ),
            // What is above the edge is at the edge; what was before the hour only leads in.
            (vec![(-100, known), (0, Some(99.0))], "M-10.0 50.0L0.0 0.0"),
            (vec![(-100, known), (3600, known)], "M360.0 50.0h0.1"),
        ] {
            assert_eq!(line(&points), expected, "{points:?}");
        }
    }

    #[test]
    fn a_chart_says_in_words_what_it_shows() {
        let points = [
            (at(3000), Some(2.0)),
            (at(3500), Some(7.5)),
            (at(3590), Some(4.0)),
        ];
        let drawn = chart(&points).figure(at(3600)).into_string();
        let said = "Transactions over the last hour: at last 4.0 a second, lowest 2.0 a second, highest 7.5 a second.";
        assert!(drawn.contains(said), "{drawn}");
        assert!(drawn.contains("<strong>4.0 a second</strong>"), "{drawn}");
        // What was measured long ago is not how it is now.
        let late = chart(&points).figure(at(3900)).into_string();
        assert!(late.contains("<strong>unknown</strong>"), "{late}");
        let none = chart(&[]).figure(at(0)).into_string();
        assert!(none.contains("nothing was measured"), "{none}");
        assert!(!drawn.contains("style="), "{drawn}");
    }

    #[test]
    fn the_first_minutes_are_drawn_large() {
        for (minutes, words) in [
            (0, "10 minutes ago"),
            (10, "10 minutes ago"),
            (11, "20 minutes ago"),
            (25, "30 minutes ago"),
            (31, "an hour ago"),
            (62, "an hour ago"),
        ] {
            let mut chart = chart(&[]);
            chart.reach = Reach::of(at(0), at(minutes * 60));
            let drawn = chart.figure(at(minutes * 60)).into_string();
            assert!(drawn.contains(words), "{minutes}: {drawn}");
        }
    }

    #[test]
    fn upper_edges_are_round() {
        for (value, edge) in [
            (0.0, 1.0),
            (1.0, 1.0),
            (1.1, 2.0),
            (3.0, 5.0),
            (49.0, 50.0),
            (501.0, 1000.0),
        ] {
            assert!((round_up(value) - edge).abs() < f64::EPSILON, "{value}");
        }
        assert!(round_up(f64::INFINITY).is_finite());
    }
}
