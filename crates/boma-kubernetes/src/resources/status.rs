//! What the status of a custom resource should be. Pure.

use boma_engine::computed::{self, ApplicationPhase};
use boma_engine::engine::EngineState;
use boma_engine::keys::{ApplicationKey, DatabaseKey};
use boma_instance::{Condition, Truth};
use boma_manifest::{Kind, Quantity, SourceFile};
use boma_problem::Problem;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Fields that change by themselves while a database is used. They are worth no write each time.
const RESTLESS: [&str; 6] = [
    "storageBytesUsed",
    "recoverableFrom",
    "recoverableUntil",
    "archiveWaitingBytes",
    "archiveWaitingSince",
    "backupRunning",
];

/// A custom resource, as far as its status follows from it.
#[derive(Clone, Copy, Debug)]
pub(super) struct About<'o> {
    /// Its kind.
    pub(super) kind: Kind,
    /// What names it among all.
    pub(super) name: &'o str,
    /// Its generation.
    pub(super) generation: i64,
    /// Its status as it is.
    pub(super) status: &'o Value,
    /// Its project, with its own name and its manifest as a file would have it.
    pub(super) home: Result<Home<'o>, &'o Problem>,
}

/// Whose it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Home<'o> {
    /// Identity of the project.
    pub(super) project: &'o str,
    /// Its name there.
    pub(super) own: &'o str,
    /// Its manifest.
    pub(super) text: &'o str,
}

/// What became of the manifest.
enum Taken {
    /// It is in force as it is.
    Now,
    /// An earlier one is, or none, because of this.
    Refused(Problem),
}

/// The status that a resource should have; none: nothing is known of it yet.
pub(super) fn status(about: &About<'_>, state: &EngineState, now: Timestamp) -> Option<Value> {
    let (taken, mut status, mut conditions) = match about.home {
        Err(problem) => (Taken::Refused(problem.clone()), Map::new(), Vec::new()),
        Ok(home) => {
            state.planned_at?;
            let own = state
                .catalog
                .as_deref()
                .and_then(|catalog| in_force(about, &home, catalog));
            let taken = match own {
                Some(file) if *file.bytes == *home.text.as_bytes() => Taken::Now,
                Some(_) | None => Taken::Refused(refusal(about.name, state)?),
            };
            let (status, conditions) = match own {
                Some(_) => measured(about.kind, &home, state, now),
                None => (Map::new(), Vec::new()),
            };
            (taken, status, conditions)
        }
    };
    conditions.insert(0, accepted(&taken));
    let seen = match taken {
        Taken::Now => Some(json!(about.generation)),
        Taken::Refused(_) => about.status.get("observedGeneration").cloned(),
    };
    status.extend(seen.map(|seen| ("observedGeneration".to_owned(), seen)));
    let conditions = conditions.into_iter();
    let conditions: Vec<Value> = conditions
        .map(|condition| dated(&condition, about, now))
        .collect();
    status.insert("conditions".to_owned(), json!(conditions));
    Some(Value::Object(status))
}

/// Whether two statuses differ in nothing but what changes by itself.
pub(super) fn differ_by_rest_alone(one: &Value, other: &Value) -> bool {
    let settled = |status: &Value| {
        let mut fields = status.as_object().cloned().unwrap_or_default();
        fields.retain(|name, _| !RESTLESS.contains(&name.as_str()));
        fields
    };
    settled(one) == settled(other)
}

/// The file in force that this resource is, as it is now or was before.
fn in_force<'c>(
    about: &About<'_>,
    home: &Home<'_>,
    catalog: &'c boma_engine::catalog::Catalog,
) -> Option<&'c SourceFile> {
    let origin = match about.kind {
        Kind::Database => {
            let key = DatabaseKey::new(home.project, home.own);
            &catalog.database(&key)?.origin
        }
        Kind::Application => {
            let key = ApplicationKey::new(home.project, home.own);
            &catalog.application(&key)?.origin
        }
    };
    Some(origin.file()).filter(|file| is_file_of(&file.name, about.name))
}

/// Whether a file is this resource: its name begins with the label of the source.
fn is_file_of(file: &str, resource: &str) -> bool {
    let label = file.strip_suffix(resource);
    label.is_some_and(|label| label.ends_with('/') && !label.trim_end_matches('/').contains('/'))
}

/// Why it is not in force: what is wrong with it, or what holds all back; none: it was not looked
/// at yet.
fn refusal(name: &str, state: &EngineState) -> Option<Problem> {
    let errors = || {
        state
            .source_problems
            .iter()
            .filter(|problem| problem.is_error())
    };
    let is_about = |problem: &&Problem| {
        let places = problem.place.iter();
        let mut places = places.chain(problem.related.iter().map(|(_, place)| place));
        places.any(|place| is_file_of(&place.file, name))
    };
    errors().find(is_about).or_else(|| errors().next()).cloned()
}

