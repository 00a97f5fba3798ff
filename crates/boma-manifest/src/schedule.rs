//! When backups are taken.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use boma_problem::{IntoProblem, Problem};
use cronexpr::{Crontab, FallbackTimezoneOption, ParseOptions};
use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use crate::problems::{Code, error, quote};

/// Longest schedule that is read; the longest sensible one, every minute listed, is shorter.
const LONGEST: usize = 500;

/// A cron schedule of five fields (minute, hour, day of month, month, day of week), in UTC.
#[derive(Clone)]
pub struct Schedule {
    text: String,
    /// The text as it was read; only made where it is needed, as there is one of every database.
    cron: OnceLock<Box<Crontab>>,
}

/// "schedule `every day` is not made of five fields".
#[derive(Clone, Debug, thiserror::Error)]
pub enum ScheduleError {
    /// Not five fields separated by blanks.
    #[error("schedule {} has {fields} fields, cron has five", quote(.text))]
    Fields {
        /// The schedule.
        text: String,
        /// How many fields it has.
        fields: usize,
    },
    /// A field cannot be read, or names no moment.
    #[error("schedule {} cannot be read: {reason}", quote(.text))]
    Unreadable {
        /// The schedule.
        text: String,
        /// Why, in the words of the cron library.
        reason: String,
    },
    /// Readable, but no such moment ever comes.
    #[error("schedule {} never comes", quote(.0))]
    Never(String),
}

impl IntoProblem for ScheduleError {
    fn problem(&self) -> Problem {
        error(Code::InvalidSchedule, self.to_string()).hint(
            "Write minute, hour, day of month, month and day of week, in UTC: `30 2 * * *` is \
             every day at 02:30.",
        )
    }
}

impl Schedule {
    /// Every day at a minute, counted from midnight UTC.
    pub(crate) fn daily(minute: u32) -> Self {
        let (hour, minute) = (minute / 60 % 24, minute % 60);
        Self {
            text: format!("{minute} {hour} * * *"),
            cron: OnceLock::new(),
        }
    }

    /// The schedule as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The first moment of the schedule after another; none if time ends before.
    pub fn next_after(&self, moment: Timestamp) -> Option<Timestamp> {
        let cron = self.cron.get_or_init(|| {
            let cron = read(&self.text).expect("a schedule should be readable once it was made");
            Box::new(cron)
        });
        cron.find_next(moment).ok().map(|next| next.timestamp())
    }
}

/// Reads a schedule of five fields in UTC.
fn read(text: &str) -> Result<Crontab, cronexpr::Error> {
    let mut options = ParseOptions::default();
    options.fallback_timezone_option = FallbackTimezoneOption::UTC;
    cronexpr::parse_crontab_with(text, options)
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let fields = text.split_ascii_whitespace().count();
        if fields != 5 || text.len() > LONGEST {
            return Err(ScheduleError::Fields {
                text: text.to_owned(),
                fields,
            });
        }
        let cron = read(text).map_err(|error| {
            let shown = error.to_string();
            let reason = shown.lines().last().unwrap_or_default();
            let reason = reason.trim_start_matches(['^', ' ', '|', '=']).to_owned();
            ScheduleError::Unreadable {
                text: text.to_owned(),
                reason,
            }
        })?;
        let schedule = Self {
            text: text.to_owned(),
            cron: OnceLock::from(Box::new(cron)),
        };
        match schedule.next_after(Timestamp::UNIX_EPOCH) {
            Some(_) => Ok(schedule),
            None => Err(ScheduleError::Never(text.to_owned())),
        }
    }
}

/// Schedules are the same when they are written the same.
impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Schedule {}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl JsonSchema for Schedule {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Schedule".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^\s*\S+\s+\S+\s+\S+\s+\S+\s+\S+\s*$",
            "maxLength": LONGEST,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_in_utc() {
        let schedule: Schedule = "30 2 * * *".parse().unwrap();
        let next = schedule.next_after("2026-11-21T10:00:00Z".parse().unwrap());
        assert_eq!(next, Some("2026-11-22T02:30:00Z".parse().unwrap()));
        assert_eq!(Schedule::daily(150), schedule);
        for minute in 0..24 * 60 {
            let next = Schedule::daily(minute).next_after(Timestamp::UNIX_EPOCH);
            let at = if minute == 0 { 24 * 60 } else { minute };
            assert_eq!(next.map(Timestamp::as_second), Some(i64::from(at) * 60));
        }
    }

    #[test]
    fn a_bad_schedule_says_how_to_write_it() {
        for (text, message) in [
            (
                "every day",
                "schedule `every day` has 2 fields, cron has five",
            ),
            (
                "0 2 * * * UTC",
                "schedule `0 2 * * * UTC` has 6 fields, cron has five",
            ),
            ("61 2 * * *", "schedule `61 2 * * *` cannot be read: "),
            ("0 2 * * foo", "schedule `0 2 * * foo` cannot be read: "),
            ("0 0 30 2 *", "schedule `0 0 30 2 *` never comes"),
        ] {
            let problem = text.parse::<Schedule>().unwrap_err().problem();
            assert_eq!(problem.code, "invalid-schedule");
            assert!(problem.to_string().starts_with(message), "{problem}");
            assert!(!problem.to_string().contains('\n'), "{problem}");
            assert!(problem.hints[0].contains("every day at 02:30"));
        }
    }
}
