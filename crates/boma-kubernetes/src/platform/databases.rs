//! What is recorded of databases: their identity, whether they are in use, and their end.

use std::collections::BTreeMap;
use std::sync::Arc;

use boma_engine::keys::DatabaseKey;
use boma_engine::observed::{DatabaseRecord, Life};
use boma_instance::{Assignment, InstanceId};
use kube::ResourceExt;
use kube::core::DynamicObject;

use super::Inner;
use super::waiting::Going;
use crate::cluster::{Change, record};
use crate::desired::{Desired, secret_entry};
use crate::error::KubernetesError;
use crate::kinds::Kind;
use crate::names::{self, Part};
use crate::records::{DatabaseRow, Lineage};

/// A registered database and where it is.
#[derive(Clone, Debug)]
pub(super) struct Registered {
    pub(super) namespace: String,
    pub(super) row: DatabaseRow,
    /// Name of its instance's objects.
    pub(super) objects: String,
    /// What its instance's Secret holds; none: it was never put.
    pub(super) assignment: Option<Assignment>,
    /// All that is recorded with it.
    pub(super) lineage: Arc<Lineage>,
}

impl Inner {
    /// Where a database is recorded, with all that stands beside it.
    pub(super) fn database_place(&self, namespace: &str, key: &DatabaseKey) -> Desired {
        let database = names::base(key);
        self.record_place(namespace, names::database_record(key))
            .part(Part::Database)
            .label(names::DATABASE, &*database.name)
            .annotation(names::IDENTITY, database.to_string())
    }

    /// All registered databases. A record that cannot be read is passed over here and said aloud:
    /// whoever wants to change it is told.
    pub(super) fn registered(&self) -> impl Iterator<Item = Registered> {
        let recorded = self.secrets(Part::Database).filter_map(|secret| {
            let lineage = record::<Lineage>(&secret)
                .inspect_err(|error| tracing::error!(%error, "a database is passed over"));
            let namespace = secret.namespace().unwrap_or_default();
            Some(self.all_of(&namespace, lineage.ok()?))
        });
        recorded.flatten().chain(self.unrecorded())
    }

    fn all_of(&self, namespace: &str, lineage: Lineage) -> Vec<Registered> {
        let lineage = Arc::new(lineage);
        let rows = lineage.rows();
        rows.map(|row| self.registered_row(namespace, &lineage, row))
            .collect()
    }

    fn registered_row(&self, namespace: &str, of: &Arc<Lineage>, row: &DatabaseRow) -> Registered {
        let objects = row.objects();
        Registered {
            namespace: namespace.to_owned(),
            assignment: self.assignment(namespace, &objects),
            objects,
            lineage: Arc::clone(of),
            row: row.clone(),
        }
    }

    /// Databases whose record is gone and whose volume is there. The volume says whose it is; so
    /// none is ever made in its place, and the record is written again with the next pass.
    fn unrecorded(&self) -> Vec<Registered> {
        let mut lost = BTreeMap::<_, Vec<_>>::new();
        for claim in self.cluster.all(Kind::VolumeClaim) {
            let namespace = claim.namespace().unwrap_or_default();
            let Some(row) = row_of(&claim) else { continue };
            let name = names::database_record(&row.key);
            if self.cluster.get(Kind::Secret, &namespace, &name).is_none() {
                let place = (namespace, names::base(&row.key));
                lost.entry(place).or_default().push(row);
            }
        }
        let lost = lost.into_iter().filter_map(|((namespace, _key), rows)| {
            let lineage = lineage_of(rows)?;
            Some(self.all_of(&namespace, lineage))
        });
        lost.flatten().collect()
    }

    /// What volume claims say of a database whose record is gone.
    fn lost(&self, namespace: &str, key: &DatabaseKey) -> Option<Lineage> {
        lineage_of(self.claimed(namespace, key))
    }

    /// The volumes of a database and of what stands beside it, as they say.
    fn claimed(&self, namespace: &str, key: &DatabaseKey) -> Vec<DatabaseRow> {
        let database = names::base(key).to_string();
        // Asked for with each of a thousand databases that are made: few are looked at closely.
        let claims = self.cluster.all(Kind::VolumeClaim).filter(|claim| {
            claim.annotations().get(names::IDENTITY) == Some(&database)
                && claim.metadata.namespace.as_deref() == Some(namespace)
        });
        claims.filter_map(|claim| row_of(&claim)).collect()
    }

