//! The time that can be restored, as a strip on which a moment is picked. Pure.

use boma_engine::words;
use boma_instance::backup::BackupSummary;
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

/// Width and height of the drawing, which is stretched to the room that there is.
const SIZE: (f64, f64) = (1000.0, 48.0);

/// Room beside the strip, so that marks at its ends are whole.
const MARGIN: f64 = 40.0;

/// Least distance of marks. A mark is that wide: on a telephone, 24 pixels, which a finger meets.
const APART: f64 = 76.0;

/// Moments before the newest one that are offered in words.
const BEFORE: [(SignedDuration, &str); 3] = [
    (SignedDuration::from_mins(10), "ten minutes before"),
    (SignedDuration::from_hours(1), "an hour before"),
    (SignedDuration::from_hours(24), "a day before"),
];

/// Where the form is filled in with a moment.
pub(super) fn link(moment: &str) -> String {
    // `:` and `-` may stand in a query, `+` is none of a moment in UTC.
    format!("?moment={moment}#restore")
}

/// The moment that a query picks; none: it picks none, or what it has is no moment.
pub(super) fn picked(query: Option<&str>) -> Option<String> {
    let pairs = form_urlencoded::parse(query?.as_bytes());
    let (_, moment) = pairs.into_iter().find(|(name, _)| name == "moment")?;
    moment
        .parse::<Timestamp>()
        .ok()
        .map(|_| moment.into_owned())
}

/// The strip with its base backups, and moments in words. Who may not restore sees where they stand.
pub(super) fn strip(
    (from, until): (Timestamp, Timestamp),
    backups: &[BackupSummary],
    may_restore: bool,
) -> Markup {
    let (width, height) = SIZE;
    let (first, last) = words::window(from, until);
    let marks = marks((from, until), backups);
    html! {
        svg class="window" role="group" aria-label={ "From " (first) " until " (last) ", with base backups" } viewBox={ "0 0 " (width) " " (height) } preserveAspectRatio="none" {
            path class="span" d={ "M" (MARGIN) " " (height / 2.0) "H" (width - MARGIN) } {}
            @for mark in &marks {
                @if may_restore { (as_link(mark)) } @else { path class="mark" d=(mark.line()) {} }
            }
        }
        p class="axis" aria-hidden="true" { span { (first) } span { (last) } }
        @if may_restore { p {
            "Restore to: " a id="moment-newest" href=(link(&last)) { "the newest moment" }
            @for (before, words) in BEFORE {
                @if let Some(moment) = until.checked_sub(before).ok().filter(|moment| *moment > from) {
                    ", " a id={ "moment-" (words.replace(' ', "-")) } href=(link(&words::second(moment))) { (words) }
                }
            }
            "."
        } }
    }
}

/// A mark that fills in the form, and room around it for a finger.
fn as_link(mark: &Mark<'_>) -> Markup {
    let left = format!("{:.1}", mark.x - APART / 2.0);
    html! {
        // With a name of its own it keeps the focus when the strip is drawn anew.
        a id={ "mark-" (mark.label) } href=(link(&mark.moment)) aria-label={ "Restore to " (mark.moment) ", when base backup " (mark.label) " had ended" } {
            rect class="hit" x=(left) y="0" width=(APART) height=(SIZE.1) {}
            path class="mark" d=(mark.line()) {}
        }
    }
}

/// A base backup on the strip.
struct Mark<'b> {
    x: f64,
    label: &'b str,
    moment: String,
}

impl Mark<'_> {
    fn line(&self) -> String {
        format!("M{:.1} 8V40", self.x)
    }
}

