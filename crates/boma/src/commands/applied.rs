//! The manifests of an installation as they are now, and applying them: what commands need that write
//! a manifest themselves, whichever platform they are for.

use std::time::Duration;

use boma_engine::backups::BackupPlatform;
use boma_engine::plan::Asked;
use boma_engine::platform::Platform;
use boma_engine::source::{Root, Roots};
use boma_kubernetes::KubernetesPlatform;
use boma_local::LocalPlatform;
use boma_manifest::ProjectIdentity;
use boma_problem::IntoProblem as _;

use crate::commands::{apply, stop};
use crate::session::{ClusterSession, Loaded, Opened, Session, load_all, load_cluster};
use crate::sources::{has_resources, roots_of};
use crate::terminal::{Result, Terminal};

/// A platform whose manifests commands read and apply.
pub(crate) trait Applied: BackupPlatform + Sized {
    /// The manifests that were last applied, as they are now.
    async fn last_applied(session: &Opened<Self>) -> Result<Loaded>;

    /// The same, all of them; none: some can be read elsewhere only.
    async fn all_applied(session: &Opened<Self>) -> Result<Option<Loaded>>;

    /// The namespace of a project, where manifests are custom resources; none: they are not, or it has
    /// none.
    async fn namespace(session: &Opened<Self>, project: &ProjectIdentity)
    -> Result<Option<String>>;

    /// Converges once, and says what became of it.
    async fn converge(
        session: &Opened<Self>,
        loaded: &Loaded,
        patience: Duration,
        command: &str,
        terminal: Terminal,
    ) -> Result;
}

impl Applied for LocalPlatform {
    async fn last_applied(session: &Session) -> Result<Loaded> {
        stop::last_applied(session).await
    }

    async fn all_applied(session: &Session) -> Result<Option<Loaded>> {
        stop::last_applied(session).await.map(Some)
    }

    async fn namespace(_: &Session, _: &ProjectIdentity) -> Result<Option<String>> {
        Ok(None)
    }

    async fn converge(
        session: &Session,
        loaded: &Loaded,
        patience: Duration,
        command: &str,
        terminal: Terminal,
    ) -> Result {
        let asked = Asked::default();
        apply::converge(session, loaded, asked, patience, command, terminal).await
    }
}

impl Applied for KubernetesPlatform {
    /// What of it can be read from here: the manifests of a cluster may be in a pod's directories.
    async fn last_applied(session: &ClusterSession) -> Result<Loaded> {
        let source = session.platform.observe().await?.source;
        let source = source.unwrap_or_default();
        let is_here = |root: &&Root| root.directory.is_dir();
        let roots = roots_of(&source, session.state_dir());
        let roots: Roots = roots.all().iter().filter(is_here).cloned().collect();
        if !has_resources(&source) {
            return Ok(load_all(roots, |roots| session.basis(roots)));
        }
        let resources = session.platform.custom_resources().await;
        let resources = resources.map_err(|error| error.problem())?;
        Ok(load_cluster(&resources, roots, |roots| {
            session.basis(roots)
        }))
    }

    async fn all_applied(session: &ClusterSession) -> Result<Option<Loaded>> {
        let source = session.platform.observe().await?.source;
        let source = source.ok_or_else(stop::nothing_applied)?;
        let roots = roots_of(&source, session.state_dir());
        let mut all = roots.all().iter();
        if !all.all(|root| root.directory.is_dir()) {
            return Ok(None);
        }
        Self::last_applied(session).await.map(Some)
    }

    async fn namespace(
        session: &ClusterSession,
        project: &ProjectIdentity,
    ) -> Result<Option<String>> {
        let source = session.platform.observe().await?.source;
        let is_asked = source.is_some_and(|source| has_resources(&source));
        let known = is_asked.then(|| session.platform.namespace_of(&project.to_string()));
        Ok(known.flatten())
    }

    async fn converge(
        session: &ClusterSession,
        loaded: &Loaded,
        patience: Duration,
        command: &str,
        terminal: Terminal,
    ) -> Result {
        let (platform, asked) = (&session.platform, Asked::default());
        apply::converge_on(platform, loaded, asked, patience, command, terminal).await
    }
}
