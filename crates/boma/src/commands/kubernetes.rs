//! Commands with `--platform kubernetes`: the same as on one machine, on another platform.

mod chart;
pub(super) mod dashboard;
pub(super) mod one;
mod relay;

use std::path::Path;
use std::time::Duration;

use boma_engine::engine::EngineHandle;
use boma_engine::platform::Platform;
use boma_engine::source::{CUSTOM_RESOURCES, GitLocation};
use boma_kubernetes::{
    Admission, InstallOptions, InstalledDashboard, InstalledSource, KubernetesConfig, Leadership,
};
use boma_problem::{Class, IntoProblem, Problem};
use boma_web::Purgeable;
use jiff::Timestamp;

use crate::cli::{
    ApplyArgs, ClusterInstallArgs, DashboardAt, GetArgs, Global, KubernetesCommand, PlanArgs,
    PurgeArgs, RotateArgs, ServeArgs,
};
use crate::commands;
use crate::commands::get::Inventory;
use crate::commands::plan::asked;
use crate::commands::serve::{Served, Sources, asked_to_end, nothing_to_admit, serve_on};
use crate::configuration::Configuration;
use crate::session::{
    ClusterSession, actor, find_application, find_database, load_cluster, reads_resources,
    state_dir,
};
use crate::sources::{has_resources, roots_of};
use crate::terminal::{Exit, Result, Terminal};

/// How long a repository may take to tell what it holds.
const REPOSITORY_ANSWERS: Duration = Duration::from_secs(10);

/// Shows what `apply` would do.
pub(super) async fn plan(args: &PlanArgs, global: &Global, terminal: Terminal) -> Result {
    let session = ClusterSession::open(global).await?;
    let loaded = session.load(&args.source.source).await?;
    terminal.problems(&loaded.problems);
    if loaded.has_errors() {
        return Ok(Exit::Problem);
    }
    commands::plan::print(args, &loaded, &*session.platform, terminal).await
}

/// Makes everything so as the manifests say.
pub(super) async fn apply(args: ApplyArgs, global: &Global, terminal: Terminal) -> Result {
    if args.dry_run {
        let args = commands::apply::as_plan(args);
        return plan(&args, global, terminal).await;
    }
    let session = ClusterSession::open(global).await?;
    let loaded = session.load(&args.source.source).await?;
    terminal.problems(&loaded.problems);
    if loaded.has_errors() {
        terminal.status("Nothing was changed.");
        return Ok(Exit::Problem);
    }
    let patience = Duration::from_secs(args.patience);
    let asked = asked(&loaded, args.change_source);
    let platform = &session.platform;
    let exit =
        commands::apply::converge_on(platform, &loaded, asked, patience, "apply", terminal).await?;
    tracing::info!(writes = platform.writes(), "asked the API server for");
    Ok(exit)
}

/// Keeps everything so as the manifests say, until stopped.
pub(super) async fn serve(args: &ServeArgs, global: &Global, terminal: Terminal) -> Result {
    if args.admission.is_some() && !reads_resources(&args.sources) {
        return Err(nothing_to_admit().into());
    }
    let session = ClusterSession::open(global).await?;
    if !args.credential.is_empty() {
        let message = "secrets of this machine are not for a cluster";
        let refused = Problem::new(Class::User, "not-on-kubernetes", message);
        return Err(refused
            .hint("Leave `--credential` out: git finds what it needs by itself.")
            .into());
    }
    let resources = session.resources(&args.sources).await?;
    let sources = Sources::of(args, &state_dir(global)?, None, resources.as_ref())?;
    let basis = session.basis(sources.roots());
    // One that waits to act answers as well as the one that does.
    if let Some((address, resources)) = args.admission.zip(resources.clone()) {
        let admission = Admission::open(resources, address, basis.clone()).await;
        tokio::spawn(admission.map_err(|error| error.problem())?.serve());
    }
    let Some(mut leadership) = led(&session, args, terminal).await? else {
        return Ok(Exit::Ok);
    };
    let state = state_dir(global)?;
    let dashboard = match args.dashboard {
        Some(DashboardAt::Address(_)) => {
            Some(dashboard::of(&session, leadership.holder(), state).await?)
        }
        Some(DashboardAt::Off) | None => None,
    };
    let (mut cluster, mut agents) = session.platform.news();
    let served = Served {
        platform: session.platform.clone(),
        basis,
        sources,
        dashboard,
        place: "state in the cluster".to_owned(),
        converged: Box::new(|| {}),
    };
    let changes = move |engine: EngineHandle| async move {
        let state = engine.state();
        let reporting = async {
            match resources {
                Some(resources) => resources.report(state).await,
                None => std::future::pending().await,
            }
        };
        let waking = async {
            loop {
                // Both are cancel-safe: a change that is not taken is there the next time.
                let changed = tokio::select! {
                    changed = cluster.changed() => changed,
                    changed = agents.changed() => changed,
                };
                if changed.is_err() {
                    return;
                }
                engine.wake();
            }
        };
        tokio::join!(reporting, waking);
    };
    tokio::select! {
        exit = serve_on(served, args, changes, terminal) => {
            leadership.release().await;
            exit
        }
        // What was begun is finished by whoever has the Lease now: every step may be repeated.
        () = leadership.lost() => Err(lost().into()),
    }
}

