//! Ending connections and roles.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::types::Type;

use super::control::{Control, Controls, Parameters};
use super::error::SqlError;
use super::quote::identifier;

/// How long one session is waited for. It ends when it next looks for interrupts; one that is in
/// the middle of a write to a slow disk takes its time.
const ONE_LIMIT_MS: i64 = 5000;

/// How long all sessions of a role may take.
const LIMIT: Duration = Duration::from_secs(30);

/// A session that logged in just before its role was locked shows up within this time.
const LATECOMERS: Duration = Duration::from_millis(20);

const TERMINATE: &str = "
    SELECT pg_terminate_backend(a.pid, $2)
    FROM pg_stat_activity a JOIN pg_authid r ON r.oid = a.usesysid
    WHERE r.rolname = $1 AND a.backend_type = 'client backend'";

const TERMINATE_ORPHANS: &str = "
    SELECT pg_terminate_backend(a.pid, $1)
    FROM pg_stat_activity a
    WHERE a.usesysid IS NOT NULL
      AND NOT EXISTS (SELECT FROM pg_authid r WHERE r.oid = a.usesysid)";

/// Databases in which something depends on a role.
const DATABASES_OF: &str = "
    SELECT d.datname::text
    FROM pg_database d
    WHERE d.datallowconn
      AND EXISTS (SELECT FROM pg_shdepend s JOIN pg_authid r ON r.oid = s.refobjid
                  WHERE s.refclassid = 'pg_authid'::regclass AND r.rolname = $1
                    AND (s.dbid = d.oid
                         OR s.dbid = 0 AND s.classid = 'pg_database'::regclass
                            AND s.objid = d.oid))";

/// Those of some roles that there are.
pub(super) async fn existing(
    control: &Control,
    roles: &[&str],
) -> Result<BTreeSet<String>, SqlError> {
    let doing = format!("look for roles {roles:?}");
    let query = "SELECT rolname::text FROM pg_authid WHERE rolname = ANY ($1)";
    let rows = control
        .rows(&doing, query, &[(&roles, Type::TEXT_ARRAY)])
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Keeps a role from logging in and ends what it has open.
pub(super) async fn lock(control: &Control, role: &str) -> Result<(), SqlError> {
    let doing = format!("lock login {role:?}");
    let statement = format!("ALTER ROLE {} NOLOGIN PASSWORD NULL", identifier(role));
    control.statement(&doing, &statement).await?;
    end_connections(control, role).await
}

/// Ends the connections of a locked role: returns when there are none, twice in a row.
async fn end_connections(control: &Control, role: &str) -> Result<(), SqlError> {
    let doing = format!("end connections of {role:?}");
    let deadline = Instant::now() + LIMIT;
    let mut was_clear = false;
    loop {
        let role = role.to_owned();
        let ended = control
            .rows(
                &doing,
                TERMINATE,
                &[(&role, Type::TEXT), (&ONE_LIMIT_MS, Type::INT8)],
            )
            .await?;
        if ended.is_empty() {
            if was_clear {
                return Ok(());
            }
            tokio::time::sleep(LATECOMERS).await;
        }
        was_clear = ended.is_empty();
        if Instant::now() > deadline {
            return Err(SqlError::StillConnected { role });
        }
    }
}

/// Ends connections of roles that are not there any more.
pub(super) async fn end_orphans(control: &Control) -> Result<(), SqlError> {
    let doing = "end connections of roles that are gone";
    let parameters: &Parameters<'_> = &[(&ONE_LIMIT_MS, Type::INT8)];
    control.rows(doing, TERMINATE_ORPHANS, parameters).await?;
    Ok(())
}

/// Ends a role in all databases.
pub(super) async fn drop_login(controls: &mut Controls, role: &str) -> Result<(), SqlError> {
    let groups = controls.groups().clone();
    let cluster = controls.cluster().await?;
    if existing(cluster, &[role]).await?.is_empty() {
        return Ok(());
    }
    lock(cluster, role).await?;
    let doing = format!("look where {role:?} owns something");
    let rows = cluster
        .rows(&doing, DATABASES_OF, &[(&role.to_owned(), Type::TEXT)])
        .await?;
    for database in rows.iter().map(|row| row.get::<_, String>(0)) {
        // Outside of the instance's database nothing is an application's.
        let heir = if database == groups.database {
            &groups.owner
        } else {
            super::SUPERUSER
        };
        let doing = format!("give what {role:?} owns in {database:?} to {heir:?}");
        let (role, heir) = (identifier(role), identifier(heir));
        let statements = [
            format!("REASSIGN OWNED BY {role} TO {heir}"),
            format!("DROP OWNED BY {role}"),
        ];
        controls
            .other(&database)
            .await?
            .transaction(&doing, &statements)
            .await?;
    }
    let statement = format!("DROP ROLE IF EXISTS {}", identifier(role));
    controls
        .cluster()
        .await?
        .statement(&format!("drop role {role:?}"), &statement)
        .await
}
