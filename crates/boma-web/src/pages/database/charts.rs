//! What a database did in the last hour.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use boma_engine::keys::DatabaseKey;
use boma_engine::words;
use boma_instance::{History, Sample};
use boma_problem::Problem;
use jiff::Timestamp;
use maud::{Markup, html};

use super::{known, status};
use crate::access::Session;
use crate::failure::Failure;
use crate::pages::chart::{Chart, Reach, round_up};
use crate::pages::parts::{moment, or_unknown};
use crate::site::Site;
use crate::world::World;

/// Rows of the table of values: about one a minute.
const ROWS: usize = 60;

/// The least upper edge for bytes that wait: one segment of the write-ahead log.
const SEGMENT: u64 = 16 << 20;

/// Answers with the charts alone: they are asked for while somebody looks, with the rest of the page
/// as it is.
pub(crate) async fn charts(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Path(key): Path<String>,
) -> Result<Markup, Failure> {
    let world = World::of(site.state(), &session.who);
    let key = known(&world, &key)?;
    Ok(section(&site, &world, &key).await)
}

/// The charts of a database; nothing, where nobody is there to have measured anything.
pub(super) async fn section(site: &Site, world: &World, key: &DatabaseKey) -> Markup {
    let seen = match status(world, key) {
        Some(_) => site.insight.history(key).await,
        None => Ok(History::default()),
    };
    html! {
        section class="card" id="measured" aria-labelledby="activity" hx-get={ "/charts/" (key) } hx-trigger="moment" hx-select="#measured" hx-swap="outerHTML" {
            h2 id="activity" { "The last hour" }
            (shown(seen, world.now))
        }
    }
}

fn shown(seen: Result<History, Box<Problem>>, now: Timestamp) -> Markup {
    let samples = match seen {
        Ok(history) => history.samples,
        Err(problem) => {
            return html! { p { "What was measured could not be asked for: " (problem) "." } };
        }
    };
    let points: Vec<Point> = points(&samples);
    if points.is_empty() {
        return html! { p class="muted" { "Nothing was measured yet. While its server runs, it is looked at once a minute." } };
    }
    html! {
        div class="charts" {
            @for (which, measure) in MEASURES.iter().enumerate() {
                @if measure.always || points.iter().any(|one| one.values[which].is_some()) {
                    (figure((which, measure), &points, now))
                }
            }
        }
        details id="values" {
            summary id="values-summary" { "The values" }
            div class="wide" tabindex="0" role="region" aria-label="Values of the last hour" { (table(&points)) }
        }
    }
}

/// Numbers of one look.
struct Point {
    at: Timestamp,
    values: [Option<f64>; MEASURES.len()],
    /// What connections and storage cannot be above.
    limits: [Option<f64>; MEASURES.len()],
}

/// One thing that is measured.
struct Measure {
    title: &'static str,
    /// Whether it is shown where nothing is known of it: not, what a manifest may have switched off.
    always: bool,
    value: fn(&Sample, Option<&Sample>) -> Option<f64>,
    limit: fn(&Sample) -> Option<f64>,
    /// The upper edge for a highest value.
    top: fn(f64) -> f64,
    words: fn(f64) -> String,
}

const MEASURES: [Measure; 5] = [
    Measure {
        title: "Connections",
        always: true,
        value: |one, _| Some(one.activity.connections.into()),
        limit: |one| Some(one.activity.connection_limit.into()),
        top: round_up,
        words: |value| format!("{value:.0}"),
    },
    Measure {
        title: "Transactions",
        always: true,
        value: |one, before| one.transactions_per_second(before?),
        limit: |_| None,
        top: round_up,
        words: per_second,
    },
    Measure {
        title: "Found in the cache",
        always: true,
        value: |one, before| one.cache_hit_ratio(before?).map(|ratio| ratio * 100.0),
        limit: |_| None,
        top: |_| 100.0,
        words: percent,
    },
    Measure {
        title: "Storage",
        always: true,
        value: |one, _| one.storage_used_bytes.map(float),
        limit: |one| one.storage_size_bytes.map(float),
        top: round_up,
        words: |value| words::bytes(whole(value)),
    },
    Measure {
        title: "Log waiting to be archived",
        always: false,
        value: |one, _| one.archive_waiting_bytes.map(float),
        limit: |_| None,
        top: |value| float(whole(value).next_power_of_two().max(SEGMENT)),
        words: |value| words::bytes(whole(value)),
    },
];

