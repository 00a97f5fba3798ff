//! What all requests share, and which path leads where.

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use boma_engine::catalog::Basis;
use boma_engine::engine::{EngineHandle, EngineState};
use boma_engine::keys::ApplicationKey;
use boma_engine::platform::{AuditEntry, RecordedEvent};
use boma_engine::source::{Proposal, Snapshot};
use boma_instance::InstanceId;
use boma_problem::Problem;
use tokio::sync::watch;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

use crate::access::{Access, Keys, Session, Who, guard};
use crate::api::Answers;
use crate::checks::Checks;
use crate::failure::Failure;
use crate::insight::Insight;
use crate::operations::Operations;
use crate::people::{People, PeopleChange, Register, Role};
use crate::provider::{Provider, ProviderError, ProviderSettings, RETURN};
use crate::traced::traced;
use crate::writing::{ReadOnly, ResourceWriter, Target, Writer, Writing};
use crate::{api, assets, metrics, pages};

/// How long a source may take to be read again: a repository is fetched for it.
const READ_PATIENCE: Duration = Duration::from_secs(10);

/// Entries of the journal that are looked through for somebody who sees a part of them.
const SEARCHED: u32 = 5000;

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
    /// What is asked when somebody looks.
    pub insight: Arc<dyn Insight>,
    /// Where ids come from: those of new instances, in plans that are only shown, and those of checks.
    pub ids: fn() -> InstanceId,
    /// What is let in by, and as whom.
    pub keys: Keys,
    /// Who there is.
    pub register: Arc<dyn Register>,
    /// What people reach it by; none: by the address where it listens, on this machine only.
    pub url: Option<SiteUrl>,
    /// With whom people sign in who have no password here.
    pub provider: Option<ProviderSettings>,
}

/// What people reach a dashboard by, such as `https://boma.example`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteUrl(String);

/// A text is not the address of a dashboard.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no address of a dashboard: `https://HOST` or `https://HOST:PORT`")]
pub struct NotASiteUrl(String);

impl SiteUrl {
    /// Scheme, host and port.
    pub fn origin(&self) -> &str {
        &self.0
    }

    /// Host and port, as a browser asks for them.
    pub(crate) fn host(&self) -> &str {
        let host = self.0.split_once("://");
        host.map_or("", |(_, host)| host)
    }

    /// Whether what is sent there is encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.0.starts_with("https:")
    }
}

impl FromStr for SiteUrl {
    type Err = NotASiteUrl;

    fn from_str(text: &str) -> Result<Self, NotASiteUrl> {
        let plain = text.strip_suffix('/').unwrap_or(text);
        let host = plain.strip_prefix("https://");
        let host = host.or_else(|| plain.strip_prefix("http://"));
        let is_letter = |one: char| one.is_ascii_alphanumeric() || ".-:[]".contains(one);
        let is_host = |host: &str| !host.is_empty() && host.chars().all(is_letter);
        host.is_some_and(is_host)
            .then(|| Self(plain.to_ascii_lowercase()))
            .ok_or_else(|| NotASiteUrl(text.to_owned()))
    }
}

/// What all requests share.
pub struct Site {
    pub(crate) engine: EngineHandle,
    pub(crate) snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    pub(crate) basis: Arc<Basis>,
    pub(crate) source_name: Arc<str>,
    pub(crate) targets: Vec<Target>,
    pub(crate) operations: Arc<dyn Operations>,
    pub(crate) insight: Arc<dyn Insight>,
    pub(crate) ids: fn() -> InstanceId,
    pub(crate) access: Access,
    pub(crate) answers: Answers,
    pub(crate) checks: Checks,
    pub(crate) provider: Option<Provider>,
    pub(crate) url: Option<SiteUrl>,
    at: SocketAddr,
}

impl Site {
    /// A dashboard that is reached at an address.
    ///
    /// # Errors
    /// When the provider that people sign in with could not be asked at all.
    pub fn new(parts: Parts, at: SocketAddr) -> Result<Arc<Self>, ProviderError> {
        let provider = parts.provider.map(Provider::new).transpose()?;
        Ok(Arc::new(Self {
            engine: parts.engine,
            snapshots: parts.snapshots,
            basis: parts.basis,
            source_name: parts.source_name,
            targets: parts.targets,
            operations: parts.operations,
            insight: parts.insight,
            ids: parts.ids,
            access: Access::new(parts.keys, parts.register),
            answers: Answers::default(),
            checks: Checks::default(),
            provider,
            url: parts.url,
            at,
        }))
    }

