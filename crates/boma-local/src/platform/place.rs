//! Giving an instance its address, names and certificate.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use boma_engine::platform::PlatformError;
use boma_instance::{InstanceId, InstanceSpec, Listen, Placement};
use boma_problem::IntoProblem;
use jiff::Timestamp;

use super::LocalPlatform;
use super::error::boxed;
use crate::address;
use crate::config::HostsFile;
use crate::hosts::{self, HostsError};
use crate::store::{DatabaseRow, PlacementRow};
use crate::tls::Freshness;

impl LocalPlatform {
    /// Places an instance and stores its spec, in one transaction; writes nothing that is so
    /// already.
    pub(super) async fn place(
        &self,
        row: &DatabaseRow,
        spec: &InstanceSpec,
    ) -> Result<Placement, PlatformError> {
        let inner = &self.inner;
        let _one = inner.placing.lock().await;
        let id = row.id;
        let (others, certificate) = inner
            .store
            .read(move |state| Ok((state.placements()?, state.certificate(id)?)))
            .await
            .map_err(boxed)?;
        let mut placement = self.choose_placement(row, &others)?;
        placement.resolves = self
            .write_names(&others, Some((id, &placement)))
            .await
            .is_ok_and(|written| written);

        let all_names = Listen {
            names: placement.names.clone(),
            ..placement.listen()
        };
        let issued = inner.authority.certificate_for(
            inner.store.installation,
            &all_names,
            certificate,
            Timestamp::now(),
        );
        let (certificate, freshness) = issued.map_err(boxed)?;
        let answer = Placement {
            listen: placement.listen(),
            tls: Some(inner.authority.material(&certificate)),
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
        let chosen = address::choose(addresses, installation, row.id, &taken).map_err(boxed)?;
        Ok(PlacementRow {
            address: chosen.ip(),
            port: chosen.port(),
            names: address::names(&row.key, |name| !names.contains(name)),
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
