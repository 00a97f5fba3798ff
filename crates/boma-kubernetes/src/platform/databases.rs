//! What is recorded of databases: their identity, whether they are in use, and their end.

use boma_engine::keys::DatabaseKey;
use boma_engine::observed::{DatabaseRecord, Life};
use boma_instance::{Assignment, InstanceId};
use kube::ResourceExt;
use kube::core::DynamicObject;

use super::Inner;
use crate::cluster::{Change, record};
use crate::desired::{Desired, secret_entry};
use crate::error::KubernetesError;
use crate::kinds::Kind;
use crate::names::{self, Part};
use crate::records::DatabaseRow;

/// A registered database and where it is.
#[derive(Clone, Debug)]
pub(super) struct Registered {
    pub(super) namespace: String,
    pub(super) row: DatabaseRow,
    /// What its instance's Secret holds; none: it was never put.
    pub(super) assignment: Option<Assignment>,
}

impl Inner {
    pub(super) fn database_place(&self, namespace: &str, key: &DatabaseKey) -> Desired {
        self.record_place(namespace, names::database_record(key))
            .part(Part::Database)
            .label(names::DATABASE, &*key.name)
            .annotation(names::IDENTITY, key.to_string())
    }

    /// All registered databases. A record that cannot be read is passed over here and said aloud:
    /// whoever wants to change it is told.
    pub(super) fn registered(&self) -> Vec<Registered> {
        let mut found = Vec::new();
        for secret in self.secrets(Part::Database) {
            let row = match record::<DatabaseRow>(&secret) {
                Ok(row) => row,
                Err(error) => {
                    tracing::error!(%error, "a database is passed over");
                    continue;
                }
            };
            let namespace = secret.namespace().unwrap_or_default();
            let assignment = self.assignment(&namespace, &row.key);
            found.push(Registered {
                namespace,
                row,
                assignment,
            });
        }
        found.extend(self.unrecorded());
        found
    }

    /// Databases whose record is gone and whose volume is there. The volume says whose it is; so
    /// none is ever made in its place, and the record is written again with the next pass.
    fn unrecorded(&self) -> Vec<Registered> {
        let claims = self.cluster.all(Kind::VolumeClaim);
        let lost = claims.iter().filter_map(|claim| {
            let namespace = claim.namespace().unwrap_or_default();
            let row = row_of(claim)?;
            let name = names::database_record(&row.key);
            let recorded = self.cluster.get(Kind::Secret, &namespace, &name);
            let assignment = self.assignment(&namespace, &row.key);
            recorded.is_none().then_some(Registered {
                namespace,
                row,
                assignment,
            })
        });
        lost.collect()
    }

    /// What an instance was told last.
    pub(super) fn assignment(&self, namespace: &str, key: &DatabaseKey) -> Option<Assignment> {
        let name = names::instance(key);
        let secret = self.cluster.get(Kind::Secret, namespace, &name)?;
        assignment_of(&secret)
    }

    /// Secrets that are this to Boma.
    pub(super) fn secrets(&self, part: Part) -> Vec<std::sync::Arc<DynamicObject>> {
        self.cluster.secrets(part)
    }

    /// One registered database, whose record may be gone.
    pub(super) fn registered_as(&self, key: &DatabaseKey) -> Result<Registered, KubernetesError> {
        self.recorded_as(key).or_else(|error| {
            let lost = self.unrecorded();
            let mut lost = lost.into_iter().filter(|one| one.row.key == *key);
            lost.next().ok_or(error)
        })
    }

    /// One database that is on record.
    fn recorded_as(&self, key: &DatabaseKey) -> Result<Registered, KubernetesError> {
        let unknown = || KubernetesError::UnknownDatabase { key: key.clone() };
        let namespace = self.known_namespace(&key.project).ok_or_else(unknown)?;
        let name = names::database_record(key);
        let secret = self.cluster.get(Kind::Secret, &namespace, &name);
        let row: DatabaseRow = record(&*secret.ok_or_else(unknown)?)?;
        let assignment = self.assignment(&namespace, key);
        Ok(Registered {
            namespace,
            row,
            assignment,
        })
    }

    /// The registered database with this instance.
    pub(super) fn registered_with(&self, id: InstanceId) -> Result<Registered, KubernetesError> {
        // Its volume says whose it is: a thousand that are waited for are asked for all the time,
        // and each would read all records.
        let claim = self.cluster.of_instance(Kind::VolumeClaim, id);
        let row = claim.and_then(|claim| row_of(&claim));
        let one = row.and_then(|row| self.registered_as(&row.key).ok());
        if let Some(one) = one.filter(|one| one.row.id == id) {
            return Ok(one);
        }
        let found = self.registered().into_iter().find(|one| one.row.id == id);
        found.ok_or(KubernetesError::UnknownInstance { id })
    }