    /// Refuses where a volume says that it is the one of a database, and is none that is on record:
    /// a record was lost, or put back from before two instances changed places.
    pub(super) fn refuse_stranger(
        &self,
        (namespace, key): (&str, &DatabaseKey),
        recorded: Option<&Lineage>,
        id: InstanceId,
    ) -> Result<(), KubernetesError> {
        let claimed = self.claimed(namespace, key);
        let is_known = |row: &DatabaseRow| match recorded {
            Some(lineage) => {
                let mut rows = lineage.rows();
                names::is_beside(&row.key) || rows.any(|one| one.id == row.id)
            }
            None => lineage_of(claimed.clone()).is_some(),
        };
        let mut others = claimed.iter().filter(|row| row.id != id);
        match others.find(|row| !is_known(row)) {
            Some(other) => Err(KubernetesError::OtherId {
                key: key.clone(),
                id,
                given: other.id,
            }),
            None => Ok(()),
        }
    }

    /// What an instance was told last.
    pub(super) fn assignment(&self, namespace: &str, objects: &str) -> Option<Assignment> {
        let secret = self.cluster.get(Kind::Secret, namespace, objects)?;
        assignment_of(&secret)
    }

    /// Secrets that are this to Boma.
    pub(super) fn secrets(&self, part: Part) -> impl Iterator<Item = Arc<DynamicObject>> + use<> {
        self.cluster.secrets(part)
    }

    /// One registered database, whose record may be gone.
    pub(super) fn registered_as(&self, key: &DatabaseKey) -> Result<Registered, KubernetesError> {
        self.recorded_as(key).or_else(|error| {
            let Some(namespace) = self.known_namespace(&key.project) else {
                return Err(error);
            };
            let name = names::database_record(key);
            let recorded = self.cluster.get(Kind::Secret, &namespace, &name);
            let lost = self.lost(&namespace, key).filter(|_| recorded.is_none());
            let one = lost.and_then(|lineage| {
                let lineage = Arc::new(lineage);
                let row = lineage.row(key)?;
                Some(self.registered_row(&namespace, &lineage, row))
            });
            one.ok_or(error)
        })
    }

    /// One database that is on record.
    pub(super) fn recorded_as(&self, key: &DatabaseKey) -> Result<Registered, KubernetesError> {
        let unknown = || KubernetesError::UnknownDatabase { key: key.clone() };
        let namespace = self.known_namespace(&key.project).ok_or_else(unknown)?;
        let name = names::database_record(key);
        let secret = self.cluster.get(Kind::Secret, &namespace, &name);
        let lineage = Arc::new(record::<Lineage>(&*secret.ok_or_else(unknown)?)?);
        let row = lineage.row(key).ok_or_else(unknown)?;
        Ok(self.registered_row(&namespace, &lineage, row))
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
        let found = self.registered().find(|one| one.row.id == id);
        found.ok_or(KubernetesError::UnknownInstance { id })
    }

    /// Changes what is recorded of a database and of what stands beside it; a record that is gone
    /// is written again as volumes say.
    pub(super) async fn change_lineage<A: Send>(
        &self,
        namespace: &str,
        key: &DatabaseKey,
        decide: impl Fn(&mut Lineage) -> Result<A, KubernetesError> + Send + Sync,
    ) -> Result<A, KubernetesError> {
        let place = self.database_place(namespace, key);
        self.cluster
            .change(&place, |found: Option<Lineage>| {
                let unknown = || KubernetesError::UnknownDatabase { key: key.clone() };
                let lost = || self.lost(namespace, key);
                let before = found.clone();
                let mut lineage = found.or_else(lost).ok_or_else(unknown)?;
                let answer = decide(&mut lineage)?;
                Ok(if before.as_ref() == Some(&lineage) {
                    Change::Keep(answer)
                } else {
                    Change::Write(lineage, answer)
                })
            })
            .await
    }

