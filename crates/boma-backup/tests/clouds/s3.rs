//! S3, as moto serves it. It holds to `If-None-Match: *` as Amazon does, but not for two requests
//! of the same instant, which it takes both.

use boma_backup::store::Repository;
use boma_instance::Secret;
use boma_instance::backup::RepositoryLocation;
use boma_problem::IntoProblem as _;

use crate::contract::{self, Races};
use crate::server::Server;

async fn moto() -> anyhow::Result<Server> {
    let arguments = |address: std::net::SocketAddr| {
        vec![
            "-H".into(),
            address.ip().to_string(),
            "-p".into(),
            address.port().to_string(),
        ]
    };
    Server::start("moto/bin/moto_server", arguments).await
}

fn location(server: &Server, bucket: &str, prefix: &str) -> RepositoryLocation {
    RepositoryLocation::S3 {
        bucket: bucket.into(),
        prefix: prefix.into(),
        region: None,
        endpoint: Some(server.url()),
        allow_http: true,
        virtual_hosted: false,
        access_key_id: Some("id".into()),
        secret_access_key: Some(Secret::new("secret".into())),
    }
}

#[tokio::test]
async fn a_bucket_and_a_folder_in_a_bucket_are_repositories() -> anyhow::Result<()> {
    let server = moto().await?;
    let made = server.ask("PUT /backups", "").await?;
    assert!(made.contains(" 200 "), "{made}");
    for prefix in ["", "fincorp/development"] {
        contract::hold(location(&server, "backups", prefix), Races::NotSettled).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_a_failure() -> anyhow::Result<()> {
    let server = moto().await?;
    let access = contract::access(location(&server, "nowhere", ""));
    let error = Repository::open(&access).await.err();
    let problem = error.ok_or_else(|| anyhow::anyhow!("it opened"))?.problem();
    assert_eq!(problem.code, "repository-failed", "{problem}");
    Ok(())
}

#[tokio::test]
async fn a_server_that_has_lost_the_bucket_has_not_lost_single_objects() -> anyhow::Result<()> {
    let server = moto().await?;
    server.ask("PUT /backups", "").await?;
    let access = contract::access(location(&server, "backups", ""));
    let repository = Repository::open(&access).await?;
    let reset = server.ask("POST /moto-api/reset", "").await?;
    assert!(reset.contains(" 200 "), "{reset}");
    contract::is_missed(&repository).await?;
    drop(server);
    contract::is_missed(&repository).await
}

#[tokio::test]
async fn without_tls_only_where_it_is_allowed() -> anyhow::Result<()> {
    let server = moto().await?;
    server.ask("PUT /backups", "").await?;
    let mut place = location(&server, "backups", "");
    if let RepositoryLocation::S3 { allow_http, .. } = &mut place {
        *allow_http = false;
    }
    assert!(Repository::open(&contract::access(place)).await.is_err());
    Ok(())
}