/// Waits for the Lease, and leads people to the dashboard of whoever has it meanwhile; none: this
/// process was asked to end before.
async fn led(
    session: &ClusterSession,
    args: &ServeArgs,
    terminal: Terminal,
) -> Result<Option<Leadership>> {
    let waiting = |holder: &str| {
        let line = format!("{holder} serves this cluster; this one waits to take over.");
        terminal.status(&line);
    };
    let passing = async {
        match args.dashboard {
            Some(DashboardAt::Address(at)) if session.dashboard().is_behind_proxy() => {
                relay::pass_on(session.platform.clone(), at).await;
            }
            Some(_) | None => std::future::pending().await,
        }
    };
    // All are cancel-safe: a Lease that is not waited for any more is taken by somebody else.
    tokio::select! {
        taken = session.platform.lead(waiting) => {
            let taken = taken.map_err(|error| error.problem())?;
            Ok(Some(taken))
        }
        ended = asked_to_end() => {
            ended?;
            Ok(None)
        }
        () = passing => Ok(None),
    }
}

fn lost() -> Problem {
    let message = "another `boma serve` has taken over";
    Problem::new(Class::Transient, "lease-lost", message)
        .hint("Start this one again: it waits until it is needed.")
}

/// Installs Boma in the cluster, or says how.
pub(super) async fn install(
    command: &KubernetesCommand,
    global: &Global,
    terminal: Terminal,
) -> Result {
    let state = state_dir(global)?;
    let configuration = Configuration::read(&state).map_err(|error| error.problem())?;
    let is_installed = matches!(
        command,
        KubernetesCommand::Manifests(_) | KubernetesCommand::Install(_)
    );
    if let Some(repository) = configuration.written_credentials()
        && is_installed
    {
        return Err(in_plain_sight(repository).into());
    }
    let reach = if configuration.dashboard().is_behind_proxy() {
        InstalledDashboard::BehindProxy
    } else {
        InstalledDashboard::Forwarded
    };
    let config = (configuration.kubernetes(), reach);
    match command {
        KubernetesCommand::Definitions => {
            terminal.result(&yaml(boma_kubernetes::definitions())?)?;
        }
        KubernetesCommand::Chart(args) => {
            let definitions = yaml(boma_kubernetes::definitions())?;
            chart::write(&args.directory, definitions, terminal)?;
        }
        KubernetesCommand::Manifests(args) => {
            let objects = options(args, config, &state)?.objects();
            let definitions = boma_kubernetes::definitions().into_iter();
            terminal.result(&yaml(definitions.chain(objects))?)?;
        }
        KubernetesCommand::Install(args) => {
            let options = options(args, config, &state)?;
            let done = boma_kubernetes::install(&options).await;
            let done = done.map_err(|error| error.problem())?;
            for object in done.deleted {
                terminal.status(&format!("{object} is deleted: no option asks for it."));
            }
            for object in done.written {
                terminal.status(&format!("{object} is as it should be."));
            }
            let namespace = &options.namespace;
            terminal.status(&format!(
                "`kubectl -n {namespace} logs deployment/boma` shows what it does."
            ));
            if options.dashboard.is_some() {
                terminal.status(
                    "`boma --platform kubernetes dashboard` prints a link that opens its dashboard.",
                );
            }
        }
        KubernetesCommand::Uninstall => {
            let namespace = config.0.namespace;
            let done = boma_kubernetes::uninstall(&namespace).await;
            let done = done.map_err(|error| error.problem())?;
            for object in done.deleted {
                terminal.status(&format!("{object} is deleted."));
            }
            for object in done.left {
                terminal.status(&format!(
                    "{object} stays: deleting it would delete all resources of this kind, or take \
                     them from another installation."
                ));
            }
            terminal.status(&format!(
                "Databases go on running. What Boma knows of them is in namespace {namespace}: leave \
                 it there.",
            ));
        }
    }
    Ok(Exit::Ok)
}

