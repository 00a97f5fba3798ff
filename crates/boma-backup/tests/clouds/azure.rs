//! Azure Blob Storage, as Azurite serves it.

use boma_instance::Secret;
use boma_instance::backup::RepositoryLocation;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ring::hmac;

use crate::contract::{self, Races};
use crate::server::Server;

/// Every Azurite has this account, with this key; both are in its documentation.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

async fn azurite(place: &std::path::Path) -> anyhow::Result<Server> {
    let arguments = |address: std::net::SocketAddr| {
        vec![
            "--silent".into(),
            "--skipApiVersionCheck".into(),
            "--disableTelemetry".into(),
            "--location".into(),
            place.display().to_string(),
            "--blobHost".into(),
            address.ip().to_string(),
            "--blobPort".into(),
            address.port().to_string(),
        ]
    };
    Server::start("azurite/node_modules/.bin/azurite-blob", arguments).await
}

/// Makes a container, with a signed request as the service wants it.
async fn make_container(server: &Server, name: &str) -> anyhow::Result<()> {
    let date = Timestamp::now()
        .to_zoned(TimeZone::UTC)
        .strftime("%a, %d %b %Y %H:%M:%S GMT")
        .to_string();
    let headers = format!("x-ms-date:{date}\nx-ms-version:2021-08-06");
    let signed = format!(
        "PUT\n\n\n\n\n\n\n\n\n\n\n\n{headers}\n/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, &base64(KEY));
    let signature = encoded(hmac::sign(&key, signed.as_bytes()).as_ref());
    let headers = format!(
        "x-ms-date: {date}\r\nx-ms-version: 2021-08-06\r\n\
         authorization: SharedKey {ACCOUNT}:{signature}\r\n"
    );
    let made = server
        .ask(
            &format!("PUT /{ACCOUNT}/{name}?restype=container"),
            &headers,
        )
        .await?;
    anyhow::ensure!(made.contains(" 201 "), "{made}");
    Ok(())
}

#[tokio::test]
async fn a_container_and_a_folder_in_a_container_are_repositories() -> anyhow::Result<()> {
    let place = tempfile::tempdir()?;
    let server = azurite(place.path()).await?;
    make_container(&server, "backups").await?;
    for prefix in ["", "fincorp/development"] {
        let place = RepositoryLocation::Azure {
            account: ACCOUNT.into(),
            container: "backups".into(),
            prefix: prefix.into(),
            access_key: Some(Secret::new(KEY.into())),
            endpoint: Some(format!("{}/{ACCOUNT}", server.url())),
            certificate_authority: None,
        };
        contract::hold(place, Races::Settled).await?;
    }
    Ok(())
}

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .unwrap_or_default()
}

fn encoded(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
