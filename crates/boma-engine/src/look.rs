//! From a platform to a plan.

use jiff::Timestamp;

use crate::observed::Observed;
use crate::plan::Plan;
use crate::platform::{Platform, PlatformError};

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
        let plan = plan(&seen, at);
        Looked { seen, plan, at }
    };
    let looked = planned(platform.observe().await?);
    if looked.plan.unjudged.is_empty() {
        return Ok(looked);
    }
    platform.judge_settings(&looked.plan.unjudged).await?;
    Ok(planned(platform.observe().await?))
}