fn points(samples: &[Sample]) -> Vec<Point> {
    let befores = std::iter::once(None).chain(samples.iter().map(Some));
    let pairs = samples.iter().zip(befores);
    pairs
        .map(|(one, before)| Point {
            at: one.at,
            values: MEASURES.map(|measure| (measure.value)(one, before)),
            limits: MEASURES.map(|measure| (measure.limit)(one)),
        })
        .collect()
}

fn figure((which, measure): (usize, &Measure), points: &[Point], now: Timestamp) -> Markup {
    let course: Vec<_> = points
        .iter()
        .map(|one| (one.at, one.values[which]))
        .collect();
    let highest = course.iter().filter_map(|(_, value)| *value);
    let chart = Chart {
        title: measure.title,
        reach: Reach::of(points.first().map_or(now, |one| one.at), now),
        points: &course,
        limit: points.last().and_then(|one| one.limits[which]),
        top: (measure.top)(highest.fold(0.0, f64::max)),
        words: measure.words,
    };
    chart.figure(now)
}

/// The same numbers, newest first.
fn table(points: &[Point]) -> Markup {
    let step = points.len().div_ceil(ROWS).max(1);
    html! {
        table {
            thead { tr {
                th scope="col" { "Measured" }
                @for measure in MEASURES { th scope="col" { (measure.title) } }
            } }
            tbody {
                @for point in points.iter().rev().step_by(step) {
                    tr {
                        th scope="row" { (moment(point.at)) }
                        @for (value, measure) in point.values.iter().zip(MEASURES) {
                            td { (or_unknown(value.map(measure.words))) }
                        }
                    }
                }
            }
        }
    }
}

fn per_second(value: f64) -> String {
    if value < 10.0 {
        return format!("{value:.1} a second");
    }
    format!("{value:.0} a second")
}

/// Never a hundred where something was missed.
fn percent(value: f64) -> String {
    if value >= 100.0 {
        return "100 %".to_owned();
    }
    format!("{:.1} %", value.min(99.9))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "for drawing, and words with two digits"
)]
fn float(value: u64) -> f64 {
    value as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it was made of a number that is whole and not negative"
)]
fn whole(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use boma_instance::Activity;
    use boma_problem::Class;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn sample(second: i64, transactions: u64) -> Sample {
        Sample {
            at: at(second),
            activity: Activity {
                connections: 3,
                connection_limit: 20,
                transactions,
                blocks_hit: 0,
                blocks_read: 0,
                since: Timestamp::UNIX_EPOCH,
            },
            own_transactions: 0,
            storage_used_bytes: Some(40 << 20),
            storage_size_bytes: Some(1 << 30),
            archive_waiting_bytes: None,
        }
    }

    fn text(samples: Vec<Sample>, now: i64) -> String {
        shown(Ok(History { samples }), at(now)).into_string()
    }

    #[test]
    fn what_was_measured_is_drawn_and_told() {
        let page = text(
            vec![sample(0, 1000), sample(60, 1600), sample(120, 1630)],
            120,
        );
        for part in [
            "Connections over the last 10 minutes: at last 3, lowest 3, highest 3.",
            "Transactions over the last 10 minutes: at last 0.5 a second, lowest 0.5 a second, highest 10 a second.",
            "Found in the cache over the last 10 minutes: nothing was measured.",
            "of 1 GiB",
            "<td>10 a second</td>",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("style="), "{page}");
        // Its manifest wants no archive: there is nothing to draw.
        assert!(!page.contains("Log waiting to be archived over"), "{page}");
    }

    #[test]
    fn nothing_is_made_up() {
        assert!(text(Vec::new(), 0).contains("Nothing was measured yet"));
        let silent = Problem::new(Class::Transient, "agent-silent", "the agent is silent");
        let page = shown(Err(Box::new(silent)), at(0)).into_string();
        assert!(
            page.contains("the agent is silent") && !page.contains("<svg"),
            "{page}"
        );
    }

    #[test]
    fn the_table_stays_short() {
        let samples = (0..700).map(|one| sample(one * 5, 0)).collect();
        let page = text(samples, 3500);
        let rows = page.matches("<th scope=\"row\">").count();
        assert!((50..=ROWS).contains(&rows), "{rows}");
        assert!(page.len() < 80_000, "{}", page.len());
    }

    #[test]
    fn words_say_no_more_than_is_so() {
        assert_eq!(percent(99.99), "99.9 %");
        assert_eq!(percent(100.0), "100 %");
        assert_eq!(per_second(0.05), "0.1 a second");
        assert_eq!(per_second(1234.5), "1234 a second");
    }
}
