//! Says what was measured. Pure, as planning is.

use boma_instance::{
    Assignment, Condition, InstanceStatus, LoginStatus, Phase, Power, ServerStatus, StorageStatus,
    Truth,
};
use boma_postgres::sql::UndoneBy;
use boma_problem::Problem;
use jiff::Timestamp;

use super::{Data, Observed, Plan, Server, Up};

/// A step that failed, and how often in a row.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The step, in words.
    pub step: String,
    /// Why it failed.
    pub problem: Problem,
    /// Failures in a row; at least 1.
    pub attempts: u32,
}

/// Makes the status of a server out of what was seen, planned and tried.
///
/// `converged_before` is the newest generation that was seen converged earlier.
pub fn report(
    want: &Assignment,
    seen: &Observed,
    plan: &Plan,
    failed: Option<&Outcome>,
    converged_before: u64,
    now: Timestamp,
) -> InstanceStatus {
    let in_sync = plan.is_in_sync();
    let phase = phase(want, seen, plan, failed);
    let mut problems = plan.blocked.clone();
    problems.extend(failed.map(|outcome| outcome.problem.clone()));
    InstanceStatus {
        id: want.spec.id,
        accepted_generation: want.spec.generation,
        converged_generation: if in_sync {
            want.spec.generation
        } else {
            converged_before
        },
        phase,
        observed_at: now,
        listen: Some(want.placement.listen.clone()),
        server: server(seen),
        storage: seen.storage,
        logins: logins(want, seen),
        backup: None,
        corrections: Vec::new(),
        conditions: conditions(want, seen, plan, phase),
        problems,
    }
}

fn phase(want: &Assignment, seen: &Observed, plan: &Plan, failed: Option<&Outcome>) -> Phase {
    let stuck = !plan.blocked.is_empty() || failed.is_some();
    match (want.spec.power, &seen.server) {
        (Power::On, Server::Up(_)) if stuck => Phase::Degraded,
        (Power::On, Server::Up(_)) if plan.is_in_sync() => Phase::Ready,
        (Power::On, Server::Up(_)) => Phase::Converging,
        (_, Server::Silent(_)) => Phase::Unknown,
        _ if stuck => Phase::Failed,
        (Power::On, Server::Down) if seen.data == Data::Missing => Phase::Creating,
        (Power::On, Server::Down | Server::Starting) => Phase::Starting,
        (Power::Off, Server::Down) => Phase::Suspended,
        (Power::Off, Server::Starting | Server::Up(_)) => Phase::Stopping,
    }
}

fn server(seen: &Observed) -> Option<ServerStatus> {
    match &seen.server {
        Server::Up(up) => Some(ServerStatus {
            version: up.server.version.clone(),
            pid: up.pid,
            started_at: up.server.started_at,
            system_identifier: up.server.system_identifier,
            pending_restart: up.server.pending_restart.clone(),
        }),
        Server::Down | Server::Starting | Server::Silent(_) => None,
    }
}

fn logins(want: &Assignment, seen: &Observed) -> Vec<LoginStatus> {
    let Server::Up(up) = &seen.server else {
        return Vec::new();
    };
    let open = up.database.connections();
    want.spec
        .logins
        .iter()
        .filter_map(|login| {
            let connections = *open.get(&login.role)?;
            Some(LoginStatus {
                role: login.role.clone(),
                access: login.access,
                connections,
                last_used: None,
            })
        })
        .collect()
}

fn conditions(want: &Assignment, seen: &Observed, plan: &Plan, phase: Phase) -> Vec<Condition> {
    let (status, reason, message) = match phase {
        Phase::Ready => (Truth::True, "Ready", "answers, and is as its manifest says"),
        Phase::Degraded => (
            Truth::False,
            "Degraded",
            "answers, but is not as its manifest says",
        ),
        Phase::Unknown => (
            Truth::Unknown,
            "NotMeasured",
            "the server could not be asked",
        ),
        Phase::Suspended => (Truth::False, "Suspended", "stopped, as its manifest says"),
        Phase::Creating => (Truth::False, "Creating", "its data directory is being made"),
        Phase::Starting => (Truth::False, "Starting", "starting, or replaying WAL"),
        Phase::Converging => (
            Truth::False,
            "Converging",
            "answers, and is being brought to its spec",
        ),
        Phase::Stopping => (Truth::False, "Stopping", "being shut down"),
        Phase::Failed => (Truth::False, "Failed", "does not run; see the problems"),
    };
    let ready = Condition {
        kind: "Ready".into(),
        status,
        reason: reason.into(),
        message: message.into(),
    };
    let mut conditions = vec![ready, storage_condition(seen.storage.as_ref())];
    if let Server::Up(up) = &seen.server {
        conditions.extend(left_alone(want, up, plan));
    }
    conditions
}

