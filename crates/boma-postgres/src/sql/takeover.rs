//! A server that was restored from another database's backups becomes one of its own.

use tokio_postgres::types::Type;

use super::control::{Control, Socket};
use super::error::SqlError;
use super::quote::identifier;

/// Renames the database inside, unless that is done already. Its roles are not touched: those that
/// the new one has no use for are dropped by converging, which gives what they own to its owner.
pub async fn rename_database(socket: &Socket, from: &str, to: &str) -> Result<(), SqlError> {
    if from == to {
        return Ok(());
    }
    let control = Control::connect(socket, "postgres").await?;
    let found = control
        .rows(
            "look for the restored database",
            "SELECT FROM pg_database WHERE datname = $1",
            &[(&from, Type::TEXT)],
        )
        .await?;
    if found.is_empty() {
        return Ok(());
    }
    let doing = "rename the restored database";
    let rename = format!(
        "ALTER DATABASE {} RENAME TO {}",
        identifier(from),
        identifier(to)
    );
    control.statement(doing, &rename).await
}
