//! Answering the API server, over TLS, with a certificate of the installation's own authority.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use boma_engine::authority::{Authority, renewed_from};
use boma_engine::catalog::Basis;
use boma_problem::IntoProblem;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::core::DynamicObject;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{Namespace, Review};
use crate::error::KubernetesError;
use crate::install::admission;
use crate::resources::CustomResources;

/// Largest question, in bytes: two objects, each of which may have 1.5 MiB, and what is said of them.
const LARGEST: usize = 8 << 20;
/// Connections at a time; more wait to be accepted.
const CONNECTIONS: usize = 32;
/// How long a connection may take that asks nothing: the API server keeps some open.
const PATIENCE: Duration = Duration::from_mins(2);
/// A pause after the system refused a connection: it is out of something.
const PAUSE: Duration = Duration::from_millis(100);
/// How often it is looked whether the API server still trusts this one, and whether it does yet.
const LOOK_AGAIN: Duration = Duration::from_mins(10);
const TRY_AGAIN: Duration = Duration::from_secs(15);
/// Field manager of what only a running Boma can know.
const MANAGER: &str = "boma-serve";

/// An open port.
pub struct Admission {
    listener: TcpListener,
    desk: Arc<Desk>,
}

struct Desk {
    resources: CustomResources,
    basis: Arc<Basis>,
    authority: Authority,
    names: Vec<String>,
    /// The certificate in use, and from when on another one is to be.
    current: Mutex<(TlsAcceptor, Timestamp)>,
}

impl Admission {
    /// Opens the port, and tells the API server which authority has made its certificate.
    ///
    /// # Errors
    /// When the port is taken, or the installation's authority cannot be read.
    pub async fn open(
        resources: CustomResources,
        address: SocketAddr,
        basis: Basis,
    ) -> Result<Self, KubernetesError> {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| KubernetesError::AdmissionPort { address, source })?;
        let authority = resources.registry().authority().await?;
        let names = admission::server_names(resources.registry().home());
        let current = Mutex::new(certificate(&authority, &names)?);
        let desk = Arc::new(Desk {
            resources,
            basis: Arc::new(basis),
            authority,
            names,
            current,
        });
        Ok(Self { listener, desk })
    }

    /// Answers, for ever, and sees to it that the API server trusts the answers.
    pub async fn serve(self) {
        let desk = self.desk.clone();
        tokio::join!(self.accept(), desk.be_trusted());
    }

    async fn accept(self) {
        let free = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(permit) = free.clone().acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let desk = self.desk.clone();
                    tokio::spawn(async move {
                        // Whoever asks nothing is let go.
                        drop(tokio::time::timeout(PATIENCE, connection(stream, desk)).await);
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "no connection of the API server was accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// A certificate of the authority, and from when on another one is to be used.
fn certificate(
    authority: &Authority,
    names: &[String],
) -> Result<(TlsAcceptor, Timestamp), KubernetesError> {
    let (material, until) = authority.issue(names, Timestamp::now())?;
    let unusable = |source: Box<dyn std::error::Error + Send + Sync>| {
        KubernetesError::AdmissionCertificate(source)
    };
    let chain = CertificateDer::pem_slice_iter(material.certificate.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(error.into()))?;
    let key = PrivateKeyDer::from_pem_slice(material.key.expose().as_bytes())
        .map_err(|error| unusable(error.into()))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.into()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| unusable(error.into()))?;
    Ok((TlsAcceptor::from(Arc::new(config)), renewed_from(until)))
}

/// Writes the authority into the webhook's configuration, if there is one and it has another;
/// answers whether there is one.
async fn tell_authority(
    resources: &CustomResources,
    authority: &Authority,
) -> Result<bool, KubernetesError> {
    let registry = resources.registry();
    let (name, resource) = admission::configuration(registry.home());
    let api = Api::<DynamicObject>::all_with(registry.client(), &resource);
    let found = api.get_opt(&name).await;
    let found = found.map_err(KubernetesError::api("read the webhook's configuration"))?;
    let wanted = json!(STANDARD.encode(&authority.certificate));
    let Some(found) = found else {
        return Ok(false);
    };
    if found.data["webhooks"][0]["clientConfig"]["caBundle"] == wanted {
        return Ok(true);
    }
    let body = json!({
        "apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name},
        "webhooks": [{"name": admission::WEBHOOK, "clientConfig": {"caBundle": wanted}}],
    });
    let params = PatchParams::apply(MANAGER).force();
    let written = api.patch(&name, &params, &Patch::Apply(&body)).await;
    written.map_err(KubernetesError::api("write the webhook's authority"))?;
    Ok(true)
}

async fn connection(stream: TcpStream, desk: Arc<Desk>) {
    let Ok(stream) = desk.acceptor().accept(stream).await else {
        return;
    };
    let service = service_fn(|request| {
        let desk = desk.clone();
        async move { Ok::<_, Infallible>(desk.answer(request).await) }
    });
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection of the API server ended");
    }
}

impl Desk {
    /// Keeps the authority in the webhook's configuration, which others may write anew.
    async fn be_trusted(&self) {
        loop {
            let told = tell_authority(&self.resources, &self.authority).await;
            let pause = match told {
                Ok(true) => LOOK_AGAIN,
                Ok(false) => TRY_AGAIN,
                Err(error) => {
                    let error = error.problem();
                    tracing::warn!(%error, "custom resources are not checked before they are stored");
                    TRY_AGAIN
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    fn acceptor(&self) -> TlsAcceptor {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if Timestamp::now() >= current.1 {
            match certificate(&self.authority, &self.names) {
                Ok(new) => *current = new,
                Err(error) => tracing::warn!(%error, "the webhook's certificate is an old one"),
            }
        }
        current.0.clone()
    }

    async fn answer(&self, request: hyper::Request<Incoming>) -> Response<Full<Bytes>> {
        let respond = |status: StatusCode, body: String| {
            let mut response = Response::new(Full::from(body));
            *response.status_mut() = status;
            response
        };
        if request.uri().path() != admission::PATH {
            return respond(StatusCode::NOT_FOUND, String::new());
        }
        let body = Limited::new(request.into_body(), LARGEST).collect().await;
        let review = body
            .ok()
            .and_then(|body| serde_json::from_slice::<Review>(&body.to_bytes()).ok());
        match review {
            Some(review) => respond(StatusCode::OK, self.judge(&review).await.to_string()),
            None => respond(
                StatusCode::BAD_REQUEST,
                "an AdmissionReview was expected".to_owned(),
            ),
        }
    }

    async fn judge(&self, review: &Review) -> Value {
        let request = &review.request;
        let (project, is_ending) = self.resources.namespace(&request.namespace).await;
        let namespace = Namespace { project, is_ending };
        request.answer(&request.problems(&namespace, &self.basis))
    }
}
