//! Giving an instance its address, names and certificate.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use boma_engine::keys::DatabaseKey;
use boma_engine::platform::PlatformError;
use boma_instance::{InstanceId, InstanceSpec, Listen, Placement};
use boma_problem::IntoProblem;
use jiff::Timestamp;
use tokio::sync::MutexGuard;

use super::error::boxed;
use super::{LocalPlatform, NotPossible};
use crate::address;
use crate::config::HostsFile;
use crate::hosts::{self, HostsError};
use crate::locks::{self, Held, LockError};
use crate::store::{DatabaseRow, PlacementRow};
use crate::tls::{self, Authorities, Freshness};

/// How long another process may take to place an instance; it takes milliseconds.
const PLACING_PATIENCE: Duration = Duration::from_secs(30);

/// The right to choose addresses and to write the hosts file, until this is dropped.
pub(super) struct Placing<'a> {
    _one: MutexGuard<'a, ()>,
    _held: Held,
}

/// Where an instance is.
pub(super) struct Placed {
    /// What its agent is told.
    pub(super) placement: Placement,
    /// It has never had a spec before.
    pub(super) is_new: bool,
    /// Its certificate is another one than it was told before.
    pub(super) renewed: Option<Renewed>,
}

/// A certificate that counts as due until its server is known to have it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Renewed {
    /// What stands in the store for that.
    due: Timestamp,
    /// From when on it is due again.
    renew_at: Timestamp,
}

/// Whether a spec fits the database that it is handed over for.
pub(super) fn check(row: &DatabaseRow, spec: &InstanceSpec) -> Result<(), NotPossible> {
    let key = row.key.clone();
    if row.id != spec.id {
        return Err(NotPossible::OtherId {
            key,
            id: spec.id,
            given: row.id,
        });
    }
    if row.purging {
        return Err(NotPossible::BeingPurged { key });
    }
    match &row.spec {
        Some(stored) if stored.generation > spec.generation => Err(NotPossible::OlderGeneration {
            key,
            stored: stored.generation,
            given: spec.generation,
        }),
        Some(_) | None => Ok(()),
    }
}

impl LocalPlatform {
    /// Places an instance and stores its spec, in one transaction; writes nothing that is so
    /// already.
    pub(super) async fn place(
        &self,
        key: &DatabaseKey,
        spec: &InstanceSpec,
    ) -> Result<Placed, PlatformError> {
        let inner = &self.inner;
        let (id, wanted) = (spec.id, key.clone());
        let installation = inner.store.installation;
        let repositories = self.repositories(spec).await?;
        let _one = self.one_places().await?;
        let read = inner.store.read(move |state| {
            Ok((
                state.database(&wanted)?,
                state.placements()?,
                state.certificate(id)?,
                Authorities::stored(&state, installation)?,
            ))
        });
        let (row, others, certificate, authorities) = read.await.map_err(boxed)?;
        let authority = authorities
            .ok_or_else(|| boxed(NotPossible::NoAuthority))?
            .issuing;
        let row = row.ok_or_else(|| boxed(NotPossible::UnknownDatabase { key: key.clone() }))?;
        check(&row, spec).map_err(boxed)?;
        let mut placement = self.choose_placement(&row, &others)?;
        placement.resolves = self
            .write_names(&others, Some((id, &placement)))
            .await
            .is_ok_and(|written| written);

        let all_names = Listen {
            names: placement.names.clone(),
            ..placement.listen()
        };
        let now = Timestamp::now();
        let issued = tls::certificate_for(&authority, &all_names, certificate, now);
        let (mut certificate, freshness) = issued.map_err(boxed)?;
        // The agent of a new one has nothing yet, and is given all of it whatever happens.
        let is_renewed = freshness == Freshness::New && row.spec.is_some();
        let renewed = is_renewed.then(|| Renewed {
            due: now,
            renew_at: std::mem::replace(&mut certificate.renew_at, now),
        });
        let answer = Placed {
            placement: Placement {
                listen: placement.listen(),
                bind: None,
                tls: Some(tls::material(&authority, &certificate)),
                repositories,
            },
            is_new: row.spec.is_none(),
            renewed,
        };
        let is_placed = row.placement.as_ref() == Some(&placement);
        let has_spec = row.spec.as_ref() == Some(spec);
        if is_placed && has_spec && freshness == Freshness::Kept {
            return Ok(answer);
        }
        let spec = spec.clone();
        let write = inner.store.write(move |state| {
            if !is_placed {
                state.set_placement(id, &placement)?;
            }
            if freshness == Freshness::New {
                state.set_certificate(id, &certificate)?;
            }
            if !has_spec {
                state.set_spec(&spec)?;
            }
            Ok(())
        });
        write.await.map_err(boxed)?;
        Ok(answer)
    }

