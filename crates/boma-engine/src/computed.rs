//! The `computed` block of a manifest: what was measured of each resource.
//!
//! Everything in here was observed; what is not known is `null`, or `Unknown`, never assumed.

mod application;
mod database;

use boma_instance::{Condition, Truth};

pub use application::{
    ApplicationComputed, ApplicationPhase, GrantComputed, PreDeployComputed, ProcessComputed,
    RotationComputed, application,
};
pub use database::{
    DatabaseComputed, DatabasePhase, GranteeComputed, InstanceComputed, database, replaced,
};

use crate::catalog::Subject;
use crate::plan::Plan;

/// Whether a resource is as its manifest says, by the last plan.
fn in_sync(subject: &Subject, plan: Option<&Plan>, is_known: bool) -> Condition {
    let condition = |status, reason: &str, message: String| Condition {
        kind: "InSync".to_owned(),
        status,
        reason: reason.to_owned(),
        message,
    };
    let Some(plan) = plan else {
        return condition(
            Truth::Unknown,
            "NotPlanned",
            "no plan was made yet".to_owned(),
        );
    };
    if let Some(blocked) = plan
        .blocked
        .iter()
        .find(|blocked| blocked.subject == *subject)
    {
        return condition(Truth::False, "Blocked", blocked.problem.to_string());
    }
    if let Some(waiting) = plan
        .waiting
        .iter()
        .find(|waiting| waiting.subject() == *subject)
    {
        return condition(Truth::False, "Waiting", waiting.to_string());
    }
    if plan.changes(subject) {
        return condition(
            Truth::False,
            "ToBeChanged",
            "there is something to do; `boma plan` shows it".to_owned(),
        );
    }
    if is_known {
        condition(
            Truth::True,
            "AsItShouldBe",
            "it is as its manifest says".to_owned(),
        )
    } else {
        condition(
            Truth::Unknown,
            "NotMeasured",
            "nothing was measured of it yet".to_owned(),
        )
    }
}
