//! The end of a rotation: the former login is let go when the application runs with its new
//! environment and does not need it any more. An application that did not come up with the new
//! one keeps the former one.

use jiff::Timestamp;

use super::{App, Bound};
use crate::observed::{AgentState, ObservedDatabase, ProcessState};
use crate::plan::action::{Action, RestartedBy, Roles};
use crate::plan::draft::Draft;
use crate::plan::rotation::{GRACE, GRACE_ELSEWHERE};
use crate::plan::waiting::WaitingOn;

/// Plans the end of the turns of an application's former logins.
pub(super) fn plan(draft: &mut Draft<'_>, app: &App<'_>) {
    for bound in &app.bindings {
        let Some(former) = bound.login.former else {
            continue;
        };
        let roles = Roles {
            next: bound.role(app.want).into_owned(),
            former: former.role.to_owned(),
        };
        let Some(seen) = draft.seen.databases.get(&bound.database.key) else {
            continue;
        };
        match app.want.restarted_by() {
            RestartedBy::Owner => elsewhere(draft, app, bound, (seen, roles, former.since)),
            RestartedBy::Boma => {
                if let Some(until) = needed_until(app, former.since) {
                    drain(draft, app, bound, (seen, roles, until));
                }
            }
        }
    }
}

/// Until when the former login may be needed; none: the application does not run as it should.
/// One that a person stopped needs it no more: it comes back with its new environment.
fn needed_until(app: &App<'_>, since: Timestamp) -> Option<Timestamp> {
    let seen = app.seen?;
    match &seen.process {
        ProcessState::NotRunning | ProcessState::Exited { .. } => seen.held.then_some(since),
        ProcessState::Running {
            deployment,
            since: started,
            ..
        } => {
            let until = since.max(*started).checked_add(GRACE);
            (app.is_wanted(deployment) && !seen.held).then(|| until.unwrap_or(Timestamp::MAX))
        }
    }
}

type Former<'d> = (&'d ObservedDatabase, Roles, Timestamp);

fn drain(
    draft: &mut Draft<'_>,
    app: &App<'_>,
    bound: &Bound<'_>,
    (seen, roles, until): Former<'_>,
) {
    let grant = app.want.grant_key(bound.grant);
    let until = Some(until).filter(|until| *until > draft.now);
    let needs = until.map(|until| {
        let (grant, roles) = (grant.clone(), roles.clone());
        draft.step(
            Action::AwaitDrained {
                grant,
                id: seen.id,
                roles,
                until,
            },
            [],
        )
    });
    let action = Action::ReleaseLogin {
        grant,
        roles,
        until,
    };
    draft.step(action, needs);
}

/// Nobody knows when an application that runs elsewhere was restarted: it shows by a session on
/// its new login.
fn elsewhere(
    draft: &mut Draft<'_>,
    app: &App<'_>,
    bound: &Bound<'_>,
    (seen, roles, since): Former<'_>,
) {
    let sessions = |role: &str| match &seen.agent {
        AgentState::Answering(status) => status
            .logins
            .iter()
            .find(|login| login.role == role)
            .map_or(0, |login| login.connections),
        AgentState::Silent(_) | AgentState::Absent => 0,
    };
    let (new, former) = (sessions(&roles.next), sessions(&roles.former));
    let end = since.checked_add(GRACE_ELSEWHERE).ok();
    let is_over = end.is_some_and(|end| end <= draft.now);
    let grant = app.want.grant_key(bound.grant);
    if new > 0 && (former == 0 || is_over) {
        let until = None;
        let action = Action::ReleaseLogin {
            grant,
            roles,
            until,
        };
        draft.step(action, []);
        return;
    }
    draft.wait(WaitingOn::PickUp {
        application: grant.application,
        database: grant.database,
        sessions: (new, former),
        until: end.filter(|_| new > 0),
    });
}