    /// Notes that a server has been told of its certificate.
    pub(super) async fn renewed(
        &self,
        id: InstanceId,
        Renewed { due, renew_at }: Renewed,
    ) -> Result<(), PlatformError> {
        let noted = self
            .inner
            .store
            .write(move |state| state.certificate_handed_over(id, due, renew_at));
        noted.await.map_err(boxed)
    }

    /// Makes all who place wait for each other: in this process, and in others.
    pub(super) async fn one_places(&self) -> Result<Placing<'_>, PlatformError> {
        let one = self.inner.placing.lock().await;
        let path = self.inner.layout.lock("place");
        let held = locks::hold_within(&path, PLACING_PATIENCE)
            .await
            .map_err(boxed)?;
        let held = held.map_err(|holder| {
            let state_dir = self.inner.layout.root().to_owned();
            boxed(LockError::AtWork { state_dir, holder })
        })?;
        Ok(Placing {
            _one: one,
            _held: held,
        })
    }

    /// The placement that an instance has for life, or a new one.
    fn choose_placement(
        &self,
        row: &DatabaseRow,
        others: &[(InstanceId, PlacementRow)],
    ) -> Result<PlacementRow, PlatformError> {
        if let Some(placement) = &row.placement {
            return Ok(placement.clone());
        }
        let taken: BTreeSet<SocketAddr> = others
            .iter()
            .map(|(_, other)| SocketAddr::new(other.address, other.port))
            .collect();
        let names: BTreeSet<&str> = others
            .iter()
            .flat_map(|(_, other)| other.names.iter().map(String::as_str))
            .collect();
        let (addresses, installation) =
            (self.inner.config.addresses, self.inner.store.installation);
        let of_others = match &self.inner.config.hosts {
            HostsFile::At(path) => hosts::taken_by_others(path, installation),
            HostsFile::Off => BTreeSet::new(),
        };
        let chosen = address::choose(addresses, installation, row.id, &taken).map_err(boxed)?;
        Ok(PlacementRow {
            address: chosen.ip(),
            port: chosen.port(),
            names: address::names(&row.key, |name| {
                !names.contains(name) && !of_others.contains(name)
            }),
            resolves: false,
        })
    }

    /// Brings the hosts file to the placements, and one more or one instead. Tells whether names
    /// resolve now. The caller holds the `placing` lock.
    pub(super) async fn write_names(
        &self,
        placements: &[(InstanceId, PlacementRow)],
        one: Option<(InstanceId, &PlacementRow)>,
    ) -> Result<bool, HostsError> {
        let HostsFile::At(path) = &self.inner.config.hosts else {
            return Ok(false);
        };
        let mut lines: Vec<hosts::Line> = placements
            .iter()
            .filter(|(id, _)| one.is_none_or(|(other, _)| other != *id))
            .map(|(_, placement)| placement)
            .chain(one.map(|(_, placement)| placement))
            .map(|placement| (placement.address, placement.names.clone()))
            .collect();
        lines.sort();
        let (path, installation) = (path.clone(), self.inner.store.installation);
        let work = move || hosts::write(&path, installation, &lines);
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(_changed)) => Ok(true),
            Ok(Err(error)) => {
                tracing::warn!(problem = %error.problem(), "names are not written");
                Err(error)
            }
            // The task was cancelled because the runtime ends.
            Err(_ended) => Ok(false),
        }
    }
}