fn measured(
    kind: Kind,
    home: &Home<'_>,
    state: &EngineState,
    now: Timestamp,
) -> (Map<String, Value>, Vec<Condition>) {
    let catalog = state.catalog.as_deref();
    let (seen, plan) = (&state.observed, Some(&*state.plan));
    match kind {
        Kind::Database => {
            let key = DatabaseKey::new(home.project, home.own);
            let one = computed::database(&key, catalog, seen, plan);
            let mut conditions = one.conditions.clone();
            ensure_ready(&mut conditions, Truth::Unknown, &one.phase.to_string());
            let mut status = fields(&one);
            if let Some((host, port)) = one.host.as_ref().zip(one.port) {
                status.insert("endpoint".to_owned(), json!(format!("{host}:{port}")));
            }
            if let Some(want) = catalog.and_then(|catalog| catalog.database(&key)) {
                let size = Quantity::from_bytes(want.resources.storage_bytes);
                status.insert("storage".to_owned(), json!(size.to_string()));
            }
            if let Some(used) = one.storage_bytes_used {
                status.insert("storageBytesUsed".to_owned(), json!(coarse(used)));
            }
            (status, conditions)
        }
        Kind::Application => {
            let key = ApplicationKey::new(home.project, home.own);
            let want = catalog.and_then(|catalog| catalog.application(&key));
            let one = computed::application(&key, want.map(AsRef::as_ref), seen, plan, now);
            let mut conditions = one.conditions.clone();
            let serves = match one.phase {
                ApplicationPhase::Delivered | ApplicationPhase::Running => Truth::True,
                ApplicationPhase::Pending
                | ApplicationPhase::Unavailable
                | ApplicationPhase::NotRunning
                | ApplicationPhase::Exited
                | ApplicationPhase::Held => Truth::False,
            };
            ensure_ready(&mut conditions, serves, &one.phase.to_string());
            let mut status = fields(&one);
            let databases = one.grants.iter().map(|grant| &*grant.database.name);
            let databases: Vec<&str> = databases.collect();
            if !databases.is_empty() {
                status.insert("databases".to_owned(), json!(databases.join(", ")));
            }
            (status, conditions)
        }
    }
}

/// `kubectl wait --for=condition=Ready` is for every kind.
fn ensure_ready(conditions: &mut Vec<Condition>, status: Truth, reason: &str) {
    if conditions.iter().all(|one| one.kind != "Ready") {
        conditions.insert(
            0,
            Condition {
                kind: "Ready".to_owned(),
                status,
                reason: reason.to_owned(),
                message: format!("its phase is {reason}"),
            },
        );
    }
}

/// What was measured, without what is not known and what is another number with each look.
fn fields(computed: &impl Serialize) -> Map<String, Value> {
    let mut value = serde_json::to_value(computed).unwrap_or_default();
    without_nothing(&mut value);
    let mut fields = value.as_object().cloned().unwrap_or_default();
    fields.remove("observedAt");
    fields.remove("observedGeneration");
    fields
}

/// Empty texts are `null` to server-side apply as well (seen with 1.20), which no field may be.
fn without_nothing(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null() && *field != "");
            fields.values_mut().for_each(without_nothing);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nothing),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// An amount to about three per cent: a file of a server comes and goes all the time.
fn coarse(bytes: u64) -> u64 {
    let step = 1_u64 << (u64::BITS - bytes.leading_zeros()).saturating_sub(5);
    bytes.div_ceil(step) * step
}

fn accepted(taken: &Taken) -> Condition {
    let (status, reason, message) = match taken {
        Taken::Now => (Truth::True, "Valid".to_owned(), "it is in force".to_owned()),
        Taken::Refused(problem) => {
            let hints = problem.hints.iter().map(|hint| format!(" {hint}"));
            let text = format!("{problem}.{}", hints.collect::<String>());
            (Truth::False, pascal(&problem.code), text)
        }
    };
    Condition {
        kind: "Accepted".to_owned(),
        status,
        reason,
        message,
    }
}

/// `no-such-database` as `NoSuchDatabase`.
fn pascal(code: &str) -> String {
    let words = code.split('-').map(|word| {
        let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
        format!("{}{rest}", first.to_ascii_uppercase())
    });
    words.collect()
}

/// A condition with the moment since which its status is so.
fn dated(condition: &Condition, about: &About<'_>, now: Timestamp) -> Value {
    let status = json!(condition.status);
    let before = about.status["conditions"].as_array().into_iter().flatten();
    let mut before = before.filter(|one| one["type"] == condition.kind && one["status"] == status);
    let now = Timestamp::from_second(now.as_second())
        .unwrap_or(now)
        .to_string();
    let since = before
        .next()
        .map_or(json!(now), |one| one["lastTransitionTime"].clone());
    json!({
        "type": condition.kind,
        "status": status,
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": since,
        "observedGeneration": about.generation,
    })
}

#[cfg(test)]
mod tests;
