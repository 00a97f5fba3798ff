//! What the engine knows, as samples for Prometheus, and whether it is ready. Pure but for the clock that
//! phases of applications are seen by.
//!
//! Rendered from the state when it is asked for, as the agents do (decision 140). Numbers only, and no
//! name of anything: whoever can reach the port may read them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use boma_engine::computed::{ApplicationPhase, DatabasePhase};
use boma_engine::engine::EngineState;
use boma_instance::Phase;

use crate::site::Site;
use crate::world::World;

/// The media type of the format.
const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Phases that always have a sample, so that an alert on them finds a nought.
const DATABASE_PHASES: [DatabasePhase; 8] = [
    DatabasePhase::Pending,
    DatabasePhase::Held,
    DatabasePhase::Retired,
    DatabasePhase::Instance(Phase::Ready),
    DatabasePhase::Instance(Phase::Degraded),
    DatabasePhase::Instance(Phase::Failed),
    DatabasePhase::Instance(Phase::Suspended),
    DatabasePhase::Instance(Phase::Unknown),
];
const APPLICATION_PHASES: [ApplicationPhase; 7] = [
    ApplicationPhase::Pending,
    ApplicationPhase::Delivered,
    ApplicationPhase::Running,
    ApplicationPhase::Unavailable,
    ApplicationPhase::NotRunning,
    ApplicationPhase::Exited,
    ApplicationPhase::Held,
];

/// Answers with samples.
pub(crate) async fn metrics(State(site): State<Arc<Site>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, MEDIA_TYPE)], render(site.state()))
}

/// Answers whether what the pages show was measured; what is not known yet is not ready.
pub(crate) async fn ready(State(site): State<Arc<Site>>) -> (StatusCode, &'static str) {
    match unready(&site.state()) {
        None => (StatusCode::OK, "ready\n"),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

fn unready(state: &EngineState) -> Option<&'static str> {
    if state.platform_problem.is_some() {
        return Some("what there is cannot be observed\n");
    }
    if state.catalog.is_none() {
        return Some("no manifests were read without an error yet\n");
    }
    let is_planned = state.planned_at.is_some();
    (!is_planned).then_some("nothing was planned yet\n")
}

fn render(state: Arc<EngineState>) -> String {
    let world = World::whole(state);
    let state = &*world.state;
    let mut page = Page::default();
    if state.planned_at.is_some() || state.platform_problem.is_some() {
        let is_observed = state.platform_problem.is_none();
        page.one(
            "boma_platform_observed",
            "Whether the platform answers.",
            flag(is_observed),
        );
    }
    let errors = state.source_problems.iter();
    let errors = errors.filter(|one| one.is_error()).count();
    if state.catalog.is_some() || errors > 0 {
        page.one(
            "boma_source_errors",
            "What keeps the manifests from being applied.",
            count(errors),
        );
    }
    if let Some(at) = state.planned_at {
        let plan = &state.plan;
        for (name, help, value) in [
            (
                "boma_converged",
                "Whether everything was measured to be as the manifests say.",
                flag(state.is_converged()),
            ),
            (
                "boma_planned_timestamp_seconds",
                "When the plan was made.",
                at.as_duration().as_secs_f64(),
            ),
            (
                "boma_plan_steps",
                "Steps that are left to do.",
                count(plan.steps.len()),
            ),
            (
                "boma_plan_waiting",
                "What is waited for.",
                count(plan.waiting.len()),
            ),
            (
                "boma_plan_blocked",
                "What cannot be done as asked.",
                count(plan.blocked.len()),
            ),
            (
                "boma_failed_steps",
                "Resources whose last step has failed.",
                count(state.failures.len()),
            ),
        ] {
            page.one(name, help, value);
        }
        let databases = world.databases();
        let seen = databases.iter().map(|key| world.database(key).phase);
        page.phases(
            "boma_databases",
            "Databases, by phase.",
            &DATABASE_PHASES,
            seen,
        );
        let applications = world.applications();
        let seen = applications.iter().map(|key| world.application(key).phase);
        page.phases(
            "boma_applications",
            "Applications, by phase.",
            &APPLICATION_PHASES,
            seen,
        );
    }
    page.0
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, help: &str) {
        // Writing to a string does not fail.
        let _infallible = write!(self.0, "# HELP {name} {help}\n# TYPE {name} gauge\n");
    }

    fn one(&mut self, name: &str, help: &str, value: f64) {
        self.head(name, help);
        let _infallible = writeln!(self.0, "{name} {value}");
    }

    fn phases<P: ToString>(
        &mut self,
        name: &str,
        help: &str,
        always: &[P],
        seen: impl Iterator<Item = P>,
    ) {
        let mut counts: BTreeMap<String, usize> =
            always.iter().map(|phase| (phase.to_string(), 0)).collect();
        for phase in seen {
            *counts.entry(phase.to_string()).or_default() += 1;
        }
        self.head(name, help);
        for (phase, value) in counts {
            let _infallible = writeln!(self.0, "{name}{{phase=\"{phase}\"}} {value}");
        }
    }
}

fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use boma_problem::{Class, Problem};
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn what_is_not_known_has_no_sample_and_is_not_ready() {
        let state = EngineState::default();
        assert_eq!(
            unready(&state),
            Some("no manifests were read without an error yet\n")
        );
        let page = render(Arc::new(state));
        assert_eq!(page, "", "nothing is known yet");
    }

    #[test]
    fn what_is_known_is_counted() {
        let catalog = Some(Arc::default());
        let mut state = EngineState {
            catalog: catalog.clone(),
            planned_for: catalog,
            planned_at: Some(Timestamp::UNIX_EPOCH),
            ..EngineState::default()
        };
        assert_eq!(unready(&state), None);
        let page = render(Arc::new(state.clone()));
        for line in [
            "boma_converged 1",
            "boma_plan_steps 0",
            "boma_databases{phase=\"Ready\"} 0",
        ] {
            assert!(page.contains(&format!("\n{line}\n")), "{line}: {page}");
        }
        state.platform_problem = Some(Problem::new(
            Class::Transient,
            "agent-silent",
            "nobody answers",
        ));
        assert_eq!(unready(&state), Some("what there is cannot be observed\n"));
        let page = render(Arc::new(state));
        assert!(page.contains("\nboma_converged 0\n"), "{page}");
        assert!(page.contains("\nboma_platform_observed 0\n"), "{page}");
    }
}
