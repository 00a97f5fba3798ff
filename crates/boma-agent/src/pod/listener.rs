//! Connections over TLS, with a certificate that may change while they are accepted.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use boma_instance::api::pod::{CERTIFICATE, KEY};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

use super::{PodConfig, PodError};

/// How long a client may take to shake hands.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Connections that have shaken hands and wait to be served.
const WAITING: usize = 16;

/// A pause after the system refused a connection: it is out of something.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections; each shakes hands beside the others, so that none holds others up.
pub(super) struct TlsListener {
    accepted: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    listen: SocketAddr,
}

impl TlsListener {
    /// Opens the port.
    pub(super) fn bind(pod: &PodConfig) -> Result<Self, PodError> {
        let mut certificate = Certificate::new(&pod.secret)?;
        let failed = |source| PodError::Listen {
            listen: pod.listen,
            source,
        };
        let listener = std::net::TcpListener::bind(pod.listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = TcpListener::from_std(listener).map_err(failed)?;
        let listen = listener.local_addr().map_err(failed)?;
        let (sender, accepted) = mpsc::channel(WAITING);
        tokio::spawn(async move {
            loop {
                let (stream, peer) = match listener.accept().await {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::debug!(%error, "accept a connection");
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                };
                let acceptor = certificate.acceptor();
                let sender = sender.clone();
                tokio::spawn(async move {
                    let shaken = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await;
                    if let Ok(Ok(stream)) = shaken {
                        // Nobody serves any more: the process ends.
                        let _ended = sender.send((stream, peer)).await;
                    }
                });
            }
        });
        Ok(Self { accepted, listen })
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.accepted.recv().await {
            Some(accepted) => accepted,
            // The task above never ends before this is dropped.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.listen)
    }
}

/// The certificate as it was last read.
struct Certificate {
    secret: PathBuf,
    read: Option<SystemTime>,
    acceptor: TlsAcceptor,
}

impl Certificate {
    fn new(secret: &Path) -> Result<Self, PodError> {
        Ok(Self {
            secret: secret.to_owned(),
            read: changed(secret),
            acceptor: acceptor(secret)?,
        })
    }

    /// What to shake hands with now. One that cannot be read leaves the former in force.
    fn acceptor(&mut self) -> TlsAcceptor {
        let now = changed(&self.secret);
        if now != self.read {
            match acceptor(&self.secret) {
                Ok(new) => (self.acceptor, self.read) = (new, now),
                Err(error) => tracing::warn!(%error, "a new certificate is not used"),
            }
        }
        self.acceptor.clone()
    }
}

fn changed(secret: &Path) -> Option<SystemTime> {
    fs::metadata(secret.join(KEY)).ok()?.modified().ok()
}

fn acceptor(secret: &Path) -> Result<TlsAcceptor, PodError> {
    let read = |name: &str| {
        let path = secret.join(name);
        fs::read(&path).map_err(|source| PodError::Read { path, source })
    };
    let unusable = |source: Box<dyn std::error::Error + Send + Sync>| PodError::Certificate {
        secret: secret.to_owned(),
        source,
    };
    let (certificate, key) = (read(CERTIFICATE)?, read(KEY)?);
    let chain = CertificateDer::pem_slice_iter(&certificate)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(error.into()))?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| unusable(error.into()))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.into()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| unusable(error.into()))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
