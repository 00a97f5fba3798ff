//! The dashboard of `boma serve`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use boma_engine::catalog::Basis;
use boma_engine::engine::EngineHandle;
use boma_engine::source::Snapshot;
use boma_problem::{Class, IntoProblem as _, Problem};
use boma_web::{
    Insight, Keys, Operations, Parts, ProviderSettings, Register, SigningKey, Site, Target,
};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cli::{DashboardAt, ServeArgs};
use crate::commands::dashboard::{self, Served};
use crate::commands::plan::new_id;
use crate::configuration::DashboardSection;
use crate::terminal::{Result, Terminal};

/// Where it is when nobody says where.
const USUAL: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 9480);

/// What a dashboard needs of its platform.
pub(crate) struct DashboardOf {
    /// What a person asks the platform for.
    pub(crate) operations: Arc<dyn Operations>,
    /// Who there is.
    pub(crate) register: Arc<dyn Register>,
    /// How people reach it.
    pub(crate) section: DashboardSection,
    /// With whom people sign in who have no password here.
    pub(crate) provider: Option<ProviderSettings>,
    /// What is asked when somebody looks.
    pub(crate) insight: Arc<dyn Insight>,
    /// Where what is committed to repositories is kept.
    pub(crate) state: PathBuf,
    /// How the first person comes in.
    pub(crate) entrance: Entrance,
    /// How the audit trail names whoever follows a link.
    pub(crate) owner: String,
}

/// How links and sessions are signed, and where those are told who look for them.
pub(crate) enum Entrance {
    /// All of it is in the state directory.
    Machine,
    /// The key is kept in the cluster, and links are of the run that has the Lease.
    Cluster {
        /// What sessions are signed with.
        key: SigningKey,
        /// Which run that is.
        run: String,
    },
}

/// What is shown.
pub(super) struct Shown {
    pub(super) engine: EngineHandle,
    pub(super) snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    pub(super) basis: Arc<Basis>,
    pub(super) source_name: Arc<str>,
    pub(super) targets: Vec<Target>,
}

/// An open port.
pub(super) struct Dashboard {
    listener: TcpListener,
    served: Served,
    of: DashboardOf,
}

impl Dashboard {
    /// Opens the port that was asked for; none: there is to be no dashboard.
    pub(super) async fn open(args: &ServeArgs, of: Option<DashboardOf>) -> Result<Option<Self>> {
        let (of, address) = match (of, args.dashboard) {
            (_, Some(DashboardAt::Off)) | (None, _) => return Ok(None),
            (Some(of), Some(DashboardAt::Address(address))) => (of, Some(address)),
            (Some(of), None) => (of, None),
        };
        let url = of.section.url()?;
        let listener = listen(address, of.section.is_behind_proxy()).await?;
        let run = match &of.entrance {
            Entrance::Machine => uuid::Uuid::new_v4().to_string(),
            Entrance::Cluster { run, .. } => run.clone(),
        };
        let served = Served {
            at: listener.local_addr()?,
            run,
            url: url.as_ref().map(|url| url.origin().to_owned()),
        };
        Ok(Some(Self {
            listener,
            served,
            of,
        }))
    }

    /// The directory that it keeps things in.
    pub(super) fn state(&self) -> &Path {
        &self.of.state
    }

    /// Shows, until what it answers with is dropped.
    pub(super) fn start(self, shown: Shown, terminal: Terminal) -> Result<Showing> {
        let Self {
            listener,
            served,
            of,
        } = self;
        let (key, command, written) = match of.entrance {
            Entrance::Machine => (dashboard::key(&of.state)?, "boma dashboard", Some(of.state)),
            Entrance::Cluster { key, .. } => (key, "boma --platform kubernetes dashboard", None),
        };
        // What is no terminal is a log, which others may read.
        let said = if terminal.is_interactive() {
            let link = served.link(&key)?;
            format!("Dashboard, by a link that works once (`{command}` prints another): {link}")
        } else {
            let at = served.origin();
            format!("Dashboard at {at}; `{command}` prints a link that opens it.")
        };
        let parts = Parts {
            engine: shown.engine,
            snapshots: shown.snapshots,
            basis: shown.basis,
            source_name: shown.source_name,
            targets: shown.targets,
            operations: of.operations,
            insight: of.insight,
            ids: new_id,
            keys: Keys {
                key,
                run: served.run.clone(),
                owner: of.owner,
            },
            register: of.register,
            url: of.section.url()?,
            provider: of.provider,
        };
        if let Some(state) = &written {
            served.write(state)?;
        }
        let site = Site::new(parts, served.at).map_err(|error| error.problem())?;
        terminal.status(&said);
        Ok(Showing {
            task: tokio::spawn(site.serve(listener)),
            written,
        })
    }
}

/// A dashboard that is shown until this is dropped.
pub(super) struct Showing {
    task: JoinHandle<()>,
    /// Where it is written down that it is served.
    written: Option<PathBuf>,
}

impl Drop for Showing {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(state) = &self.written {
            Served::forget(state);
        }
    }
}

/// Listens where a person said, or where it usually is, or where there is room.
async fn listen(address: Option<SocketAddr>, is_behind_proxy: bool) -> Result<TcpListener> {
    let Some(address) = address else {
        return match TcpListener::bind(USUAL).await {
            Ok(listener) => Ok(listener),
            Err(_taken) => Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?),
        };
    };
    if !address.ip().is_loopback() && !is_behind_proxy {
        let message = format!(
            "{address} can be reached from other machines, and passwords would not be encrypted"
        );
        return Err(Problem::new(Class::User, "dashboard-not-loopback", message)
            .hint("Name a loopback address, such as 127.0.0.1:9480; `ssh -L 9480:127.0.0.1:9480 HOST` brings it to another machine.")
            .hint("Where a proxy encrypts what comes to that address: `behind-proxy = true` and `url` in `[dashboard]` of config.toml.")
            .into());
    }
    let listener = TcpListener::bind(address).await;
    listener.map_err(|error| {
        Problem {
            causes: vec![error.to_string()],
            ..Problem::new(
                Class::Config,
                "dashboard-not-open",
                format!("open the dashboard on {address}"),
            )
            .hint("Name another address with `--dashboard`, or `--dashboard off`.")
        }
        .into()
    })
}
