//! From a platform to a plan.

use jiff::Timestamp;
use tracing::Instrument as _;

use crate::observed::Observed;
use crate::plan::Plan;
use crate::platform::{Platform, PlatformError};
use crate::spans;

/// What exists, and what is to be done about it.
#[derive(Clone, Debug)]
pub struct Looked {
    /// What was observed.
    pub seen: Observed,
    /// What follows from it.
    pub plan: Plan,
    /// When it was planned.
    pub at: Timestamp,
}

/// Observes and plans. Where the plan would put values of settings in force that no server was
/// asked about, the platform asks first, so that a refusal is in the plan and not in a log.
///
/// # Errors
/// When the platform cannot be observed, or cannot ask.
pub async fn look<P: Platform>(
    platform: &P,
    clock: impl Fn() -> Timestamp + Send,
    mut plan: impl FnMut(&Observed, Timestamp) -> Plan + Send,
) -> Result<Looked, PlatformError> {
    let mut planned = |seen: Observed| {
        let at = clock();
        let span = spans::plan();
        let plan = span.in_scope(|| plan(&seen, at));
        spans::planned(&span, &plan);
        Looked { seen, plan, at }
    };
    let looked = planned(observe(platform).await?);
    if looked.plan.unjudged.is_empty() {
        return Ok(looked);
    }
    platform.judge_settings(&looked.plan.unjudged).await?;
    Ok(planned(observe(platform).await?))
}

async fn observe<P: Platform>(platform: &P) -> Result<Observed, PlatformError> {
    let span = spans::observe();
    let seen = platform.observe().instrument(span.clone()).await;
    seen.inspect_err(|problem| spans::failed(&span, problem))
}