    /// Cookies are shared by all ports of a host; two installations are not to sign each other out.
    pub(crate) fn cookie_name(&self) -> String {
        format!("boma-{}", self.at.port())
    }

    /// Where people reach it.
    pub(crate) fn origin_for_people(&self) -> String {
        match &self.url {
            Some(url) => url.origin().to_owned(),
            None => format!("http://{}", self.at),
        }
    }

    /// Changes who there is, for somebody.
    pub(crate) async fn change_people(
        &self,
        session: &Session,
        change: PeopleChange,
    ) -> Result<Arc<People>, Failure> {
        let who = &session.who;
        let register = self.access.register();
        let changed = register.change_people(change, &who.rights, &who.actor);
        Ok(self.access.learn(changed.await?))
    }

    /// The newest events of what somebody sees, newest first.
    pub(crate) async fn events(
        &self,
        who: &Who,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, Box<Problem>> {
        let is_all = who.rights.has_everywhere(Role::Viewer);
        let asked = if is_all { limit } else { SEARCHED.max(limit) };
        let mut events = self.operations.events(None, asked).await?;
        events.retain(|one| who.rights.has_in(Role::Viewer, &one.event.subject));
        events.truncate(limit as usize);
        Ok(events)
    }

    /// The newest entries of the audit trail about what somebody is admin of, newest first.
    pub(crate) async fn audit_trail(
        &self,
        who: &Who,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, Failure> {
        if !who.rights.has_somewhere(Role::Admin) {
            return Err(Failure::NotAllowed {
                role: Role::Admin,
                scope: String::new(),
            });
        }
        let is_all = who.rights.has_everywhere(Role::Admin);
        let asked = if is_all { limit } else { SEARCHED.max(limit) };
        let mut entries = self.operations.audit_trail(asked).await?;
        entries.retain(|one| who.rights.has_in(Role::Admin, &one.subject));
        entries.truncate(limit as usize);
        Ok(entries)
    }

    /// Deploys an application again, for somebody.
    pub(crate) async fn deploy(
        &self,
        session: &Session,
        key: &ApplicationKey,
    ) -> Result<(), Failure> {
        let permit = session.who.permit(Role::Developer, &key.project)?;
        self.operations.asked_to_deploy(&permit, key).await?;
        if self.engine.deploy(key.clone()).await {
            return Ok(());
        }
        // This server is being stopped.
        Err(Failure::Broken(StatusCode::SERVICE_UNAVAILABLE))
    }

    /// What the engine knows now.
    pub(crate) fn state(&self) -> Arc<EngineState> {
        self.engine.state().borrow().clone()
    }

    /// What the source holds now.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshots.borrow().clone().unwrap_or_default()
    }

    /// The sources that may be written from here.
    pub(crate) fn writable_targets(&self) -> impl Iterator<Item = &Target> {
        let targets = self.targets.iter();
        targets.filter(|target| target.read_only("", "").is_none())
    }

    /// Where a file of the sources is written, and its name there.
    pub(crate) fn target<'n>(&self, file: &'n str) -> Option<(&Target, &'n str)> {
        if let Some((target, _)) = self.resources(file) {
            return Some((target, file));
        }
        let (root, name) = self.basis.roots.place(file)?;
        let target = self.targets.iter().find(|one| one.label == root.label)?;
        Some((target, name))
    }

    /// Why a file of the sources may not be written from here; none: it may be.
    pub(crate) fn read_only(&self, file: &str) -> Option<ReadOnly> {
        let (target, own_name) = self.target(file)?;
        target.read_only(file, own_name)
    }

    /// What writes the resource that a file is; none: it is a file.
    fn resources(&self, file: &str) -> Option<(&Target, &dyn ResourceWriter)> {
        self.targets.iter().find_map(|target| {
            let below = file.strip_prefix(&target.label)?;
            match &target.writing {
                Writing::Into(Writer::Resources(writer)) if below.starts_with('/') => {
                    Some((target, &**writer))
                }
                Writing::Into(_) | Writing::Nowhere => None,
            }
        })
    }

