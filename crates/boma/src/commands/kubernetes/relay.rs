//! The dashboard's port of a process that waits: it leads to the one that acts.
//!
//! A Service leads to either; only one of them knows how things are, because only it looks.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use boma_kubernetes::KubernetesPlatform;
use boma_problem::IntoProblem as _;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Connections at a time; more wait to be accepted.
const CONNECTIONS: usize = 512;

/// How old what is known of the one that acts may be: as old as its Lease, when it was just renewed.
const FRESH: Duration = Duration::from_secs(5);

/// How long the one that acts may take to take a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// A pause after the system refused something.
const PAUSE: Duration = Duration::from_millis(100);

/// Leads every connection to the same port of the process that acts, until this is dropped.
pub(super) async fn pass_on(platform: Arc<KubernetesPlatform>, at: SocketAddr) {
    let listener = match TcpListener::bind(at).await {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(%at, %error, "the dashboard is not passed on");
            return std::future::pending().await;
        }
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut known: Option<(Instant, Option<IpAddr>)> = None;
    while let Ok(place) = places.clone().acquire_owned().await {
        let Ok((mut from, _peer)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let fresh = known.filter(|(asked, _)| asked.elapsed() < FRESH);
        let leader = match fresh {
            Some((_, leader)) => leader,
            None => leader(&platform).await,
        };
        known = Some((fresh.map_or_else(Instant::now, |(asked, _)| asked), leader));
        let Some(leader) = leader else {
            // Nobody acts: closing says so, and whoever asks tries again.
            continue;
        };
        connections.spawn(async move {
            let to = TcpStream::connect((leader, at.port()));
            if let Ok(Ok(mut to)) = tokio::time::timeout(PATIENCE, to).await {
                drop(copy_bidirectional(&mut from, &mut to).await);
            }
            drop(place);
        });
    }
}

async fn leader(platform: &KubernetesPlatform) -> Option<IpAddr> {
    match platform.leader_address().await {
        Ok(address) => address,
        Err(error) => {
            tracing::warn!(error = %error.problem(), "nobody to pass the dashboard on to");
            None
        }
    }
}
