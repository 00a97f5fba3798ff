//! What the dashboard asks of a cluster, and `boma dashboard` for one.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use boma_engine::catalog::Subject;
use boma_engine::keys::{ApplicationKey, DatabaseKey, GrantKey, SecretKey};
use boma_engine::observed::Replacement;
use boma_engine::platform::{AuditEntry, Platform as _, PlatformError, RecordedEvent};
use boma_engine::printed::ApplicationSecrets;
use boma_instance::statements::Statements;
use boma_instance::{History, InstanceId, Secret};
use boma_kubernetes::{InstalledDashboard, KubernetesError, KubernetesPlatform, Printed};
use boma_problem::{IntoProblem as _, Problem};
use boma_web::{Insight, LogOf, SecretName, SigningKey};
use jiff::Timestamp;

use crate::cli::{DashboardArgs, Global};
use crate::commands::dashboard::{Served, not_served, print};
use crate::commands::serve::{DashboardOf, Desk, Entrance, OperationsOn};
use crate::people::PlatformRegister;
use crate::session::ClusterSession;
use crate::terminal::{Result, Terminal};

/// What a dashboard needs of a cluster, for the run that has its Lease.
pub(super) async fn of(session: &ClusterSession, run: &str, state: PathBuf) -> Result<DashboardOf> {
    let platform = &session.platform;
    Ok(DashboardOf {
        operations: Arc::new(OperationsOn::new(platform.clone())),
        register: Arc::new(PlatformRegister(platform.clone())),
        provider: session.provider().await?,
        section: session.dashboard(),
        insight: Arc::new(ClusterInsight(platform.clone())),
        state,
        entrance: Entrance::Cluster {
            key: session.dashboard_key().await?,
            run: run.to_owned(),
        },
        owner: format!(
            "whoever reads Secrets of {}, in the dashboard",
            platform.home()
        ),
    })
}

/// Where people find a dashboard that is in no proxy's way.
pub(crate) fn usual() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, InstalledDashboard::PORT).into()
}

/// Prints a link that opens the dashboard of a cluster, or a token for programs.
pub(crate) async fn run(args: &DashboardArgs, global: &Global, terminal: Terminal) -> Result {
    let session = ClusterSession::open(global).await?;
    let platform = &session.platform;
    let home = platform.home();
    let leader = platform.leader().await.map_err(|error| error.problem())?;
    let key = platform.known_dashboard_key().await?;
    let (leader, key) = leader.zip(key).ok_or_else(|| {
        not_served(&format!("for namespace {home}"))
            .hint("`boma kubernetes install SOURCE --dashboard` runs one.")
    })?;
    let url = session.dashboard().url()?;
    if url.is_none() {
        let (host, port) = (&leader.host, InstalledDashboard::PORT);
        terminal.status(&format!(
            "`kubectl -n {home} port-forward pod/{host} {port}` leads there while it runs."
        ));
    }
    let served = Served {
        at: usual(),
        run: leader.run,
        url: url.map(|url| url.origin().to_owned()),
    };
    print(args, &served, &SigningKey::new(key.expose()), terminal)
}

impl Desk for KubernetesPlatform {
    async fn recorded_events(
        &self,
        subject: Option<&str>,
        limit: u32,
    ) -> std::result::Result<Vec<RecordedEvent>, PlatformError> {
        Ok(self.events(subject, limit))
    }

    async fn trail(&self, limit: u32) -> std::result::Result<Vec<AuditEntry>, PlatformError> {
        Ok(self.audit_trail(limit))
    }

    async fn rotate(&self, grant: &GrantKey) -> std::result::Result<(), PlatformError> {
        self.ask_rotation(grant, Timestamp::now()).await?;
        Ok(())
    }

    async fn set_held(
        &self,
        subject: &Subject,
        held: bool,
    ) -> std::result::Result<(), PlatformError> {
        Self::set_held(self, subject, held).await
    }

    async fn secrets_of(
        &self,
        application: &ApplicationKey,
    ) -> std::result::Result<ApplicationSecrets, PlatformError> {
        self.environment(application)
    }

    /// It is in a volume that nobody mounts any more.
    fn not_archived(&self, _id: InstanceId) -> Option<u64> {
        None
    }

    async fn destroy(
        &self,
        key: &DatabaseKey,
        id: InstanceId,
    ) -> std::result::Result<(), PlatformError> {
        self.purge(key, id).await
    }

    async fn ask_replacement(
        &self,
        key: &DatabaseKey,
        wish: &Replacement,
    ) -> std::result::Result<bool, PlatformError> {
        Self::ask_replacement(self, key, wish).await
    }

    async fn give_up_replacement(
        &self,
        key: &DatabaseKey,
    ) -> std::result::Result<bool, PlatformError> {
        Self::give_up_replacement(self, key).await
    }

    async fn secret_names(&self) -> std::result::Result<Vec<String>, PlatformError> {
        Ok(self.named_secrets())
    }

    async fn store_secret(
        &self,
        name: &SecretName,
        value: Secret<String>,
        actor: &str,
    ) -> std::result::Result<(), PlatformError> {
        self.set_named_secret(of_project(name)?, &value, actor)
            .await
    }

    async fn forget_secret(
        &self,
        name: &SecretName,
        actor: &str,
    ) -> std::result::Result<bool, PlatformError> {
        self.forget_named_secret(of_project(name)?, actor).await
    }
}

/// What the installation itself needs, `config.toml` names as Secrets of a cluster.
fn of_project(name: &SecretName) -> std::result::Result<&SecretKey, PlatformError> {
    match name {
        SecretName::Project(key) => Ok(key),
        SecretName::Installation(_) => Err(not_here("keeping a secret of the installation itself")),
    }
}

fn not_here(what: &'static str) -> Box<Problem> {
    Box::new(KubernetesError::NotHere { what }.problem())
}

/// Asks the agents in pods, and reads logs by way of the API server.
struct ClusterInsight(Arc<KubernetesPlatform>);

#[async_trait]
impl Insight for ClusterInsight {
    async fn history(&self, database: &DatabaseKey) -> std::result::Result<History, Box<Problem>> {
        self.0.history(database).await
    }

    async fn statements(
        &self,
        database: &DatabaseKey,
    ) -> std::result::Result<Statements, Box<Problem>> {
        self.0.statements(database).await
    }

    async fn log(&self, of: &LogOf) -> std::result::Result<Option<String>, Box<Problem>> {
        match of {
            LogOf::Server(id) => self.0.server_log(*id).await,
            LogOf::Application(key) => self.0.printed(key, Printed::Program).await,
            LogOf::PreDeploy(key) => self.0.printed(key, Printed::PreDeploy).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_nowhere_is_said() {
        let problem = not_served("for namespace boma-system");
        assert_eq!(problem.code, "dashboard-not-served");
        let text = "no dashboard runs for namespace boma-system";
        assert_eq!(problem.to_string(), text);
        assert_eq!(usual().to_string(), "127.0.0.1:9480");
    }
}
