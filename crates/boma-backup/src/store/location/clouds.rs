//! S3, Google Cloud Storage and Azure Blob Storage.
//!
//! Servers are believed whom an authority of the system vouches for, or one that the configuration
//! names. The stock images of PostgreSQL hold no certificate of any authority: where the system has
//! none, Mozilla's of the time of this build take their place (decision 0163).

use std::sync::Arc;
use std::time::Duration;

use boma_instance::Secret;
use boma_instance::backup::RepositoryLocation;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::prefix::PrefixStore;
use object_store::{Certificate, ClientOptions, ObjectStore, Result, RetryConfig};
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

/// How long one request may take: a pack over a slow line.
const REQUEST: Duration = Duration::from_mins(5);

/// How often, and how long, a request is tried again here. PostgreSQL and the agent try again by
/// themselves, and until this has given up nobody is told why it takes so long.
const TRIES: usize = 4;
const TRYING: Duration = Duration::from_secs(30);

/// Connects; sends nothing yet.
pub(super) fn connect(location: &RepositoryLocation) -> Result<Arc<dyn ObjectStore>> {
    // The one TLS library has one cryptographic library; a second call changes nothing.
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    match location {
        RepositoryLocation::Directory { path } => Err(object_store::Error::NotImplemented {
            operation: format!("connect to `{path}`"),
            implementer: "object stores".into(),
        }),
        RepositoryLocation::S3 { prefix, .. } => Ok(within(prefix, s3(location)?.build()?)),
        RepositoryLocation::Gcs {
            bucket,
            prefix,
            service_account_key,
        } => {
            let mut builder = match service_account_key {
                Some(key) => {
                    GoogleCloudStorageBuilder::new().with_service_account_key(key.expose())
                }
                None => GoogleCloudStorageBuilder::from_env(),
            };
            builder = builder
                .with_bucket_name(bucket)
                .with_client_options(options(None)?)
                .with_retry(retry());
            Ok(within(prefix, builder.build()?))
        }
        RepositoryLocation::Azure { prefix, .. } => Ok(within(prefix, azure(location)?.build()?)),
    }
}

fn s3(location: &RepositoryLocation) -> Result<AmazonS3Builder> {
    let RepositoryLocation::S3 {
        bucket,
        region,
        endpoint,
        allow_http,
        virtual_hosted,
        certificate_authority,
        access_key_id,
        secret_access_key,
        prefix: _,
    } = location
    else {
        return Ok(AmazonS3Builder::new());
    };
    let http = options(certificate_authority.as_deref())?;
    // Without a key, what the machine or the pod says of itself is in the environment.
    let mut builder = match (access_key_id, secret_access_key) {
        (Some(id), Some(secret)) => AmazonS3Builder::new()
            .with_access_key_id(id)
            .with_secret_access_key(secret.expose()),
        _ => AmazonS3Builder::from_env(),
    };
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    Ok(builder
        .with_bucket_name(bucket)
        .with_region(region.as_deref().unwrap_or("us-east-1"))
        .with_virtual_hosted_style_request(*virtual_hosted)
        .with_allow_http(*allow_http)
        .with_client_options(http.with_allow_http(*allow_http))
        .with_retry(retry()))
}

fn azure(location: &RepositoryLocation) -> Result<MicrosoftAzureBuilder> {
    let RepositoryLocation::Azure {
        account,
        container,
        access_key,
        endpoint,
        certificate_authority,
        prefix: _,
    } = location
    else {
        return Ok(MicrosoftAzureBuilder::new());
    };
    let mut builder = match access_key.as_ref().map(Secret::expose) {
        Some(key) => MicrosoftAzureBuilder::new().with_access_key(key),
        None => MicrosoftAzureBuilder::from_env(),
    };
    let mut http = options(certificate_authority.as_deref())?;
    if let Some(endpoint) = endpoint {
        // Only for a server of one's own, where the endpoint says so in words.
        http = http.with_allow_http(endpoint.starts_with("http://"));
        builder = builder.with_endpoint(endpoint.clone());
    }
    Ok(builder
        .with_account(account)
        .with_container_name(container)
        .with_client_options(http)
        .with_retry(retry()))
}

/// Where it is, for people.
pub(super) fn place(location: &RepositoryLocation) -> String {
    match location {
        RepositoryLocation::Directory { path } => format!("`{path}`"),
        RepositoryLocation::S3 { bucket, prefix, .. } => format!("`s3://{bucket}/{prefix}`"),
        RepositoryLocation::Gcs { bucket, prefix, .. } => format!("`gs://{bucket}/{prefix}`"),
        RepositoryLocation::Azure {
            account,
            container,
            prefix,
            ..
        } => format!("`azure://{account}/{container}/{prefix}`"),
    }
}

fn within(prefix: &str, store: impl ObjectStore) -> Arc<dyn ObjectStore> {
    if prefix.trim_matches('/').is_empty() {
        Arc::new(store)
    } else {
        Arc::new(PrefixStore::new(store, prefix))
    }
}

fn options(authority: Option<&str>) -> Result<ClientOptions> {
    let mut options = ClientOptions::new().with_timeout(REQUEST);
    if let Some(authority) = authority {
        let certificates = Certificate::from_pem_bundle(authority.as_bytes())?;
        if certificates.is_empty() {
            return Err(object_store::Error::Generic {
                store: "repository",
                source: "there is no certificate in its `certificate-authority`".into(),
            });
        }
        for certificate in certificates {
            options = options.with_root_certificate(certificate);
        }
    }
    if rustls_native_certs::load_native_certs().certs.is_empty() {
        for certificate in TLS_SERVER_ROOT_CERTS {
            options = options.with_root_certificate(Certificate::from_der(certificate)?);
        }
    }
    Ok(options)
}

fn retry() -> RetryConfig {
    RetryConfig {
        max_retries: TRIES,
        retry_timeout: TRYING,
        ..RetryConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_says_where_it_is_and_not_with_what_key() {
        let location = RepositoryLocation::S3 {
            bucket: "backups".into(),
            prefix: "fincorp".into(),
            region: None,
            endpoint: Some("http://localhost:1".into()),
            allow_http: false,
            virtual_hosted: false,
            certificate_authority: None,
            access_key_id: Some("id".into()),
            secret_access_key: Some(Secret::new("hunter2".into())),
        };
        assert_eq!(place(&location), "`s3://backups/fincorp`");
        let store = connect(&location).unwrap();
        assert!(!format!("{store}").contains("hunter2"));
    }
}
