//! Which of several processes acts: the one that holds a Lease.
//!
//! It saves them from doing things twice; nothing hangs on it. Records are written by replacing
//! the version that was read, so two that act at once get in each other's way, and no further. So
//! the holder keeps it while the API server is away, when nobody can do anything: it is lost when
//! somebody else is seen to have it.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use kube::api::{Api, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::error::KubernetesError;
use crate::names::MANAGER;

/// Name of the Lease.
const NAME: &str = "boma";
/// How long it holds without being renewed.
const DURATION: Duration = Duration::from_secs(15);
/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(5);
/// How long one look or renewal may take: an API server that hangs is away.
const TRY_FOR: Duration = Duration::from_secs(10);
/// How often those who wait look, and those who fail try again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// After how long without a renewal people are told that nobody has it. Clocks of two machines differ.
const STALE: SignedDuration = SignedDuration::from_mins(1);

/// Somebody's Lease, as it was seen. Clocks of two machines differ, so what counts is how long it
/// has not changed here, and not the time that stands in it.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    spec: Value,
    since: Instant,
}

/// What to do about a Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Decision {
    /// Nobody has it.
    Take,
    /// It is this process's.
    Renew,
    /// This one has it, and may still be there.
    Wait(String),
}

/// What came of an attempt to take a Lease.
enum Attempt {
    /// It is this process's.
    Taken,
    /// This stands in it. No holder: somebody else was quicker.
    NotTaken { spec: Value, holder: Option<String> },
}

fn decide(spec: &Value, me: &str, seen: Option<&Seen>, now: Instant) -> Decision {
    let holder = spec["holderIdentity"].as_str().unwrap_or_default();
    if holder == me {
        return Decision::Renew;
    }
    let is_over = seen.is_some_and(|seen| {
        seen.spec == *spec && now.saturating_duration_since(seen.since) > DURATION
    });
    if holder.is_empty() || is_over {
        Decision::Take
    } else {
        Decision::Wait(holder.to_owned())
    }
}

/// A Lease that is held until this is dropped, or the Lease is lost.
#[derive(Debug)]
pub struct Leadership {
    lost: watch::Receiver<bool>,
    task: JoinHandle<()>,
    lease: Lease,
}

impl Leadership {
    /// What tells this holder from all others, before and after it.
    pub fn holder(&self) -> &str {
        &self.lease.me
    }

    /// Returns when the Lease is lost.
    pub async fn lost(&mut self) {
        // Without a sender nobody renews it, which is the same.
        drop(self.lost.wait_for(|lost| *lost).await);
    }

    /// Lets go of it, so that another need not wait until it is over.
    pub async fn release(self) {
        self.task.abort();
        if let Err(error) = self.lease.release().await {
            tracing::warn!(%error, "the Lease ends by itself in a moment");
        }
    }
}

impl Drop for Leadership {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The Lease of an installation.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    api: Api<DynamicObject>,
    me: String,
}

impl Lease {
    pub(crate) fn new(client: kube::Client, namespace: &str, me: String) -> Self {
        let gvk = GroupVersionKind::gvk("coordination.k8s.io", "v1", "Lease");
        let resource = ApiResource::from_gvk_with_plural(&gvk, "leases");
        let api = Api::namespaced_with(client, namespace, &resource);
        Self { api, me }
    }