/// Objects as the documents of one text.
fn yaml(objects: impl IntoIterator<Item = serde_json::Value>) -> Result<String> {
    let mut text = String::new();
    for object in objects {
        let object = serde_saphyr::to_string(&object).map_err(std::io::Error::other)?;
        text.push_str("---\n");
        text.push_str(&object);
    }
    Ok(text)
}

fn options(
    args: &ClusterInstallArgs,
    (config, reach): (KubernetesConfig, InstalledDashboard),
    state: &Path,
) -> Result<InstallOptions> {
    let sources = args.sources.iter();
    let mut sources: Vec<InstalledSource> = sources
        .map(|source| installed(source, args))
        .collect::<Result<_>>()?;
    if sources
        .iter()
        .any(|one| matches!(one, InstalledSource::Git(_)))
    {
        sources.push(InstalledSource::flags(&args.branch, args.path.as_deref()));
    }
    Ok(InstallOptions {
        namespace: config.namespace,
        image: config.agent_image,
        pull_secrets: config.pull_secrets,
        replicas: args.replicas,
        sources,
        dashboard: args.dashboard.then_some(reach),
        config: Configuration::text(state).map_err(|error| error.problem())?,
    })
}

/// One source of an installed Boma.
fn installed(source: &str, args: &ClusterInstallArgs) -> Result<InstalledSource> {
    if source == CUSTOM_RESOURCES {
        return Ok(InstalledSource::CustomResources);
    }
    if let Some(name) = source.strip_prefix("configmap/") {
        return Ok(InstalledSource::ConfigMap(name.to_owned()));
    }
    if !GitLocation::is_address(source) {
        return Err(not_there(source).into());
    }
    let path = Path::new(args.path.as_deref().unwrap_or_default());
    GitLocation::of_address(source, &args.branch, path).map_err(|error| error.problem())?;
    Ok(InstalledSource::Git(vec![source.to_owned()]))
}

fn in_plain_sight(repository: &str) -> Problem {
    let message = format!(
        "what lets into the repository {repository:?} stands in config.toml, which would become a \
         ConfigMap"
    );
    Problem::new(Class::Config, "repository-credentials-shown", message)
        .hint(
            "Put it into a Secret in Boma's namespace, and name that in config.toml: `secret = \
             \"NAME\"`.",
        )
        .hint("docs/kubernetes.md says what is in it.")
}

fn not_there(source: &str) -> Problem {
    let message = format!("a pod cannot read manifests in `{source}`");
    Problem::new(Class::User, "source-not-in-cluster", message).hint(
        "Name the address of a Git repository, `custom-resources`, or `configmap/NAME`: a ConfigMap \
         whose entries are manifests.",
    )
}

/// Lists databases and applications.
pub(super) async fn get(args: &GetArgs, global: &Global, terminal: Terminal) -> Result {
    let session = ClusterSession::open(global).await?;
    commands::get::print(args, &inventory(&session).await?, terminal).await
}

/// What there is in a cluster, and the manifests that were last applied, where they can be read.
async fn inventory(session: &ClusterSession) -> Result<Inventory> {
    let seen = session.platform.observe().await?;
    let state = session.state_dir();
    let remembered = seen.source.clone().filter(|source| has_resources(source));
    let Some(source) = remembered else {
        return Ok(Inventory::of(seen, state, |root| session.basis(root)));
    };
    // What is in the cluster can be read from anywhere.
    let resources = session.platform.custom_resources().await;
    let resources = resources.map_err(|error| error.problem())?;
    let roots = roots_of(&source, state);
    let loaded = load_cluster(&resources, roots, |roots| session.basis(roots));
    Ok(Inventory::with(seen, Some(loaded)))
}

