//! Connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower::Layer;

use crate::site::Site;

/// Connections at a time; more wait to be accepted. Each open page has one for its stream.
const CONNECTIONS: usize = 2048;

/// How long until the head of a request has come whole.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);

/// A pause after the system refused a connection: it is out of something.
const PAUSE: Duration = Duration::from_millis(100);

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

impl Site {
    /// Answers until it is dropped.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let routes = self.routes();
        loop {
            let Ok(place) = places.clone().acquire_owned().await else {
                return;
            };
            let (stream, peer) = match listener.accept().await {
                Ok((stream, peer)) => (stream, Peer(peer)),
                Err(error) => {
                    tracing::debug!(%error, "accept a connection");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            // Around the routes: `Router::layer` would copy each of them for each connection, some 90 KiB.
            let service = TowerToHyperService::new(Extension(peer).layer(routes.clone()));
            tokio::spawn(async move {
                let served = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_PATIENCE)
                    .serve_connection(TokioIo::new(stream), service);
                if let Err(error) = served.await {
                    tracing::debug!(%error, "a connection to the dashboard ended early");
                }
                drop(place);
            });
        }
    }
}