/// What differs from the manifest and is not for the agent to change: data may depend on it, or
/// somebody put it there on purpose. Its kinds are those of [`boma_instance::AS_MANIFEST`].
fn left_alone(want: &Assignment, up: &Up, plan: &Plan) -> Vec<Condition> {
    let differing = |kind: &str, reason: &str, message: String| Condition {
        kind: kind.into(),
        status: Truth::False,
        reason: reason.into(),
        message,
    };
    let mut conditions = Vec::new();
    let extra: Vec<_> = up
        .database
        .extensions()
        .map(|(name, _version)| name)
        .filter(|name| *name != "plpgsql" && !want.spec.extensions.contains(*name))
        .collect();
    if !extra.is_empty() {
        conditions.push(differing(
            "ExtensionsAsManifest",
            "MoreThanManifest",
            format!(
                "also there, and kept since data may depend on them: {}",
                extra.join(", ")
            ),
        ));
    }
    let foreign: Vec<_> = up.database.foreign_logins().collect();
    if !foreign.is_empty() {
        conditions.push(differing(
            "LoginsAsManifest",
            "MoreThanManifest",
            format!(
                "roles without a grant, which cannot connect: {}",
                foreign.join(", ")
            ),
        ));
    }
    if !plan.leaves.is_empty() {
        let message = format!(
            "changed by hand, and left so because of `drift: report`; to put it right: {}",
            plan.leaves.join("; ")
        );
        conditions.push(differing("AccessAsManifest", "ChangedByHand", message));
    }
    conditions.extend(
        overridden(up).map(|message| differing("SettingsAsManifest", "Overridden", message)),
    );
    conditions
}

/// What `ALTER SYSTEM` has set; none: nothing.
fn overridden(up: &Up) -> Option<String> {
    let of = |undone_by: UndoneBy| {
        let overridden = up.server.overridden.iter();
        let names = overridden.filter(|one| one.undone_by == undone_by);
        names
            .map(|one| one.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let kinds = [
        (
            UndoneBy::Reset,
            "`ALTER SYSTEM RESET` gives the manifest's back",
        ),
        (
            UndoneBy::Restart,
            "`ALTER SYSTEM RESET` and a restart give the manifest's back",
        ),
        (UndoneBy::Hand, "take it out of `postgresql.auto.conf`"),
    ];
    let named = kinds.map(|(undone_by, how)| (of(undone_by), how));
    let parts: Vec<String> = named
        .into_iter()
        .filter(|(names, _)| !names.is_empty())
        .map(|(names, how)| format!("{names} ({how})"))
        .collect();
    let parts = parts.join(", ");
    (!parts.is_empty()).then(|| format!("set by hand, over the manifest: {parts}"))
}

/// Share of the storage at which a person is told, and at which it is pressing: the marks that
/// `peers.md` found where others deadlock (a full disk can neither be resized nor started).
const FILLING_PERCENT: u64 = 70;
const NEARLY_FULL_PERCENT: u64 = 85;

fn storage_condition(storage: Option<&StorageStatus>) -> Condition {
    let condition = |status, reason: &str, message: String| Condition {
        kind: "StorageHealthy".into(),
        status,
        reason: reason.into(),
        message,
    };
    let Some(storage) = storage else {
        return condition(
            Truth::Unknown,
            "NotMeasured",
            "storage was not measured yet".into(),
        );
    };
    let percent = storage.used_bytes.saturating_mul(100) / storage.size_bytes.max(1);
    let left = storage.size_bytes.saturating_sub(storage.used_bytes);
    let used = format!(
        "{percent} % of {} used ({})",
        mebibytes(storage.size_bytes),
        mebibytes(storage.used_bytes)
    );
    if percent >= NEARLY_FULL_PERCENT {
        let message = format!("{used}; raise `spec.storage.size` now");
        condition(Truth::False, "NearlyFull", message)
    } else if percent >= FILLING_PERCENT {
        let message = format!("{used}; raise `spec.storage.size` soon");
        condition(Truth::False, "FillingUp", message)
    } else if storage.free_bytes < left {
        let message = format!(
            "{used}; its disk has {} free, less than the {} that it may still grow",
            mebibytes(storage.free_bytes),
            mebibytes(left)
        );
        condition(Truth::False, "DiskTooSmall", message)
    } else {
        condition(Truth::True, "Sufficient", used)
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(used: u64, size: u64, free: u64) -> (Truth, String) {
        let storage = StorageStatus {
            used_bytes: used,
            size_bytes: size,
            free_bytes: free,
        };
        let condition = storage_condition(Some(&storage));
        (condition.status, condition.reason)
    }

    #[test]
    fn storage_is_told_of_long_before_it_is_full() {
        assert_eq!(reason(10, 100, 1000), (Truth::True, "Sufficient".into()));
        assert_eq!(reason(70, 100, 1000), (Truth::False, "FillingUp".into()));
        assert_eq!(reason(85, 100, 1000), (Truth::False, "NearlyFull".into()));
        assert_eq!(reason(10, 100, 89), (Truth::False, "DiskTooSmall".into()));
    }

    #[test]
    fn storage_that_was_not_measured_is_unknown() {
        assert_eq!(storage_condition(None).status, Truth::Unknown);
    }
}