    /// Changes what is recorded of one database.
    pub(super) async fn change_row(
        &self,
        one: &Registered,
        decide: impl Fn(&mut DatabaseRow) -> Result<(), KubernetesError> + Send + Sync,
    ) -> Result<(), KubernetesError> {
        let key = &one.row.key;
        self.change_lineage(&one.namespace, key, |lineage| {
            let unknown = || KubernetesError::UnknownDatabase { key: key.clone() };
            decide(lineage.row_mut(key).ok_or_else(unknown)?)
        })
        .await
    }

    pub(super) async fn record_database(
        &self,
        key: &DatabaseKey,
        id: InstanceId,
        record: &DatabaseRecord,
    ) -> Result<(), KubernetesError> {
        let namespace = self.namespace(&key.project).await?;
        let place = self.database_place(&namespace, key);
        let other = |given| KubernetesError::OtherId {
            key: key.clone(),
            id,
            given,
        };
        self.cluster
            .change(&place, |found: Option<Lineage>| {
                self.refuse_stranger((&namespace, key), found.as_ref(), id)?;
                let before = found.clone();
                let lineage = found.or_else(|| self.lost(&namespace, key));
                let new = DatabaseRow {
                    key: key.clone(),
                    id,
                    record: record.clone(),
                    life: Life::Active,
                    held: false,
                    purging: false,
                    objects: None,
                };
                let Some(mut lineage) = lineage else {
                    if names::is_beside(key) {
                        let key = names::base(key);
                        return Err(KubernetesError::UnknownDatabase { key });
                    }
                    return Ok(Change::Write(Lineage::new(new), ()));
                };
                match lineage.row_mut(key) {
                    Some(row) if row.id != id => return Err(other(row.id)),
                    Some(row) => row.record = record.clone(),
                    None => lineage.add(new),
                }
                Ok(if before.as_ref() == Some(&lineage) {
                    Change::Keep(())
                } else {
                    Change::Write(lineage, ())
                })
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
        self.change_row(&one, |row| {
            if row.purging && life == Life::Active {
                return Err(KubernetesError::BeingPurged { key: key.clone() });
            }
            row.life = life;
            Ok(())
        })
        .await
    }

    /// Destroys a retired database: first it is marked, so that from then on nothing else is done
    /// with it, then what uses the volume goes, then the volume, and the record last, once the
    /// volume's claim is gone. Cut off anywhere, the same call goes on; the record is what makes it
    /// known until all is gone.
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
        // What is deleted is what was read here: two instances may have changed places since.
        if one.row.id != id {
            return Err(KubernetesError::OtherId {
                key: key.clone(),
                id,
                given: one.row.id,
            });
        }
        self.change_row(&one, |row| {
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
            row.purging = true;
            Ok(())
        })
        .await?;
        self.delete_objects(&one).await?;
        self.await_no_claim(&one).await?;
        let place = self.database_place(&one.namespace, key);
        self.cluster
            .change(&place, |found: Option<Lineage>| {
                let left = found.and_then(|lineage| lineage.without(key, id));
                Ok(match left {
                    Some(left) => Change::Write(left, ()),
                    None => Change::Remove(()),
                })
            })
            .await
    }

    /// Deletes all objects of an instance but what is recorded of it.
    async fn delete_objects(&self, one: &Registered) -> Result<(), KubernetesError> {
        let (key, id, name) = (&one.row.key, one.row.id, one.objects.clone());
        let mut objects = vec![
            (Kind::StatefulSet, name.clone()),
            (Kind::NetworkPolicy, names::network_policy(&name)),
            (Kind::VolumeClaim, name.clone()),
            (Kind::Secret, name),
        ];
        if !names::is_beside(key) {
            objects.insert(1, (Kind::Service, names::service(key)));
        }
        for (kind, name) in objects {
            let found = self.cluster.read(kind, &one.namespace, &name).await?;
            let found = found.filter(|found| is_of(found, id) || kind == Kind::Service);
            if let Some(found) = found {
                self.cluster.delete(kind, &found).await?;
            }
        }
        Ok(())
    }

    /// Waits until the claim of a volume that was deleted is gone: Kubernetes keeps it while a pod
    /// has it, and another database of the same name would find it ending.
    async fn await_no_claim(&self, one: &Registered) -> Result<(), KubernetesError> {
        let mut going = Going::begun(self.cluster.news());
        let (namespace, name) = (one.namespace.as_str(), one.objects.as_str());
        let is_its = |claim: Option<Arc<DynamicObject>>| {
            claim.is_some_and(|claim| is_of(&claim, one.row.id))
        };
        loop {
            // The API server is asked once it is heard to be gone.
            let kind = Kind::VolumeClaim;
            if !is_its(self.cluster.get(kind, namespace, name))
                && !is_its(self.cluster.read(kind, namespace, name).await?)
            {
                return Ok(());
            }
            if !going.goes_on().await {
                return Err(KubernetesError::ClaimLeft {
                    key: one.row.key.clone(),
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                });
            }
        }
    }
}

/// What a volume claim says of its database. What a record would say besides is not known: so it
/// is protected, and the days that it is kept are none, which no manifest says: whatever one says
/// is recorded. What stands beside a database has no manifest, and is retired by the next pass.
pub(super) fn row_of(claim: &DynamicObject) -> Option<DatabaseRow> {
    if claim.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let database: DatabaseKey = claim.annotations().get(names::IDENTITY)?.parse().ok()?;
    let id = claim.labels().get(names::INSTANCE_ID)?;
    let key = claim.annotations().get(names::BESIDE);
    let key: Option<DatabaseKey> = key.map(|key| key.parse()).transpose().ok()?;
    let key = key.filter(|key| names::is_beside(key) && names::base(key) == database);
    let objects = claim.name_any();
    Some(DatabaseRow {
        id: InstanceId(id.parse().ok()?),
        record: DatabaseRecord {
            deletion_protection: key.is_none(),
            retention_days: 0,
            beside: key.is_some().then(|| database.clone()),
        },
        life: Life::Active,
        held: false,
        purging: false,
        objects: (objects != names::first_instance(&database)).then_some(objects),
        key: key.unwrap_or(database),
    })
}

/// A database and what stands beside it, as volumes say; none: none of them, or more than one,
/// says that it is the one of the database.
fn lineage_of(rows: Vec<DatabaseRow>) -> Option<Lineage> {
    let (beside, mut first): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| names::is_beside(&row.key));
    let last = first.pop().filter(|_| first.is_empty())?;
    Some(Lineage {
        beside,
        ..Lineage::new(last)
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

#[cfg(test)]
mod tests {
    use boma_instance::names::fnv1a;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn claim(name: &str, id: u128, beside: Option<&str>) -> DynamicObject {
        let mut claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {
                "name": name,
                "labels": {names::INSTANCE_ID: Uuid::from_u128(id).to_string()},
                "annotations": {names::IDENTITY: "o/u/e/p/accounts"},
            },
        });
        if let Some(beside) = beside {
            claim["metadata"]["annotations"][names::BESIDE] = json!(beside);
        }
        serde_json::from_value(claim).unwrap()
    }

    #[test]
    fn volumes_say_which_is_the_databases_and_which_stands_beside_it() {
        let beside = "o/u/e/p/accounts.restore-20261121T143206Z";
        let other = format!("accounts-{:08x}", fnv1a(b"any"));
        let rows = [claim("accounts-1", 1, Some(beside)), claim(&other, 2, None)];
        let rows: Vec<_> = rows.iter().filter_map(row_of).collect();
        let lineage = lineage_of(rows.clone()).unwrap();
        assert_eq!(lineage.first.id.0, Uuid::from_u128(2));
        assert_eq!(lineage.first.objects(), other);
        assert!(lineage.first.record.deletion_protection);
        let kept = &lineage.beside[0];
        assert_eq!(
            (kept.key.to_string(), kept.objects()),
            (beside.into(), "accounts-1".into())
        );
        assert!(!kept.record.deletion_protection, "no manifest could say it");

        // Neither none nor two of them is taken for an answer.
        assert!(lineage_of(rows[..1].to_vec()).is_none());
        let two = [claim("accounts-1", 1, None), claim(&other, 2, None)];
        assert!(lineage_of(two.iter().filter_map(row_of).collect()).is_none());
        let foreign = claim("accounts-1", 1, Some("o/u/e/p/orders.restore-1"));
        assert_eq!(
            row_of(&foreign).unwrap().key.to_string(),
            "o/u/e/p/accounts"
        );
    }
}
