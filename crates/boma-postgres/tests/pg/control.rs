//! `pg_control` of real clusters.

use std::path::Path;
use std::process::{Command, Stdio};

use boma_postgres::control::{
    ClusterState, ControlData, ControlError, Identity, give_identity, major_version,
};
use boma_postgres::programs::Installation;
use boma_problem::IntoProblem;
use boma_testkit::{ScratchDir, become_unprivileged};

use crate::host::{installation, installations};

fn initdb(installation: &Installation, data: &Path) -> anyhow::Result<()> {
    let status = Command::new(installation.program("initdb"))
        .args([
            "--no-sync",
            "--data-checksums",
            "--auth=peer",
            "--locale=C",
            "--pgdata",
        ])
        .arg(data)
        .stdout(Stdio::null())
        .status()?;
    anyhow::ensure!(status.success(), "initdb: {status}");
    Ok(())
}

/// What a server, alone on the cluster, says is its identity.
fn identity_by_server(installation: &Installation, data: &Path) -> anyhow::Result<String> {
    let sql = data.with_extension("sql");
    std::fs::write(&sql, "SELECT system_identifier FROM pg_control_system()\n")?;
    let output = Command::new(installation.program("postgres"))
        .args(["--single", "-c", "exit_on_error=on", "-D"])
        .arg(data)
        .arg("postgres")
        .stdin(std::fs::File::open(&sql)?)
        .output()?;
    anyhow::ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn a_cluster_of_each_version_is_read_and_gets_an_identity_of_its_own() -> anyhow::Result<()> {
    become_unprivileged()?;
    let scratch = ScratchDir::new()?;
    for installation in installations()? {
        let data = scratch.path().join(installation.version.to_string());
        initdb(&installation, &data)?;
        assert_eq!(major_version(&data)?, Some(installation.major()));
        let before = ControlData::read(&data)?;
        let bytes_before = std::fs::read(data.join("global/pg_control"))?;
        assert_eq!(before.state, ClusterState::ShutDown);
        assert_eq!(before.wal_segment_size, 16 << 20);
        assert_eq!(before.timeline, 1);
        assert!(before.data_checksums);
        assert!(before.redo > 0x0100_0000 && before.redo <= before.checkpoint);

        let identity = Identity::new()?;
        give_identity(&data, &identity)?;
        let after = ControlData::read(&data)?;
        assert_eq!(after.system_identifier, identity.system_identifier);
        let unchanged = ControlData {
            system_identifier: before.system_identifier,
            ..after
        };
        assert_eq!(unchanged, before);
        let bytes = std::fs::read(data.join("global/pg_control"))?;
        assert_eq!(bytes.len(), 8192);
        assert_ne!(
            bytes[257..288],
            bytes_before[257..288],
            "the nonce is another"
        );
        assert_eq!(bytes[8..256], bytes_before[8..256]);
        let wal = std::fs::read(data.join("pg_wal/000000010000000000000001"))?;
        assert_eq!(wal.len(), 16 << 20);
        assert_eq!(wal[24..32], identity.system_identifier.to_ne_bytes());

        let said = identity_by_server(&installation, &data)?;
        assert!(
            said.contains(&format!("\"{}\"", identity.system_identifier)),
            "{said}"
        );
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
    for installation in installations()? {
        let program = installation.program("pg_controldata");
        if !program.exists() {
            continue; // Builds of the server alone have none; the distribution's has.
        }
        let data = scratch.path().join(installation.version.to_string());
        initdb(&installation, &data)?;
        give_identity(&data, &Identity::new()?)?;
        let output = Command::new(program)
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
        assert_eq!(value("Data page checksum version"), "1");
    }
    Ok(())
}

#[test]
fn damage_is_seen() -> anyhow::Result<()> {
    become_unprivileged()?;
    let scratch = ScratchDir::new()?;
    let data = scratch.path().join("data");
    initdb(&installation()?, &data)?;
    let path = data.join("global/pg_control");
    let whole = std::fs::read(&path)?;

    let mut damaged = whole.clone();
    damaged[100] ^= 1;
    std::fs::write(&path, &damaged)?;
    let problem = ControlData::read(&data).unwrap_err().problem();
    assert_eq!(problem.code, "pg-control-unusable");
    let message = format!(
        "`{}` is damaged: its checksum does not match",
        path.display()
    );
    assert_eq!(problem.message, message);
    assert!(problem.hints[0].contains("restore from a backup"));
    assert!(give_identity(&data, &Identity::new()?).is_err());

    std::fs::write(&path, &whole[..100])?;
    assert!(matches!(
        ControlData::read(&data),
        Err(ControlError::Short(_))
    ));

    let mut other = whole;
    other[8..12].copy_from_slice(&1201_u32.to_ne_bytes());
    std::fs::write(&path, &other)?;
    let problem = ControlData::read(&data).unwrap_err().problem();
    assert!(
        problem
            .message
            .contains("has format 1201, which is none of")
    );
    assert!(problem.hints[0].contains("PG_VERSION"));

    std::fs::remove_file(&path)?;
    let problem = ControlData::read(&data).unwrap_err().problem();
    assert!(
        problem
            .to_string()
            .ends_with("No such file or directory (os error 2)")
    );
    Ok(())
}
