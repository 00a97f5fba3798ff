//! A server on which nobody writes. What was archived last says until when everything is safe, and
//! on such a server it grows old, though nothing is missing.
//!
//! The server is asked where it stands when the repository is read: having written nothing since,
//! it proves the present moment for nothing. A checkpoint, which it writes by itself, spoils that
//! proof. So after some intervals of archiving without a file, the present one is ended and
//! archived, as `archive_timeout` does where somebody writes.

use boma_backup::catalog::Live;
use boma_instance::backup::BackupSpec;
use boma_instance::wal::Timeline;
use boma_postgres::control::ControlData;
use boma_postgres::sql::Socket;
use boma_postgres::sql::backup::position;
use jiff::{SignedDuration, Timestamp};

use super::Places;
use crate::host::{Failure, failure};

/// Intervals of archiving after which an idle server proves that the present moment is safe: an
/// hour, by the default of five minutes. Each proof is a file of some kilobytes.
const INTERVALS: i64 = 12;

/// Where the server stands.
pub(super) async fn ask(places: &Places, port: u16) -> Result<Live, Failure> {
    // What is committed after this may be behind the position.
    let at = Timestamp::now();
    let control = ControlData::read(&places.data).map_err(failure)?;
    let socket = Socket {
        directory: places.sockets.clone(),
        port,
    };
    Ok(Live {
        at,
        timeline: Timeline(control.timeline),
        inserted: position(&socket).await.map_err(failure)?,
    })
}

/// Whether the present moment is to be proved now. Pure.
///
/// `until` is what is known to be safe, `archived` when a file was archived last, `tried` when this
/// was tried last.
pub(super) fn is_due(
    spec: &BackupSpec,
    [until, archived, tried]: [Option<Timestamp>; 3],
    now: Timestamp,
) -> bool {
    let limit = SignedDuration::from_secs(i64::from(spec.archive_interval_seconds) * INTERVALS);
    let is_old = |at: Option<Timestamp>| at.is_none_or(|at| now.duration_since(at) >= limit);
    spec.point_in_time && is_old(until) && is_old(archived) && is_old(tried)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(point_in_time: bool) -> BackupSpec {
        BackupSpec {
            repository: "default".into(),
            schedule: "0 2 * * *".into(),
            retention_days: 7,
            point_in_time,
            archive_interval_seconds: 300,
        }
    }

    #[test]
    fn an_idle_server_proves_the_present_moment_once_in_an_hour() {
        let now = Timestamp::UNIX_EPOCH;
        let old = Some(now - SignedDuration::from_hours(1));
        let new = Some(now - SignedDuration::from_mins(59));
        assert!(is_due(&spec(true), [old, old, None], now));
        assert!(is_due(&spec(true), [None, None, None], now));
        for known in [[new, old, old], [old, new, old], [old, old, new]] {
            assert!(!is_due(&spec(true), known, now), "{known:?}");
        }
        // Nobody can go back to a moment between two backups then.
        assert!(!is_due(&spec(false), [old, old, old], now));
    }
}
