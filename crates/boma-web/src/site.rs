//! What all requests share, and which path leads where.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use boma_engine::catalog::Basis;
use boma_engine::engine::{EngineHandle, EngineState};
use boma_engine::source::{GitWriter, Note, Proposal, Snapshot};
use boma_instance::InstanceId;
use tokio::sync::{Mutex, Notify, watch};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

use crate::access::{Access, SigningKey, guard};
use crate::operations::Operations;
use crate::{api, assets, metrics, pages};

/// How long a source may take to be read again: a repository is fetched for it.
const READ_PATIENCE: Duration = Duration::from_secs(10);

/// Where changes of manifests go.
pub enum Writing {
    /// Into the files of this directory.
    Directory(PathBuf),
    /// Into this repository.
    Repository(Repository),
}

/// A source, and where changes of its manifests go.
pub struct Target {
    /// What the names of its files begin with; empty: it is the only source.
    pub label: String,
    /// Where they go.
    pub writing: Writing,
}

/// A repository that changes of manifests are committed to.
pub struct Repository {
    /// What commits; one at a time.
    pub writer: Mutex<GitWriter>,
    /// The branch that is applied.
    pub branch: String,
    /// What says that it was pushed to.
    pub told: Arc<Notify>,
    /// The name of the person whose commits they are.
    pub name: String,
    /// That person's address.
    pub email: String,
}

impl Repository {
    pub(crate) fn note(&self, message: &str) -> Note {
        Note {
            name: self.name.clone(),
            email: self.email.clone(),
            message: message.to_owned(),
        }
    }
}

/// What a dashboard is made of.
pub struct Parts {
    /// What keeps everything as the manifests say.
    pub engine: EngineHandle,
    /// What the source holds.
    pub snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    /// What manifests are read against.
    pub basis: Arc<Basis>,
    /// Where manifests come from, as it is remembered.
    pub source_name: Arc<str>,
    /// The sources; at least one.
    pub targets: Vec<Target>,
    /// What a person asks the platform for.
    pub operations: Arc<dyn Operations>,
    /// Where new instances get their ids from, for plans that are only shown.
    pub ids: fn() -> InstanceId,
    /// What sessions are signed with.
    pub key: SigningKey,
    /// What tells this run of the server from others.
    pub run: String,
}

/// What all requests share.
pub struct Site {
    pub(crate) engine: EngineHandle,
    pub(crate) snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    pub(crate) basis: Arc<Basis>,
    pub(crate) source_name: Arc<str>,
    pub(crate) targets: Vec<Target>,
    pub(crate) operations: Arc<dyn Operations>,
    pub(crate) ids: fn() -> InstanceId,
    pub(crate) access: Access,
    port: u16,
}

impl Site {
    /// A dashboard that is reached at an address.
    pub fn new(parts: Parts, at: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            engine: parts.engine,
            snapshots: parts.snapshots,
            basis: parts.basis,
            source_name: parts.source_name,
            targets: parts.targets,
            operations: parts.operations,
            ids: parts.ids,
            access: Access::new(parts.key, &parts.run),
            port: at.port(),
        })
    }

    /// Cookies are shared by all ports of a host; two installations are not to sign each other out.
    pub(crate) fn cookie_name(&self) -> String {
        format!("boma-{}", self.port)
    }

    /// What the engine knows now.
    pub(crate) fn state(&self) -> Arc<EngineState> {
        self.engine.state().borrow().clone()
    }

    /// What the source holds now.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshots.borrow().clone().unwrap_or_default()
    }

    /// Where a file of the sources is written, and its name there.
    pub(crate) fn target<'n>(&self, file: &'n str) -> Option<(&Target, &'n str)> {
        let (root, name) = self.basis.roots.place(file)?;
        let target = self.targets.iter().find(|one| one.label == root.label)?;
        Some((target, name))
    }

    /// Waits until the source was read with what was written to it; not for ever, because somebody
    /// else may have written another thing meanwhile.
    pub(crate) async fn until_read(&self, proposal: &Proposal) {
        let mut snapshots = self.snapshots.clone();
        let has_it = |snapshot: &Option<Arc<Snapshot>>| {
            let mut files = snapshot.iter().flat_map(|snapshot| &snapshot.files);
            files.any(|file| {
                file.source.name == *proposal.name()
                    && *file.source.bytes == *proposal.text().as_bytes()
            })
        };
        let read = snapshots.wait_for(has_it);
        drop(tokio::time::timeout(READ_PATIENCE, read).await);
    }

    pub(crate) fn routes(self: Arc<Self>) -> Router {
        Router::new()
            .route("/", get(pages::overview))
            .route("/databases/{*key}", get(pages::database))
            .route("/applications/{*key}", get(pages::application))
            .route("/new", get(pages::new))
            .route(
                "/new/database",
                get(pages::new_database).post(pages::propose_database),
            )
            .route("/attach", post(pages::attach))
            .route("/detach", post(pages::detach))
            .route("/edit", post(pages::edit))
            .route("/restore", post(pages::restore))
            .route("/changes", post(pages::write))
            .route("/rotate", post(pages::rotate))
            .route("/back-up", post(pages::back_up))
            .route("/hold", post(pages::hold))
            .route("/reveal", post(pages::reveal))
            .route("/plan", get(pages::plan))
            .route("/events", get(pages::events))
            .route("/audit", get(pages::audit))
            .route("/stream", get(pages::stream))
            .route("/sign-in", get(pages::sign_in))
            .route("/sign-out", post(pages::sign_out))
            .route("/healthz", get(async || "well\n"))
            .route("/readyz", get(metrics::ready))
            .route("/metrics", get(metrics::metrics))
            .route("/assets/{name}", get(assets::asset))
            .merge(api::routes())
            .fallback(pages::nothing)
            .layer(from_fn_with_state(self.clone(), guard))
            // A page of an installation with thousands of resources is a tenth of its size then.
            .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
            .with_state(self)
    }
}