    /// A change as its source would hold it.
    pub(crate) fn placed(&self, proposal: &Proposal) -> Result<Proposal, Box<Problem>> {
        match self.resources(proposal.name()) {
            Some((_, writer)) => writer.placed(proposal.clone()),
            None => Ok(proposal.clone()),
        }
    }

    /// Waits until the source was read with what was written to it; not for ever, because somebody
    /// else may have written another thing meanwhile.
    pub(crate) async fn until_read(&self, proposal: &Proposal) {
        let mut snapshots = self.snapshots.clone();
        let has_it = |snapshot: &Option<Arc<Snapshot>>| {
            let mut files = snapshot.iter().flat_map(|snapshot| &snapshot.files);
            let file = files.find(|file| file.source.name == *proposal.name());
            match file {
                Some(file) => *file.source.bytes == *proposal.text().as_bytes(),
                None => snapshot.is_some() && proposal.is_removal(),
            }
        };
        let read = snapshots.wait_for(has_it);
        drop(tokio::time::timeout(READ_PATIENCE, read).await);
    }

    pub(crate) fn routes(self: Arc<Self>) -> Router {
        Router::new()
            .route("/", get(pages::overview))
            .route("/databases/{*key}", get(pages::database))
            .route("/charts/{*key}", get(pages::charts))
            .route("/queries/{*key}", get(pages::queries))
            .route("/logs/databases/{*key}", get(pages::database_log))
            .route("/logs/applications/{*key}", get(pages::application_log))
            .route("/applications/{*key}", get(pages::application))
            .route("/new", get(pages::new))
            .route(
                "/new/database",
                get(pages::new_database).post(pages::propose_database),
            )
            .route(
                "/new/application",
                get(pages::new_application).post(pages::propose_application),
            )
            .route("/attach", post(pages::attach))
            .route("/detach", post(pages::detach))
            .route("/edit", post(pages::edit))
            .route("/restore", post(pages::restore))
            .route("/remove", post(pages::remove))
            .route("/unprotect", post(pages::unprotect))
            .route("/deploy", post(pages::deploy))
            .route("/changes", post(pages::write))
            .route("/rotate", post(pages::rotate))
            .route("/back-up", post(pages::back_up))
            .route("/hold", post(pages::hold))
            .route("/reveal", post(pages::reveal))
            .route("/plan", get(pages::plan))
            .route("/events", get(pages::events))
            .route("/audit", get(pages::audit))
            .route("/stream", get(pages::stream))
            .route("/people", get(pages::people).post(pages::change_people))
            .route(
                "/sign-in",
                get(pages::sign_in).post(pages::sign_in_by_password),
            )
            .route("/sign-in/provider", get(pages::with_provider))
            .route(RETURN, get(pages::back_from_provider))
            .route(
                "/invitation",
                get(pages::invitation).post(pages::choose_password),
            )
            .route("/password", post(pages::change_password))
            .route("/sign-out", post(pages::sign_out))
            .route("/healthz", get(async || "well\n"))
            .route("/readyz", get(metrics::ready))
            .route("/metrics", get(metrics::metrics))
            .route("/assets/{name}", get(assets::asset))
            .merge(api::routes(&self))
            .fallback(pages::nothing)
            .layer(from_fn_with_state(self.clone(), guard))
            // A page of an installation with thousands of resources is a tenth of its size then.
            .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
            .layer(from_fn(traced))
            .with_state(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_dashboard_has_no_path() {
        let url: SiteUrl = "https://Boma.Example:8443/".parse().unwrap();
        assert_eq!(url.origin(), "https://boma.example:8443");
        assert_eq!(url.host(), "boma.example:8443");
        assert!(url.is_encrypted());
        for not in [
            "",
            "boma.example",
            "https://",
            "https://a/b",
            "ftp://a",
            "https://a@b",
        ] {
            let refused = not.parse::<SiteUrl>().unwrap_err().to_string();
            assert!(refused.contains("no address of a dashboard"), "{refused}");
        }
    }
}
