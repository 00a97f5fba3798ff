//! Applications that cannot run as asked.

use boma_problem::{Class, IntoProblem, Problem};

use super::LISTED;
use crate::catalog::{Application, RunsAs};
use crate::keys::SecretKey;
use crate::observed::{Feature, Observed};

/// Why an application cannot run as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplicationRefusal {
    /// A part of the manifest that this platform does not act on.
    #[error("not supported {platform} yet: {what}")]
    NotSupported {
        /// "on this machine".
        platform: String,
        /// Which part.
        what: &'static str,
    },
    /// A variable takes the value of a secret that is not there.
    #[error("there is no secret {secret}")]
    SecretMissing {
        /// Its full name.
        secret: SecretKey,
    },
    /// A secret that is there, and of which no entry is the value.
    #[error("secret {secret} has no entry `value`; {}", found(.entries))]
    SecretWithoutValue {
        /// Its full name.
        secret: SecretKey,
        /// The entries that it has, which are several or none.
        entries: Vec<String>,
    },
    /// `preDeploy` failed for this very environment and these commands.
    #[error("preDeploy failed{}", if *.is_running { "; the version before keeps running" } else { "" })]
    PreDeployFailed {
        /// Whose.
        application: String,
        /// Whether a version before it runs.
        is_running: bool,
        /// What it ended with.
        failure: Box<Problem>,
    },
}

impl IntoProblem for ApplicationRefusal {
    fn problem(&self) -> Problem {
        match self {
            Self::NotSupported { .. } => {
                Problem::new(Class::User, "not-supported", self.to_string())
                    .hint("Take it out of the manifest until it is.")
            }
            Self::SecretMissing { secret } => {
                Problem::new(Class::User, "secret-missing", self.to_string())
                    .hint(format!("Store it: `boma secret set {secret} < FILE`."))
                    .hint("An application is given the secrets of its own project only.")
            }
            Self::SecretWithoutValue { secret, .. } => {
                Problem::new(Class::User, "secret-without-value", self.to_string())
                    .hint("Call one of its entries `value`, or leave it one entry only.")
                    .hint(format!(
                        "`boma secret set {secret} < FILE` adds the entry, and keeps the others."
                    ))
            }
            Self::PreDeployFailed {
                application,
                failure,
                ..
            } => {
                let mut problem = Problem::new(Class::User, "pre-deploy-failed", self.to_string());
                problem.causes.push(failure.message.clone());
                problem.causes.extend(failure.causes.iter().cloned());
                problem.hints.clone_from(&failure.hints);
                if failure.hints.is_empty() {
                    problem =
                        problem.hint(format!("`boma logs {application}` shows what it wrote."));
                }
                problem.hint(format!("Mend it, then run `boma deploy {application}`."))
            }
        }
    }
}

/// Everything about an application that cannot be done.
pub(in crate::plan) fn of_application(want: &Application, world: &Observed) -> Vec<Problem> {
    let capabilities = &world.capabilities;
    let is_command = matches!(want.source, RunsAs::Command(_));
    let is_image = matches!(want.source, RunsAs::Image(_));
    let asked = [
        (
            is_image,
            Feature::Images,
            "running a container image",
            "spec.source.image",
        ),
        (
            is_command,
            Feature::Commands,
            "running a command",
            "spec.source.command",
        ),
        (
            want.workload.is_some(),
            Feature::Workloads,
            "attaching to an existing workload",
            "spec.target.workload",
        ),
        (
            want.replicas != 1,
            Feature::Replicas,
            "another number of replicas than one",
            "spec.target.replicas",
        ),
    ];
    let refused = asked
        .into_iter()
        .filter(|(is_asked, feature, ..)| *is_asked && !capabilities.features.contains(feature));
    let missing = want
        .variables
        .secrets
        .iter()
        .filter_map(|(variable, name)| {
            let refusal = of_secret(want.secret(name), world)?;
            let place = want.place(&format!("spec.env.{variable}"));
            Some(refusal.problem().at(place))
        });
    let unsupported = refused.map(|(_, _, what, field)| {
        let platform = capabilities.platform.clone();
        ApplicationRefusal::NotSupported { platform, what }
            .problem()
            .at(want.place(field))
    });
    unsupported.chain(missing).collect()
}

/// Why a secret cannot be given.
fn of_secret(secret: SecretKey, world: &Observed) -> Option<ApplicationRefusal> {
    if world.secrets.contains_key(&secret) {
        return None;
    }
    Some(match world.secrets_without_value.get(&secret) {
        Some(entries) => ApplicationRefusal::SecretWithoutValue {
            secret,
            entries: entries.clone(),
        },
        None => ApplicationRefusal::SecretMissing { secret },
    })
}

/// What a secret has in place of a value: names of entries only.
fn found(entries: &[String]) -> String {
    if entries.is_empty() {
        return "it is empty".to_owned();
    }
    let names = entries.iter().take(LISTED).map(|one| format!("`{one}`"));
    let names = names.collect::<Vec<_>>().join(", ");
    match entries.len().saturating_sub(LISTED) {
        0 => format!("it has {names}"),
        more => format!("it has {names} and {more} more"),
    }
}

/// `preDeploy` failed and is not run again by itself.
pub(in crate::plan) fn pre_deploy_failed(
    want: &Application,
    failure: &Problem,
    is_running: bool,
) -> Problem {
    let refusal = ApplicationRefusal::PreDeployFailed {
        application: want.key.name.to_string(),
        is_running,
        failure: Box::new(failure.clone()),
    };
    refusal.problem().at(want.place("spec.preDeploy"))
}