    /// Waits until it is this process's; `waiting` is told who has it, whenever that changes.
    pub(crate) async fn take(self, waiting: impl Fn(&str)) -> Result<Leadership, KubernetesError> {
        let mut seen: Option<Seen> = None;
        let mut told = String::new();
        let mut away = Away::default();
        loop {
            let attempt = in_time(self.attempt(seen.as_ref())).await;
            if attempt.is_ok() {
                away.is_over();
            }
            match attempt {
                Ok(Attempt::Taken) => return Ok(self.keep()),
                Ok(Attempt::NotTaken { spec, holder }) => {
                    if let Some(holder) = holder
                        && holder != told
                    {
                        waiting(&holder);
                        told = holder;
                    }
                    if seen.as_ref().is_none_or(|seen| seen.spec != spec) {
                        let since = Instant::now();
                        seen = Some(Seen { spec, since });
                    }
                }
                // Who was answered once waits for the API server as for the Lease.
                Err(error) if seen.is_some() => away.begins(&error),
                Err(error) => return Err(error),
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Takes it, if it is free by what was seen of it before.
    async fn attempt(&self, seen: Option<&Seen>) -> Result<Attempt, KubernetesError> {
        let found = self.read().await?;
        let spec = spec_of(found.as_ref());
        let holder = match decide(&spec, &self.me, seen, Instant::now()) {
            Decision::Wait(holder) => Some(holder),
            Decision::Take | Decision::Renew => {
                if self.write(found, &self.me).await? {
                    return Ok(Attempt::Taken);
                }
                None
            }
        };
        Ok(Attempt::NotTaken { spec, holder })
    }

    fn keep(self) -> Leadership {
        let (end, lost) = watch::channel(false);
        let lease = self.clone();
        let task = tokio::spawn(async move {
            let mut away = Away::default();
            let mut pause = RENEW;
            loop {
                tokio::time::sleep(pause).await;
                pause = match in_time(self.renew()).await {
                    Ok(true) => {
                        away.is_over();
                        RENEW
                    }
                    Ok(false) => break,
                    Err(error) => {
                        away.begins(&error);
                        LOOK_AGAIN
                    }
                };
            }
            end.send_replace(true);
        });
        Leadership { lost, task, lease }
    }

    /// Whether it is still this process's, and will be for a while.
    async fn renew(&self) -> Result<bool, KubernetesError> {
        let found = self.read().await?;
        if spec_of(found.as_ref())["holderIdentity"] != self.me.as_str() {
            return Ok(false);
        }
        self.write(found, &self.me).await
    }

    async fn release(&self) -> Result<(), KubernetesError> {
        let found = self.read().await?;
        if spec_of(found.as_ref())["holderIdentity"] == self.me.as_str() {
            self.write(found, "").await?;
        }
        Ok(())
    }

    /// Who has it; none: nobody, or nobody any more by this machine's clock.
    pub(crate) async fn holder(&self) -> Result<Option<String>, KubernetesError> {
        let spec = spec_of(self.read().await?.as_ref());
        let holder = spec["holderIdentity"].as_str().unwrap_or_default();
        let renewed = spec["renewTime"].as_str();
        let renewed = renewed.and_then(|at| at.parse::<Timestamp>().ok());
        let is_held = renewed.is_some_and(|at| Timestamp::now().duration_since(at) < STALE);
        Ok((is_held && !holder.is_empty()).then(|| holder.to_owned()))
    }

    async fn read(&self) -> Result<Option<DynamicObject>, KubernetesError> {
        let found = self.api.get_opt(NAME).await;
        found.map_err(KubernetesError::api(format!("read Lease {NAME}")))
    }

    /// Writes who has it, in place of what was read; tells whether nobody else was quicker.
    async fn write(
        &self,
        found: Option<DynamicObject>,
        holder: &str,
    ) -> Result<bool, KubernetesError> {
        let before = spec_of(found.as_ref());
        let params = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        let spec = renewed(&before, holder, Timestamp::now());
        let answer = if let Some(mut lease) = found {
            lease.data["spec"] = spec;
            self.api.replace(NAME, &params, &lease).await
        } else {
            let gvk = GroupVersionKind::gvk("coordination.k8s.io", "v1", "Lease");
            let resource = ApiResource::from_gvk_with_plural(&gvk, "leases");
            let mut lease = DynamicObject::new(NAME, &resource);
            lease.data = json!({ "spec": spec });
            self.api.create(&params, &lease).await
        };
        match answer.map_err(KubernetesError::api(format!("write Lease {NAME}"))) {
            Ok(_written) => Ok(true),
            Err(error) if error.is_conflict() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Whether the API server does not answer; said when that begins and ends, and not each time.
#[derive(Default)]
struct Away(bool);

impl Away {
    fn begins(&mut self, error: &KubernetesError) {
        if !std::mem::replace(&mut self.0, true) {
            tracing::warn!(%error, "nobody acts until the API server answers again");
        }
    }

    fn is_over(&mut self) {
        if std::mem::take(&mut self.0) {
            tracing::info!("the API server answers again");
        }
    }
}

/// What the API server answers, if it does soon enough.
async fn in_time<T>(
    asked: impl Future<Output = Result<T, KubernetesError>>,
) -> Result<T, KubernetesError> {
    let answer = tokio::time::timeout(TRY_FOR, asked).await;
    answer.unwrap_or_else(|_late| {
        let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
        Err(KubernetesError::api(format!("ask about Lease {NAME}"))(
            kube::Error::Service(Box::new(late)),
        ))
    })
}

fn spec_of(lease: Option<&DynamicObject>) -> Value {
    lease.map_or_else(|| json!({}), |lease| lease.data["spec"].clone())
}

/// What stands in a Lease from now on.
fn renewed(before: &Value, holder: &str, now: Timestamp) -> Value {
    // The API server wants six digits, no more and no fewer.
    let now = json!(format!("{now:.6}"));
    let is_same = before["holderIdentity"] == holder;
    let times = before["leaseTransitions"].as_u64().unwrap_or(0);
    json!({
        "holderIdentity": holder,
        "leaseDurationSeconds": DURATION.as_secs(),
        "acquireTime": if is_same { before["acquireTime"].clone() } else { now.clone() },
        "renewTime": now,
        "leaseTransitions": times + u64::from(!is_same),
    })
}

#[cfg(test)]
mod tests;
