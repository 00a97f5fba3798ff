//! Proof that a restored server is in order: every B-tree index checked, every row counted.

use std::time::Duration;

use super::control::{Control, Socket};
use super::error::SqlError;
use super::quote;

/// How long one check or count may take. A table of a terabyte takes an hour.
const LIMIT: Duration = Duration::from_hours(12);

/// What was found in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Tables, in all databases.
    pub tables: u64,
    /// Rows in them.
    pub rows: u64,
    /// B-tree indexes that `amcheck` found in order; none where the server does not have it.
    pub indexes: Option<u64>,
    /// Seconds since 1970, in microseconds, of the last commit that was replayed; none: there was
    /// none.
    pub replayed_until_micros: Option<i64>,
}

/// Looks at a server that was restored for this alone: it makes the extension `amcheck` there.
///
/// # Errors
/// The first index that is not in order, or the first table that cannot be read to its end.
pub async fn prove(socket: &Socket) -> Result<Proof, SqlError> {
    let control = Control::connect(socket, "postgres").await?;
    let until = control
        .rows(
            "ask how far it was replayed",
            "SELECT (extract(epoch FROM pg_last_xact_replay_timestamp()) * 1000000)::int8",
            &[],
        )
        .await?;
    let databases = control
        .rows(
            "list databases",
            "SELECT datname::text FROM pg_database WHERE datallowconn",
            &[],
        )
        .await?;
    drop(control);
    let mut proof = Proof {
        indexes: Some(0),
        replayed_until_micros: until.first().and_then(|row| row.get(0)),
        ..Proof::default()
    };
    for row in &databases {
        look_at(socket, row.get(0), &mut proof).await?;
    }
    Ok(proof)
}

async fn look_at(socket: &Socket, database: &str, proof: &mut Proof) -> Result<(), SqlError> {
    let control = Control::connect(socket, database).await?;
    control
        .statement("allow checks their time", "SET statement_timeout = 0")
        .await?;
    proof.indexes = match (proof.indexes, check_indexes(&control, database).await?) {
        (Some(before), Some(more)) => Some(before + more),
        _ => None,
    };
    let tables = control
        .rows(
            "list tables",
            "SELECT n.nspname::text, c.relname::text \
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ('r', 'm') AND c.relpersistence = 'p' \
               AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND c.relispopulated",
            &[],
        )
        .await?;
    for table in &tables {
        let name = format!(
            "{}.{}",
            quote::identifier(table.get(0)),
            quote::identifier(table.get(1))
        );
        let doing = format!("count the rows of {name} in {database:?}");
        let counted = control
            .rows_within(
                (&doing, LIMIT),
                &format!("SELECT count(*) FROM {name}"),
                &[],
            )
            .await?;
        let rows: i64 = counted.first().map_or(0, |row| row.get(0));
        proof.tables += 1;
        proof.rows += rows.unsigned_abs();
    }
    Ok(())
}

/// None: this server does not have the extension.
async fn check_indexes(control: &Control, database: &str) -> Result<Option<u64>, SqlError> {
    let available = control
        .rows(
            "look for amcheck",
            "SELECT 1 FROM pg_available_extensions WHERE name = 'amcheck'",
            &[],
        )
        .await?;
    if available.is_empty() {
        return Ok(None);
    }
    // In a schema of its own: an application may have one of that name in `public` already.
    control
        .statement(
            "make the extension amcheck",
            "DROP EXTENSION IF EXISTS amcheck; CREATE SCHEMA boma_proof; \
             CREATE EXTENSION amcheck SCHEMA boma_proof",
        )
        .await?;
    let indexes = control
        .rows(
            "list indexes",
            "SELECT c.oid::int8, c.relname::text FROM pg_class c JOIN pg_am a ON a.oid = c.relam \
             JOIN pg_index i ON i.indexrelid = c.oid \
             WHERE a.amname = 'btree' AND c.relkind = 'i' AND c.relpersistence = 'p' \
               AND i.indisready AND i.indisvalid",
            &[],
        )
        .await?;
    for index in &indexes {
        let (oid, name): (i64, String) = (index.get(0), index.get(1));
        let doing = format!("check index {name:?} in {database:?}");
        control
            .rows_within(
                (&doing, LIMIT),
                &format!("SELECT boma_proof.bt_index_check({oid}::oid::regclass, true)::text"),
                &[],
            )
            .await?;
    }
    Ok(Some(indexes.len() as u64))
}
