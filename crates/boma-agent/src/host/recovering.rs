//! A server that was restored, until it is a database of its own.

use std::fs;
use std::io;

use boma_instance::{Assignment, settings};
use boma_postgres::sql::{Socket, rename_database};

use super::{Failure, Host, failure, not_written};
use crate::ledger::store;
use crate::recovery::{self, Recovery};

impl Host {
    pub(super) fn read_recovery(&self) -> Option<Recovery> {
        let text = fs::read_to_string(self.data.join(recovery::FILE)).ok()?;
        Recovery::parse(&text)
    }

    pub(super) fn write_recovery(&self, recovery: &Recovery) -> Result<(), Failure> {
        let path = self.data.join(recovery::FILE);
        let text = recovery.render(&settings::restore_command(&self.paths().conf));
        self.archive_ended.set(None);
        store(&path, text.as_bytes()).map_err(|source| not_written(&path, source))
    }

    /// The file goes last: while it is there, all of this is done again.
    pub(super) async fn take_over(&mut self, want: &Assignment, from: &str) -> Result<(), Failure> {
        let socket = Socket {
            directory: self.sockets.clone(),
            port: want.placement.listen.port,
        };
        rename_database(&socket, from, &want.spec.database)
            .await
            .map_err(failure)?;
        let path = self.data.join(recovery::FILE);
        let removed = fs::remove_file(&path).and_then(|()| fs::File::open(&self.data)?.sync_all());
        match removed {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(not_written(&path, source));
            }
            Ok(()) | Err(_) => {}
        }
        self.reload(want).await
    }
}
