//! What can hinder a server from starting, and what is said of it.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use boma_instance::MajorVersion;
use boma_postgres::server::{StartError, adopt};
use boma_problem::{Class, IntoProblem, Problem};
use boma_testkit::become_unprivileged;

use crate::host::{Host, LONG, installation, installations, stop};

async fn refused(host: &Host) -> Problem {
    let problem = host.start().await.expect_err("it must not start").problem();
    assert!(!problem.hints.is_empty(), "{problem}");
    problem
}

#[tokio::test]
async fn an_address_in_use_is_named() -> anyhow::Result<()> {
    become_unprivileged()?;
    let mut host = Host::new(&installation()?)?;
    let listener = TcpListener::bind(host.listen)?;
    let problem = refused(&host).await;
    assert_eq!(problem.code, "address-in-use");
    assert_eq!(
        problem.message,
        format!("address {} is in use", host.listen)
    );
    assert!(problem.hints[0].contains(&format!("sport = :{}", host.listen.port())));
    drop(listener);
    stop(host.start().await?).await?;

    // A documentation address, which no host has.
    host.listen.set_ip([192, 0, 2, 1].into());
    host.configure(host.listen)?;
    let problem = refused(&host).await;
    assert_eq!(problem.code, "no-such-address");
    Ok(())
}

#[tokio::test]
async fn a_setting_that_is_refused_is_quoted_from_the_log() -> anyhow::Result<()> {
    become_unprivileged()?;
    for installation in installations()? {
        let host = Host::new(&installation)?;
        let path = host.data().join("postgresql.auto.conf");
        let good = std::fs::read_to_string(&path)?;
        std::fs::write(host.log(), "an older line\n")?;
        std::fs::write(&path, format!("{good}shared_buffers = '7 elephants'\n"))?;
        let problem = refused(&host).await;
        assert_eq!(problem.code, "server-ended");
        assert!(
            problem.message.contains("exit status: 1"),
            "{}",
            problem.message
        );
        assert!(
            problem
                .message
                .contains("\"shared_buffers\": \"7 elephants\"")
        );
        assert!(!problem.message.contains("older"));
        std::fs::write(&path, good)?;
        stop(host.start().await?).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_missing_program_and_another_version_are_seen_beforehand() -> anyhow::Result<()> {
    become_unprivileged()?;
    let mut host = Host::new(&installation()?)?;
    let all = installations()?;
    let other = all
        .iter()
        .find(|one| one.major() == MajorVersion::V18)
        .unwrap();
    host.place.installation = other.clone();
    let problem = refused(&host).await;
    assert_eq!(problem.code, "wrong-major-version");
    assert!(problem.message.ends_with("is of version 15, not 18"));

    host.place.installation.bin = "/nonexistent".into();
    let problem = refused(&host).await;
    assert_eq!(problem.code, "postgres-program-missing");
    assert_eq!(problem.message, "`/nonexistent/postgres` is not there");
    Ok(())
}

#[tokio::test]
async fn a_data_directory_that_others_may_enter_or_own_is_refused() -> anyhow::Result<()> {
    become_unprivileged()?;
    let host = Host::new(&installation()?)?;
    std::fs::set_permissions(host.data(), std::fs::Permissions::from_mode(0o755))?;
    let problem = refused(&host).await;
    assert_eq!(problem.code, "data-directory-open-to-others");
    assert!(problem.message.ends_with("is open to others (mode 755)"));
    assert_eq!(
        problem.hints[0],
        format!("`chmod 700 {}`.", host.data().display())
    );
    std::fs::set_permissions(host.data(), std::fs::Permissions::from_mode(0o700))?;

    // A directory of root's.
    let problem = start_at(&host, Path::new("/usr")).await;
    assert_eq!(problem.code, "wrong-owner");
    assert!(problem.message.contains("belongs to user 0, not "));
    Ok(())
}

/// Starts on another data directory.
async fn start_at(host: &Host, data: &Path) -> Problem {
    let launch = boma_postgres::server::Launch {
        installation: &host.place.installation,
        data,
        log: Path::new("/nonexistent/log"),
        socket_directory: Path::new("/tmp"),
        listen: host.listen,
    };
    boma_postgres::server::start(&launch, LONG)
        .await
        .expect_err("it must not start")
        .problem()
}

#[tokio::test]
async fn a_data_directory_that_is_not_there_and_a_log_that_cannot_be_written() -> anyhow::Result<()>
{
    become_unprivileged()?;
    let host = Host::new(&installation()?)?;
    let problem = start_at(&host, &host.place.parent.join("nothing")).await;
    assert_eq!(problem.code, "server-not-started");
    assert!(
        problem
            .to_string()
            .contains("nothing`: No such file or directory"),
        "{problem}"
    );
    let problem = start_at(&host, &host.data()).await;
    assert!(
        problem
            .to_string()
            .starts_with("start the server: open `/nonexistent/log`")
    );

    std::fs::write(host.log(), "")?;
    std::fs::set_permissions(host.log(), std::fs::Permissions::from_mode(0o400))?;
    let problem = refused(&host).await;
    assert_eq!(problem.class, Class::Config);
    assert!(problem.hints[0].contains("ls -ld"));
    Ok(())
}

#[tokio::test]
async fn a_socket_path_too_long_is_seen_beforehand() -> anyhow::Result<()> {
    become_unprivileged()?;
    let host = Host::new(&installation()?)?;
    let long = host.scratch.path().join("x".repeat(100));
    let problem = host.start_with(&long, LONG).await.unwrap_err().problem();
    assert_eq!(problem.code, "socket-path-too-long");
    assert!(problem.message.ends_with("is longer than 107 bytes"));
    assert!(adopt(&host.data())?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_slow_server_is_left_alone_and_found_again() -> anyhow::Result<()> {
    become_unprivileged()?;
    let host = Host::new(&installation()?)?;
    let error = host
        .start_with(host.scratch.path(), Duration::ZERO)
        .await
        .unwrap_err();
    assert!(matches!(error, StartError::Slow { .. }), "{error}");
    let problem = error.problem();
    assert_eq!(
        (problem.code.as_str(), problem.class),
        ("server-starts-slowly", Class::Transient)
    );
    let adopted = boma_testkit::eventually(LONG, async || {
        let found = adopt(&host.data()).map_err(|error| error.to_string())?;
        found.ok_or_else(|| "no pid file yet".to_owned())
    })
    .await?;
    assert!(adopted.ready(LONG).await?);
    stop(adopted).await
}
