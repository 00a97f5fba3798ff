//! The audit trail and the events of a run. Written beside the steps, so that nobody waits for a
//! disk twice; a run is over when all of it is written.

use std::sync::Arc;

use boma_problem::Problem;
use tokio::task::JoinSet;

use super::Surroundings;
use super::perform::is_late;
use crate::plan::{Action, words_of};
use crate::platform::{AuditEntry, Event, Platform};

/// Writes entries in the background.
pub(super) struct Audit<P> {
    platform: Arc<P>,
    around: Surroundings,
    writes: JoinSet<()>,
}

impl<P: Platform> Audit<P> {
    pub(super) fn new(platform: &Arc<P>, around: &Surroundings) -> Self {
        Self {
            platform: platform.clone(),
            around: around.clone(),
            writes: JoinSet::new(),
        }
    }

    /// Notes that a step was done. What only waited changed nothing and is not noted.
    pub(super) fn done(&mut self, action: &Action) {
        if !action.is_passive() {
            self.write(action, "done".to_owned(), None);
        }
    }

    /// Notes that a step failed. A wait that is not over yet is nothing that happened: statuses say
    /// what it waits for, and thousands may wait for long.
    pub(super) fn failed(&mut self, action: &Action, problem: &Problem) {
        if action.is_passive() && is_late(problem) {
            return;
        }
        let event = Event {
            at: (self.around.clock)(),
            subject: action.subject().to_string(),
            reason: pascal(&problem.code),
            message: problem.to_string(),
            warning: true,
        };
        if action.is_passive() {
            // Nobody did anything: it happened.
            let platform = self.platform.clone();
            self.begin(async move { tell(&*platform, &event).await });
        } else {
            self.write(action, problem.to_string(), Some(event));
        }
    }

    fn write(&mut self, action: &Action, outcome: String, event: Option<Event>) {
        let entry = AuditEntry {
            at: (self.around.clock)(),
            actor: self.around.actor.clone(),
            action: words_of(action),
            subject: action.subject().to_string(),
            outcome,
        };
        let event = event.or_else(|| event_of(action, &entry));
        let platform = self.platform.clone();
        self.begin(async move {
            if let Err(error) = platform.audit(&entry).await {
                tracing::error!(%error, subject = %entry.subject, "write to the audit trail");
            }
            if let Some(event) = event {
                tell(&*platform, &event).await;
            }
        });
    }

    fn begin(&mut self, write: impl Future<Output = ()> + Send + 'static) {
        // One that has ended holds its memory until it is joined, and a run may have thousands.
        while self.writes.try_join_next().is_some() {}
        self.writes.spawn(write);
    }

    /// Waits until everything is written.
    pub(super) async fn written(&mut self) {
        while self.writes.join_next().await.is_some() {}
    }
}

async fn tell<P: Platform>(platform: &P, event: &Event) {
    if let Err(error) = platform.event(event).await {
        tracing::warn!(%error, subject = %event.subject, "write an event");
    }
}

/// What a person would like to see in the list of events, and not only in the audit trail.
fn event_of(action: &Action, entry: &AuditEntry) -> Option<Event> {
    let reason = match action {
        Action::PutInstance(_) => "SpecChanged",
        Action::SetLife { .. } => "LifeChanged",
        Action::Exchange { .. } => "Replaced",
        Action::RunPreDeploy { .. } => "PreDeployDone",
        Action::RestartApplication { .. } => "Started",
        Action::StopApplication { .. } => "Stopped",
        Action::ForgetApplication { .. } => "Removed",
        Action::IssueCredential { replaces: true, .. } => "RotationBegun",
        Action::ActivateLogin { .. } => "RotationSwitched",
        Action::ReleaseLogin { .. } => "RotationDone",
        Action::RecordSource { .. }
        | Action::RecordDatabase { .. }
        | Action::IssueCredential { .. }
        | Action::AwaitConverged { .. }
        | Action::AwaitDrained { .. }
        | Action::DeliverEnvironment { .. }
        | Action::ForgetGrant { .. } => return None,
    };
    Some(Event {
        at: entry.at,
        subject: entry.subject.clone(),
        reason: reason.to_owned(),
        message: entry.action.clone(),
        warning: false,
    })
}

/// `port-in-use` as `PortInUse`.
fn pascal(code: &str) -> String {
    code.split('-')
        .flat_map(|word| {
            let mut letters = word.chars();
            letters
                .next()
                .map(|first| first.to_ascii_uppercase())
                .into_iter()
                .chain(letters)
        })
        .collect()
}
