//! Commands about one database or application of a cluster: what is known of it, what it prints, and
//! what a person wants of it apart from the manifests.

use std::time::Duration;

use boma_engine::catalog::Subject;
use boma_engine::plan::Asked;
use boma_engine::platform::Platform as _;
use boma_engine::source::CUSTOM_RESOURCES;
use boma_kubernetes::Printed;
use boma_problem::{Class, Problem};
use jiff::Timestamp;

use super::inventory;
use crate::cli::{DescribeArgs, Global, LogsArgs, NameArgs, StopArgs};
use crate::commands::applied::Applied;
use crate::commands::apply::converge_on;
use crate::commands::logs::last_lines;
use crate::commands::{describe, stop};
use crate::session::{ClusterSession, Loaded, Named, find, find_application};
use crate::terminal::{Exit, Result, Terminal, printable};

/// How long a person's word may take to come true.
const PATIENCE: Duration = Duration::from_mins(5);

/// Shows everything about a database or an application.
pub(crate) async fn describe(args: &DescribeArgs, global: &Global, terminal: Terminal) -> Result {
    let session = ClusterSession::open(global).await?;
    let inventory = inventory(&session).await?.with_plan();
    let named = find(&inventory.seen, &args.name.join("/"))?;
    let events = session.platform.events(Some(&named.subject()), 10);
    describe::show((&inventory, &named), events, terminal).await
}

/// Shows the end of a log.
pub(crate) async fn logs(args: &LogsArgs, global: &Global, terminal: Terminal) -> Result {
    let session = ClusterSession::open(global).await?;
    let platform = &session.platform;
    let named = find(&platform.observe().await?, &args.name)?;
    if args.follow || args.agent {
        return Err(by_kubectl(&named).into());
    }
    let text = match &named {
        Named::Database(key) => match platform.observe().await?.databases.get(key) {
            Some(one) => platform.server_log(one.id).await?,
            None => None,
        },
        Named::Application(key) => platform.printed(key, Printed::Program).await?,
    };
    let text = text.unwrap_or_default();
    terminal.result(&printable(&last_lines(&text, args.lines)))?;
    Ok(Exit::Ok)
}

fn by_kubectl(named: &Named) -> Problem {
    let message = "on Kubernetes, `--follow` and `--agent` are `kubectl logs`";
    let shown = match named {
        Named::Database(key) => {
            let name = &key.name;
            format!("logs --follow --selector lowops.manifests/database={name}")
        }
        Named::Application(key) => {
            format!(
                "logs --follow --selector lowops.manifests/application={}",
                key.name
            )
        }
    };
    Problem::new(Class::User, "not-on-kubernetes", message)
        .hint(format!("`kubectl --namespace NAMESPACE {shown}`"))
}

/// Stops databases and applications until `start`, or starts them again.
pub(crate) async fn hold(
    args: &StopArgs,
    held: Held,
    global: &Global,
    terminal: Terminal,
) -> Result {
    let session = ClusterSession::open(global).await?;
    let seen = session.platform.observe().await?;
    for named in stop::named(&seen, &args.names)? {
        let subject = match &named {
            Named::Database(key) => Subject::from(key),
            Named::Application(key) => Subject::from(key),
        };
        let platform = &session.platform;
        platform.set_held(&subject, held == Held::Stopped).await?;
    }
    let word = match held {
        Held::Stopped => "stop",
        Held::Started => "start",
    };
    let exit = again(&session, Asked::default(), word, terminal).await?;
    // What is stopped is waited for by the plan, as a person wanted it.
    Ok(match (held, exit) {
        (Held::Stopped, Exit::NotConverged) => Exit::Ok,
        (_, exit) => exit,
    })
}

/// What a person wants of a database or an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// To be stopped, until it is to be started again.
    Stopped,
    /// To be as its manifest says.
    Started,
}

/// Runs an application's `preDeploy` and rolls it out, though nothing has changed.
pub(crate) async fn deploy(args: &NameArgs, global: &Global, terminal: Terminal) -> Result {
    let session = ClusterSession::open(global).await?;
    let key = find_application(&session.platform.observe().await?, &args.name)?;
    let asked = Asked {
        deploy: [(key, Timestamp::now())].into(),
        ..Asked::default()
    };
    again(&session, asked, "deploy", terminal).await
}

/// Converges to the manifests that were last applied.
async fn again(
    session: &ClusterSession,
    asked: Asked,
    command: &str,
    terminal: Terminal,
) -> Result {
    let loaded = last_applied(session).await?;
    if loaded.has_errors() {
        terminal.problems(&loaded.problems);
        return Ok(Exit::Problem);
    }
    let platform = &session.platform;
    converge_on(platform, &loaded, asked, PATIENCE, command, terminal).await
}

/// The manifests that were last applied, as they are now. They may be where only the Boma of the
/// cluster can read them.
async fn last_applied(session: &ClusterSession) -> Result<Loaded> {
    if let Some(loaded) = Applied::all_applied(session).await? {
        return Ok(loaded);
    }
    let source = session.platform.observe().await?.source;
    Err(read_elsewhere(&source.unwrap_or_default()).into())
}

fn read_elsewhere(source: &str) -> Problem {
    let message = format!("the manifests in `{source}` cannot be read from here");
    Problem::new(Class::User, "source-elsewhere", message)
        .hint("What was asked for is remembered where it can be, and done by the `boma serve` that reads them.")
        .hint(format!(
            "With a dashboard: `boma --server URL` asks that one. `{CUSTOM_RESOURCES}` are read from anywhere."
        ))
}

#[cfg(test)]
mod tests {
    use boma_engine::keys::{ApplicationKey, DatabaseKey};

    use super::*;

    #[test]
    fn what_is_done_otherwise_in_a_cluster_says_how() {
        let ledger = Named::Database(DatabaseKey::new("o/u/e/p", "ledger"));
        let problem = by_kubectl(&ledger);
        assert_eq!(problem.code, "not-on-kubernetes");
        assert!(problem.to_string().ends_with("are `kubectl logs`"));
        assert!(problem.hints[0].contains("lowops.manifests/database=ledger"));
        let api = Named::Application(ApplicationKey::new("o/u/e/p", "api"));
        assert!(by_kubectl(&api).hints[0].contains("lowops.manifests/application=api"));
        let problem = read_elsewhere("/manifests");
        assert_eq!(problem.code, "source-elsewhere");
        assert_eq!(
            problem.to_string(),
            "the manifests in `/manifests` cannot be read from here"
        );
        assert!(problem.hints[1].contains("`boma --server URL`"));
    }
}