/// Asks for another password of an application; whoever applies the manifests exchanges it.
pub(super) async fn rotate(args: &RotateArgs, global: &Global, terminal: Terminal) -> Result {
    let Some(application) = &args.application else {
        // Keys and certificates of a cluster are its own, and this says so.
        return commands::rotate::run(args, global, terminal).await;
    };
    let session = ClusterSession::open(global).await?;
    let platform = &*session.platform;
    let seen = platform.observe().await?;
    let key = find_application(&seen, application)?;
    let grants = commands::rotate::grants(&seen, &key, args)?;
    for grant in &grants {
        let asked = platform.ask_rotation(grant, Timestamp::now()).await?;
        commands::rotate::tell_asked(asked, grant, terminal);
    }
    if args.wait {
        let patience = Duration::from_secs(args.patience);
        return commands::rotate::watch(platform, &grants, patience, terminal).await;
    }
    terminal.status(
        "`boma serve` in the cluster exchanges it, or the next `boma apply`; `--wait` says how far it is.",
    );
    Ok(Exit::NotConverged)
}

/// Destroys a retired database, once its name was typed back.
pub(super) async fn purge(args: &PurgeArgs, global: &Global, terminal: Terminal) -> Result {
    let session = ClusterSession::open(global).await?;
    let seen = session.platform.observe().await?;
    let key = find_database(&seen, &args.database)?;
    let platform = &*session.platform;
    let found = commands::purge::retired(platform, &seen, &key)?;
    // What stays is in a repository that may be reached from within the cluster only.
    let looked = commands::purge::look(platform, &seen, &key);
    let found = match tokio::time::timeout(REPOSITORY_ANSWERS, looked).await {
        Ok(looked) => looked?,
        Err(_unreached) => {
            let stays =
                "What stays of it in its repository is not known: that does not answer here.";
            Purgeable {
                stays: vec![stays.to_owned()],
                ..found
            }
        }
    };
    commands::purge::confirmed((&key, &found), args, terminal)?;
    let wanted = (&key, found.instance);
    commands::purge::purge_for(&*session.platform, wanted, actor("purge")).await?;
    commands::purge::say_purged((&key, &found), terminal);
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_done_in_a_cluster_says_what_can() {
        let lost = lost();
        assert_eq!(lost.code.as_str(), "lease-lost");
        assert!(
            lost.to_string().starts_with("another `boma serve`"),
            "{lost}"
        );
        assert!(lost.hints[0].starts_with("Start this one again"));
        let unasked = nothing_to_admit();
        assert_eq!(unasked.code, "admission-without-resources");
        assert_eq!(
            unasked.to_string(),
            "`--admission` is about custom resources, and they are not among the sources"
        );
        assert!(unasked.hints[0].contains("--platform kubernetes"));
        let shown = in_plain_sight("offsite");
        assert_eq!(
            shown.to_string(),
            "what lets into the repository \"offsite\" stands in config.toml, which would become a ConfigMap"
        );
        assert!(shown.hints[0].contains("secret = \"NAME\""), "{shown:?}");
        let args = |source: &str| ClusterInstallArgs {
            sources: vec![source.to_owned()],
            branch: "main".to_owned(),
            path: Some("databases".to_owned()),
            replicas: 1,
            dashboard: false,
        };
        let dir = tempfile::tempdir().unwrap();
        let options = |source: &str| {
            let config = Configuration::read(dir.path()).unwrap().kubernetes();
            options(
                &args(source),
                (config, InstalledDashboard::Forwarded),
                dir.path(),
            )
        };
        assert!(options("manifests").is_err());
        let problem = not_there("manifests");
        let text = "a pod cannot read manifests in `manifests`";
        assert_eq!(problem.to_string(), text);
        assert!(problem.hints[0].contains("configmap/NAME"));
        let git = options("https://git.example/m.git").unwrap_or_else(|_| panic!("an address"));
        let serve = git.sources.into_iter().flat_map(|source| match source {
            InstalledSource::Git(arguments) => arguments,
            InstalledSource::ConfigMap(_) | InstalledSource::CustomResources => Vec::new(),
        });
        let serve: Vec<String> = serve.collect();
        let wanted = [
            "https://git.example/m.git",
            "--branch",
            "main",
            "--path",
            "databases",
        ];
        assert_eq!(serve, wanted);
    }
}
