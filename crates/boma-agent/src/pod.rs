//! The agent in a pod: what it is given in a mounted Secret, and its API over TLS.
//!
//! ```text
//!   Secret, mounted ─┬─► assignment.json   what to run, if it is newer than what was accepted
//!                    ├─► api.crt, api.key  read again when they change
//!                    └─► token             who may ask
//!
//!   0.0.0.0:PORT ─► TLS ─┬─► /v1/live, /v1/ready   anybody: they say yes or no
//!                        └─► the API               with the token
//! ```
//!
//! The routes of the write-ahead log are not served here: only the server beside it uses them,
//! over the Unix socket.

mod listener;
mod log;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use boma_instance::api::{self as paths, Reported};
use boma_instance::{Assignment, Phase};
use boma_problem::{Class, IntoProblem, Problem};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::api::{self, Handle};
use crate::ledger::{Ledger, LedgerError};
use listener::TlsListener;

/// What an agent is given in a pod.
#[derive(Clone, Debug)]
pub struct PodConfig {
    /// Where its Secret is mounted; see [`boma_instance::api::pod`] for what is in it.
    pub secret: PathBuf,
    /// Where the API listens.
    pub listen: SocketAddr,
}

/// Why what the pod mounts cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PodError {
    /// A file of the Secret cannot be read.
    #[error("read `{}`", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("use the certificate in `{}`", secret.display())]
    Certificate {
        /// Where it is.
        secret: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The port cannot be opened.
    #[error("listen on {listen}")]
    Listen {
        /// Where.
        listen: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl IntoProblem for PodError {
    fn problem(&self) -> Problem {
        match self {
            Self::Read { .. } | Self::Certificate { .. } => {
                Problem::from_error(Class::Config, "pod-secret-unusable", self).hint(
                    "Boma writes this Secret, and again when it was changed: see whether \
                     `boma serve` runs. The pod starts by itself then.",
                )
            }
            Self::Listen { .. } => Problem::from_error(Class::Config, "pod-port-taken", self)
                .hint("Nothing else in the pod may listen there: remove the sidecar that does."),
        }
    }
}

/// The API in a pod, before it is served.
pub(crate) struct PodApi {
    listener: TlsListener,
    router: Router,
    handle: Handle,
}

impl PodConfig {
    /// Takes the mounted assignment, unless a newer one was accepted before. One that cannot be
    /// used changes nothing: the engine hands it over as well.
    pub(crate) fn take_assignment(&self, ledger: &mut Ledger) {
        match self.assignment() {
            Ok(assignment) => match ledger.accept(assignment) {
                // The mounted one is late: files of a Secret follow it within a minute or so.
                Ok(()) | Err(LedgerError::Outdated { .. }) => {}
                Err(error) => {
                    tracing::error!(problem = %error.problem(), "the mounted assignment is not used");
                }
            },
            Err(error) => tracing::warn!(%error, "there is no mounted assignment"),
        }
    }

    fn assignment(&self) -> io::Result<Assignment> {
        let bytes = fs::read(self.secret.join(paths::pod::ASSIGNMENT))?;
        serde_json::from_slice(&bytes).map_err(io::Error::other)
    }

    /// Opens the port. From here on the agent is asked to shut down when the pod ends.
    pub(crate) fn open(self, handle: Handle, dir: &Path) -> Result<PodApi, PodError> {
        let listener = TlsListener::bind(&self)?;
        let probes = Router::new()
            .route(paths::pod::LIVE, get(|| async { StatusCode::OK }))
            .route(paths::pod::READY, get(ready))
            .with_state(handle.status.clone());
        let token = self.secret.join(paths::pod::TOKEN);
        let log = Router::new()
            .route(paths::LOG, get(log::log))
            .with_state(dir.join(crate::LOG));
        let guarded = api::router(handle.clone())
            .merge(log)
            .layer(middleware::from_fn_with_state(token, require_token));
        Ok(PodApi {
            listener,
            router: probes.merge(guarded),
            handle,
        })
    }
}

/// Serves the API until it ends; for ever where there is none.
pub(crate) async fn serve(pod: Option<PodApi>) -> io::Result<()> {
    let Some(PodApi {
        listener,
        router,
        handle,
    }) = pod
    else {
        return std::future::pending().await;
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let end = async {
        terminate.recv().await;
        // The agent's task ends the whole; nothing is left to wait for here.
        let _ended = handle.requests.send(api::Request::Shutdown).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        // Cancel-safe: whichever ends, the process does.
        ended = async { axum::serve(listener, router).await } => ended,
        () = end => Ok(()),
    }
}

/// Whether clients should be sent here.
async fn ready(State(status): State<watch::Receiver<Option<Reported>>>) -> StatusCode {
    let serves = status
        .borrow()
        .as_ref()
        .is_some_and(|reported| match reported.status.phase {
            Phase::Ready | Phase::Converging | Phase::Degraded => reported.status.server.is_some(),
            Phase::Unknown
            | Phase::Creating
            | Phase::Starting
            | Phase::Stopping
            | Phase::Suspended
            | Phase::Failed => false,
        });
    if serves {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

/// Lets only those pass who know the token. It is read each time, so that a new one counts at
/// once; requests are rare.
async fn require_token(
    State(token): State<PathBuf>,
    request: Request,
    next: Next,
) -> Result<Response, StatusCode> {
    let given = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    match given {
        Some(given) if is_token(&token, given) => Ok(next.run(request).await),
        Some(_) | None => Err(StatusCode::UNAUTHORIZED),
    }
}

/// Whether this is the token; an empty one, or none, is nobody's.
fn is_token(path: &Path, given: &[u8]) -> bool {
    let Ok(token) = fs::read(path) else {
        return false;
    };
    // Digests of one length are compared, so that time tells nothing of the token.
    let digest = |bytes: &[u8]| ring::digest::digest(&ring::digest::SHA256, bytes);
    let (token, given) = (digest(&token), digest(given));
    let mut differs = 0;
    for (one, other) in token.as_ref().iter().zip(given.as_ref()) {
        differs |= one ^ other;
    }
    differs == 0 && token.as_ref() != digest(b"").as_ref()
}

#[cfg(test)]
mod tests;
