use boma_testkit::{ScratchDir, become_unprivileged};

use super::*;
use crate::testing;

#[test]
fn the_checksum_is_castagnolis() {
    // Test vectors of RFC 3720, B.4.
    assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
    assert_eq!(crc32c(&[0xFF; 32]), 0x62A8_AB43);
    assert_eq!(crc32c(b"123456789"), 0xE306_9283);
}

#[test]
fn a_fresh_cluster_of_each_version_is_read_and_gets_an_identity_of_its_own() -> anyhow::Result<()> {
    become_unprivileged()?;
    let scratch = ScratchDir::new()?;
    for installation in testing::installations()? {
        let data = scratch.path().join(installation.version.to_string());
        crate::cluster::testing::initdb(&installation, &data)?;
        assert_eq!(major_version(&data)?, Some(installation.major()));
        let before = ControlData::read(&data)?;
        assert_eq!(before.state, ClusterState::ShutDown);
        assert_eq!(before.wal_segment_size, 16 << 20);
        assert_eq!(before.timeline, 1);
        assert!(before.data_checksums);
        assert!(before.redo > 0x0100_0000 && before.redo <= before.checkpoint);

        let identity = Identity::new()?;
        give_identity(&data, &identity)?;
        let after = ControlData::read(&data)?;
        assert_eq!(after.system_identifier, identity.system_identifier);
        assert_eq!(
            ControlData {
                system_identifier: before.system_identifier,
                ..after
            },
            before,
            "nothing else changed"
        );
        let control = std::fs::read(data.join("global/pg_control"))?;
        assert_eq!(control.len(), 8192);
        assert!(control.windows(32).any(|bytes| bytes == identity.nonce));
        let wal = std::fs::read(data.join("pg_wal/000000010000000000000001"))?;
        assert_eq!(wal.len(), 16 << 20);
        assert_eq!(get_u64(&wal, 24), identity.system_identifier);

        // The server agrees: it starts, alone, finds nothing to complain about, and ends cleanly.
        crate::cluster::testing::check_with_server(&installation, &data)?;
        let last = ControlData::read(&data)?;
        assert_eq!(last.system_identifier, identity.system_identifier);
        assert!(last.checkpoint > after.checkpoint);
        assert_eq!(last.state, ClusterState::ShutDown);
    }
    Ok(())
}

#[test]
fn it_says_the_same_as_pg_controldata() -> anyhow::Result<()> {
    become_unprivileged()?;
    let scratch = ScratchDir::new()?;
    for installation in testing::installations()? {
        let program = installation.program("pg_controldata");
        if !program.exists() {
            continue; // Builds of servers only have none; the distribution's has.
        }
        let data = scratch.path().join(installation.version.to_string());
        crate::cluster::testing::initdb(&installation, &data)?;
        give_identity(&data, &Identity::new()?)?;
        let output = std::process::Command::new(program)
            .env("LC_ALL", "C")
            .arg(&data)
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        assert_eq!(String::from_utf8(output.stderr)?, "");
        let value = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':'))
                .unwrap()
                .1
                .trim()
                .to_owned()
        };
        let lsn = |number: u64| format!("{:X}/{:X}", number >> 32, number & 0xFFFF_FFFF);
        let control = ControlData::read(&data)?;
        assert_eq!(
            value("Database system identifier"),
            control.system_identifier.to_string()
        );
        assert_eq!(value("Database cluster state"), "shut down");
        assert_eq!(
            value("Catalog version"),
            control.catalog_version.to_string()
        );
        assert_eq!(value("Latest checkpoint location"), lsn(control.checkpoint));
        assert_eq!(
            value("Latest checkpoint's REDO location"),
            lsn(control.redo)
        );
        assert_eq!(
            value("Bytes per WAL segment"),
            control.wal_segment_size.to_string()
        );
    }
    Ok(())
}

#[test]
fn damage_is_seen() -> anyhow::Result<()> {
    become_unprivileged()?;
    let scratch = ScratchDir::new()?;
    let [installation, ..] = &testing::installations()?[..] else {
        anyhow::bail!("no builds");
    };
    let data = scratch.path().join("data");
    crate::cluster::testing::initdb(installation, &data)?;
    let path = data.join("global/pg_control");
    let whole = std::fs::read(&path)?;

    let mut damaged = whole.clone();
    damaged[100] ^= 1;
    std::fs::write(&path, &damaged)?;
    let problem = ControlData::read(&data).unwrap_err().problem();
    assert_eq!(problem.code, "pg-control-unusable");
    assert_eq!(
        problem.message,
        format!(
            "`{}` is damaged: its checksum does not match",
            path.display()
        )
    );
    assert!(problem.hints[0].contains("restore from a backup"));
    assert!(give_identity(&data, &Identity::new()?).is_err());

    std::fs::write(&path, &whole[..100])?;
    assert!(matches!(
        ControlData::read(&data),
        Err(ControlError::Short(_))
    ));

    let mut other = whole.clone();
    put(&mut other, offset::CONTROL_VERSION, &1201_u32.to_ne_bytes());
    std::fs::write(&path, &other)?;
    assert!(matches!(
        ControlData::read(&data),
        Err(ControlError::Format { found: 1201, .. })
    ));

    let mut crashed = whole;
    put(&mut crashed, offset::STATE, &6_u32.to_ne_bytes());
    let crc = crc32c(&crashed[..288]);
    put(&mut crashed, 288, &crc.to_ne_bytes());
    std::fs::write(&path, &crashed)?;
    let problem = give_identity(&data, &Identity::new()?)
        .unwrap_err()
        .problem();
    assert_eq!(
        problem.message,
        "the cluster was not shut down cleanly: it is InProduction"
    );

    std::fs::remove_file(&path)?;
    let problem = ControlData::read(&data).unwrap_err().problem();
    assert!(
        problem
            .to_string()
            .ends_with("No such file or directory (os error 2)")
    );
    Ok(())
}

#[test]
fn identities_differ_and_sort_by_age() -> anyhow::Result<()> {
    let (one, other) = (Identity::new()?, Identity::new()?);
    assert_ne!(one.system_identifier, other.system_identifier);
    assert_ne!(one.nonce, other.nonce);
    assert!(one.system_identifier >> 32 > 1_700_000_000);
    Ok(())
}
