//! Looking at how much a server does.

use boma_instance::Activity;
use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::control::{Controls, Parameters};
use super::error::SqlError;

/// Boma's own sessions are no load: without them an idle server has no connection. Some connections
/// are kept for superusers and, from 16 on, for others that applications are not.
const ACTIVITY: &str = "
    SELECT (SELECT count(*) FROM pg_stat_activity a
            WHERE a.backend_type = 'client backend'
              AND NOT (a.usesysid = 10 AND a.application_name = 'boma'))::int8,
           current_setting('max_connections')::int8
           - current_setting('superuser_reserved_connections')::int8
           - coalesce(current_setting('reserved_connections', true)::int8, 0),
           d.xact_commit + d.xact_rollback, d.blks_hit, d.blks_read,
           (extract(epoch FROM greatest(pg_postmaster_start_time(), d.stats_reset)) * 1000)::int8
    FROM pg_stat_database d WHERE d.datname = $1";

impl Controls {
    /// What the server counts of the work for the instance's database; none: there is no such
    /// database. Reads counters only, on a connection that is open already.
    pub async fn activity(&mut self) -> Result<Option<Activity>, SqlError> {
        let database = self.groups().database.clone();
        let parameters: &Parameters<'_> = &[(&database, Type::TEXT)];
        let control = self.at_hand().await?;
        let rows = control
            .rows("look at the activity", ACTIVITY, parameters)
            .await?;
        Ok(rows.first().map(activity))
    }
}

fn activity(row: &Row) -> Activity {
    let number = |column: usize| u64::try_from(row.get::<_, i64>(column)).unwrap_or_default();
    let few = |column: usize| u32::try_from(number(column)).unwrap_or(u32::MAX);
    Activity {
        connections: few(0),
        connection_limit: few(1),
        transactions: number(2),
        blocks_hit: number(3),
        blocks_read: number(4),
        since: Timestamp::from_millisecond(row.get(5)).unwrap_or_default(),
    }
}