/// The newest base backups that have room, oldest first; the others are in the table.
fn marks((from, until): (Timestamp, Timestamp), backups: &[BackupSummary]) -> Vec<Mark<'_>> {
    let whole = until.duration_since(from).as_secs_f64();
    let room = SIZE.0 - 2.0 * MARGIN;
    let mut marks: Vec<Mark<'_>> = Vec::new();
    for backup in backups.iter().rev() {
        let Some(moment) = moment_of(backup, (from, until)) else {
            continue;
        };
        let part = backup.stopped_at.duration_since(from).as_secs_f64() / whole.max(1.0);
        let x = MARGIN + room * part.clamp(0.0, 1.0);
        let has_room = marks.last().is_none_or(|next| next.x - x >= APART);
        if has_room {
            marks.push(Mark {
                x,
                label: &backup.label,
                moment,
            });
        }
    }
    marks.reverse();
    marks
}

/// The first moment that can be restored with a base backup; none: it is not within the window.
pub(super) fn moment_of(
    backup: &BackupSummary,
    (from, until): (Timestamp, Timestamp),
) -> Option<String> {
    let is_within = backup.stopped_at >= from && backup.stopped_at <= until;
    is_within.then(|| words::window(backup.stopped_at, until).0)
}

#[cfg(test)]
mod tests {
    use boma_instance::backup::BackupKind;
    use boma_instance::wal::{Lsn, Timeline};

    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + hours * 3600).unwrap()
    }

    fn backup(label: &str, hours: i64) -> BackupSummary {
        BackupSummary {
            label: label.to_owned(),
            kind: BackupKind::Full,
            started_at: at(hours),
            stopped_at: at(hours),
            start_lsn: Lsn(0),
            stop_lsn: Lsn(0),
            timeline: Timeline(1),
            server_version: "17.1".to_owned(),
            data_bytes: 1,
            stored_bytes: 1,
            damaged_pages: 0,
        }
    }

    fn places(window: (i64, i64), hours: &[i64]) -> Vec<(String, i64)> {
        let backups: Vec<_> = hours
            .iter()
            .map(|one| backup(&one.to_string(), *one))
            .collect();
        let marks = marks((at(window.0), at(window.1)), &backups);
        let place = |mark: &Mark<'_>| {
            #[expect(clippy::cast_possible_truncation, reason = "at most a thousand")]
            let x = mark.x.round() as i64;
            (mark.label.to_owned(), x)
        };
        marks.iter().map(place).collect()
    }

    #[test]
    fn base_backups_stand_where_they_ended() {
        let owned = |marks: &[(&str, i64)]| -> Vec<(String, i64)> {
            marks
                .iter()
                .map(|(label, x)| ((*label).to_owned(), *x))
                .collect()
        };
        assert_eq!(
            places((0, 100), &[0, 50, 100]),
            owned(&[("0", 40), ("50", 500), ("100", 960)])
        );
        // What is outside can be restored to no moment of the window.
        assert_eq!(places((10, 100), &[0, 101]), []);
        assert_eq!(places((5, 5), &[5]), owned(&[("5", 40)]));
        // Of those that are close, the newer one; a strip of weeks has no more than fit.
        assert_eq!(places((0, 100), &[90, 95]), owned(&[("95", 914)]));
        let many: Vec<i64> = (0..1000).collect();
        assert!(places((0, 1000), &many).len() <= 13);
    }

    #[test]
    fn a_mark_leads_to_the_form() {
        let shown = strip((at(0), at(30)), &[backup("b<1", 10)], true).into_string();
        let moment = words::second(at(10));
        assert!(
            shown.contains(&format!("href=\"?moment={moment}#restore\"")),
            "{shown}"
        );
        assert!(shown.contains("base backup b&lt;1 had ended") && shown.contains("a day before"));
        assert!(
            !strip((at(0), at(2)), &[], true)
                .into_string()
                .contains("a day before")
        );
        let watched = strip((at(0), at(30)), &[backup("b", 10)], false).into_string();
        assert!(
            watched.contains("class=\"mark\"") && !watched.contains("href"),
            "{watched}"
        );
        assert_eq!(picked(Some(&format!("moment={moment}"))), Some(moment));
        for query in [
            None,
            Some(""),
            Some("moment="),
            Some("moment=%22%3E"),
            Some("other=1"),
        ] {
            assert_eq!(picked(query), None, "{query:?}");
        }
    }
}
