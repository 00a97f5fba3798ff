//! S3, as moto serves it. It holds to `If-None-Match: *` as Amazon does, but not for two requests
//! of the same instant, which it takes both.

use std::net::SocketAddr;
use std::path::Path;

use boma_backup::store::Repository;
use boma_instance::Secret;
use boma_instance::backup::RepositoryLocation;
use boma_problem::IntoProblem as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::process::Command;

use crate::contract::{self, Races};
use crate::server::Server;

async fn moto() -> anyhow::Result<Server> {
    Server::start("moto/bin/moto_server", bound_to).await
}

fn bound_to(address: SocketAddr) -> Vec<String> {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    vec!["-H".into(), host, "-p".into(), port]
}

fn location(server: &Server, bucket: &str, prefix: &str) -> RepositoryLocation {
    RepositoryLocation::S3 {
        bucket: bucket.into(),
        prefix: prefix.into(),
        region: None,
        endpoint: Some(server.url()),
        allow_http: true,
        virtual_hosted: false,
        certificate_authority: None,
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

/// An authority, and a certificate of it for a server, with its key, in files; answers with the
/// authority's own.
fn vouched(directory: &Path, server: SocketAddr) -> anyhow::Result<String> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let server = CertificateParams::new([server.ip().to_string()])?;
    let certificate = server.signed_by(&key, &authority)?;
    std::fs::write(directory.join("server.pem"), certificate.pem())?;
    std::fs::write(directory.join("server.key"), key.serialize_pem())?;
    Ok(authority.pem())
}

#[tokio::test]
async fn a_server_is_believed_that_the_named_authority_vouches_for() -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let mut authority = Ok(String::new());
    let server = Server::start("moto/bin/moto_server", |address| {
        authority = vouched(directory.path(), address);
        let file = |name: &str| directory.path().join(name).display().to_string();
        let files = [
            "-c".into(),
            file("server.pem"),
            "-k".into(),
            file("server.key"),
        ];
        [bound_to(address), files.into()].concat()
    });
    let server = server.await?;
    let authority = authority?;
    let address = format!("https://{}", server.address);
    let place = |vouching: Option<&str>| {
        let mut place = location(&server, "backups", "");
        if let RepositoryLocation::S3 {
            endpoint,
            allow_http,
            certificate_authority,
            ..
        } = &mut place
        {
            *endpoint = Some(address.clone());
            *allow_http = false;
            *certificate_authority = vouching.map(str::to_owned);
        }
        contract::access(place)
    };
    let refused = Repository::open(&place(None)).await.err();
    let refused = refused.ok_or_else(|| anyhow::anyhow!("anybody is believed"))?;
    let problem = refused.problem();
    assert_eq!(problem.code, "repository-failed");
    assert!(problem.to_string().contains("certificate"), "{problem}");
    let other = tempfile::tempdir()?;
    let other = vouched(other.path(), server.address)?;
    assert!(Repository::open(&place(Some(&other))).await.is_err());

    let root = reqwest::Certificate::from_pem(authority.as_bytes())?;
    let client = reqwest::Client::builder().tls_certs_only([root]).build()?;
    let made = client.put(format!("{address}/backups")).send().await?;
    assert!(made.status().is_success(), "{made:?}");
    let repository = Repository::open(&place(Some(&authority))).await?;
    repository.confirm().await?;

    let nothing = Repository::open(&place(Some("none"))).await.err();
    let nothing = nothing.ok_or_else(|| anyhow::anyhow!("nothing is no authority"))?;
    let text = nothing.problem().to_string();
    assert!(
        text.contains("no certificate in its `certificate-authority`"),
        "{text}"
    );
    Ok(())
}

/// As in the stock images of PostgreSQL. The environment of a process is its own, so this is another.
#[tokio::test]
async fn a_system_without_certificates_reaches_a_store() -> anyhow::Result<()> {
    let nothing = tempfile::tempdir()?;
    let mut this = Command::new(std::env::current_exe()?);
    let output = this
        .args([
            "--exact",
            "s3::a_bucket_and_a_folder_in_a_bucket_are_repositories",
        ])
        .env("SSL_CERT_FILE", "/dev/null")
        .env("SSL_CERT_DIR", nothing.path())
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
    Ok(())
}