    pub(super) async fn record_database(
        &self,
        key: &DatabaseKey,
        id: InstanceId,
        record: &DatabaseRecord,
    ) -> Result<(), KubernetesError> {
        let namespace = self.namespace(&key.project).await?;
        let place = self.database_place(&namespace, key);
        let claim = names::instance(key);
        let claim = self.cluster.get(Kind::VolumeClaim, &namespace, &claim);
        let owner = claim.as_deref().and_then(row_of).map(|row| row.id);
        if let Some(given) = owner.filter(|given| *given != id) {
            let key = key.clone();
            return Err(KubernetesError::OtherId { key, id, given });
        }
        self.cluster
            .change(&place, |found: Option<DatabaseRow>| {
                let Some(mut row) = found else {
                    let row = DatabaseRow {
                        key: key.clone(),
                        id,
                        record: record.clone(),
                        life: Life::Active,
                        held: false,
                        purging: false,
                    };
                    return Ok(Change::Write(row, ()));
                };
                if row.id != id {
                    return Err(KubernetesError::OtherId {
                        key: key.clone(),
                        id,
                        given: row.id,
                    });
                }
                if row.record == *record {
                    return Ok(Change::Keep(()));
                }
                row.record = record.clone();
                Ok(Change::Write(row, ()))
            })
            .await
    }

    /// Sets in use or retired. Retiring scales to nothing first; then it is recorded: cut off in
    /// between, an active database has no pod, and the next pass does both again.
    pub(super) async fn set_life(
        &self,
        key: &DatabaseKey,
        life: Life,
    ) -> Result<(), KubernetesError> {
        let one = self.registered_as(key)?;
        if life != Life::Active
            && let Some(assignment) = &one.assignment
        {
            self.scale_down(&one, assignment).await?;
        }
        let place = self.database_place(&one.namespace, key);
        self.cluster
            .change(&place, |found: Option<DatabaseRow>| {
                let mut row =
                    found.ok_or_else(|| KubernetesError::UnknownDatabase { key: key.clone() })?;
                if row.purging && life == Life::Active {
                    return Err(KubernetesError::BeingPurged { key: key.clone() });
                }
                if row.life == life {
                    return Ok(Change::Keep(()));
                }
                row.life = life;
                Ok(Change::Write(row, ()))
            })
            .await
    }

    /// Destroys a retired database: first it is marked, so that from then on nothing else is done
    /// with it, then what uses the volume goes, then the volume, and the record last. Cut off
    /// anywhere, the same call goes on; the record is what makes it known until all is gone.
    pub(super) async fn purge(
        &self,
        key: &DatabaseKey,
        id: InstanceId,
    ) -> Result<(), KubernetesError> {
        // Strictly by its record: only that says that it is retired.
        let one = match self.recorded_as(key) {
            Ok(one) => one,
            Err(KubernetesError::UnknownDatabase { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let place = self.database_place(&one.namespace, key);
        self.cluster
            .change(&place, |found: Option<DatabaseRow>| {
                let Some(mut row) = found else {
                    return Ok(Change::Keep(()));
                };
                if row.id != id {
                    return Err(KubernetesError::OtherId {
                        key: key.clone(),
                        id,
                        given: row.id,
                    });
                }
                if row.life == Life::Active {
                    return Err(KubernetesError::NotRetired { key: key.clone() });
                }
                if row.purging {
                    return Ok(Change::Keep(()));
                }
                row.purging = true;
                Ok(Change::Write(row, ()))
            })
            .await?;
        let name = names::instance(key);
        for (kind, name) in [
            (Kind::StatefulSet, name.clone()),
            (Kind::Service, names::service(key)),
            (Kind::NetworkPolicy, key.name.to_string()),
            (Kind::VolumeClaim, name.clone()),
            (Kind::Secret, name),
        ] {
            let found = self.cluster.read(kind, &one.namespace, &name).await?;
            let found = found.filter(|found| is_of(found, id) || kind == Kind::Service);
            if let Some(found) = found {
                self.cluster.delete(kind, &found).await?;
            }
        }
        self.cluster
            .change(&place, |_found: Option<DatabaseRow>| Ok(Change::Remove(())))
            .await
    }
}

/// What a volume claim says of its database. What a record would say besides is not known: so it
/// is protected, and the days that it is kept are none, which no manifest says: whatever one says
/// is recorded.
fn row_of(claim: &DynamicObject) -> Option<DatabaseRow> {
    if claim.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let key = claim.annotations().get(names::IDENTITY)?;
    let id = claim.labels().get(names::INSTANCE_ID)?;
    Some(DatabaseRow {
        key: key.parse().ok()?,
        id: InstanceId(id.parse().ok()?),
        record: DatabaseRecord {
            deletion_protection: true,
            retention_days: 0,
            beside: None,
        },
        life: Life::Active,
        held: false,
        purging: false,
    })
}

/// Whether an object belongs to an instance.
pub(super) fn is_of(object: &DynamicObject, id: InstanceId) -> bool {
    let label = object.labels().get(names::INSTANCE_ID);
    label.and_then(|label| label.parse().ok()) == Some(id.0)
}

/// The assignment in an instance's Secret.
pub(super) fn assignment_of(secret: &DynamicObject) -> Option<Assignment> {
    let bytes = secret_entry(secret, boma_instance::api::pod::ASSIGNMENT)?;
    serde_json::from_slice(&bytes)
        .inspect_err(|error| tracing::error!(%error, "an assignment cannot be read"))
        .ok()
}
