//! Values that the tests of this crate share.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use boma_instance::backup::BackupSpec;
use boma_instance::{
    Assignment, InstanceId, InstanceSpec, Listen, MajorVersion, Placement, Power, Resources,
};
use uuid::Uuid;

/// An assignment for a small server without applications.
pub(crate) fn assignment(generation: u64) -> Assignment {
    Assignment {
        spec: InstanceSpec {
            id: InstanceId(Uuid::from_u128(7)),
            generation,
            identity: "fincorp/retail-banking/development/login-svc/accounts-db".into(),
            database: "accounts_db".into(),
            version: MajorVersion::V15,
            power: Power::On,
            resources: Resources {
                cpu_millis: 1000,
                memory_bytes: 256 << 20,
                storage_bytes: 1 << 30,
            },
            parameters: BTreeMap::new(),
            extensions: BTreeSet::new(),
            logins: Vec::new(),
            backup: None,
            origin: None,
            drift: boma_instance::Drift::default(),
            storage_class: None,
        },
        placement: Placement {
            listen: Listen {
                address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                port: 5432,
                names: Vec::new(),
            },
            bind: None,
            tls: None,
            repositories: BTreeMap::new(),
        },
    }
}

/// Backups as a manifest has them that says nothing of them.
pub(crate) fn backed_up() -> BackupSpec {
    BackupSpec {
        repository: "default".into(),
        schedule: "0 2 * * *".into(),
        retention_days: 7,
        point_in_time: true,
        archive_interval_seconds: 300,
    }
}
