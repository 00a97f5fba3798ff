//! Credentials of grants, in Secrets beside their databases.

use boma_engine::keys::GrantKey;
use boma_engine::platform::{ActiveLogin, AskedRotation, Credential};
use boma_instance::names::Turn;
use serde_json::json;

use super::Inner;
use crate::cluster::{Change, record};
use crate::desired::Desired;
use crate::error::KubernetesError;
use crate::kinds::Kind;
use crate::names::{self, Part};
use crate::records::{GrantRow, Login, LoginRow};

impl Inner {
    fn grant_place(&self, grant: &GrantKey) -> Option<Desired> {
        let namespace = self.known_namespace(&grant.database.project)?;
        let home = &self.config.namespace;
        let name = names::grant(grant);
        let place = Desired::new(home, Kind::Secret, &namespace, name, json!({}));
        let place = place
            .part(Part::Grant)
            .label(names::DATABASE, &*grant.database.name)
            .annotation(names::IDENTITY, grant.to_string());
        Some(place)
    }

    pub(super) async fn store_credential(
        &self,
        grant: &GrantKey,
        turn: Turn,
        credential: &Credential,
    ) -> Result<(), KubernetesError> {
        self.namespace(&grant.database.project).await?;
        let Some(place) = self.grant_place(grant) else {
            return Err(KubernetesError::NoCredential {
                grant: grant.clone(),
            });
        };
        self.cluster
            .change(&place, |found: Option<GrantRow>| {
                let mut row = found.unwrap_or_else(|| GrantRow {
                    application: grant.application.clone(),
                    database: grant.database.clone(),
                    active: turn.into(),
                    logins: std::collections::BTreeMap::new(),
                    asked: 0,
                    draining: None,
                });
                if row.is_in_use(turn) {
                    return Err(KubernetesError::PasswordInUse {
                        grant: grant.clone(),
                    });
                }
                row.logins.insert(turn.into(), LoginRow::from(credential));
                Ok(Change::Write(row, ()))
            })
            .await
    }

    pub(super) fn credential(
        &self,
        grant: &GrantKey,
        turn: Turn,
    ) -> Result<Credential, KubernetesError> {
        let missing = || KubernetesError::NoCredential {
            grant: grant.clone(),
        };
        let place = self.grant_place(grant).ok_or_else(missing)?;
        let secret = self
            .cluster
            .get(Kind::Secret, &place.namespace, &place.name);
        let row: GrantRow = record(&*secret.ok_or_else(missing)?)?;
        let login = row.logins.get(&Login::from(turn)).ok_or_else(missing)?;
        Ok(Credential::from(login))
    }

    pub(super) async fn activate_login(
        &self,
        grant: &GrantKey,
        login: ActiveLogin,
    ) -> Result<(), KubernetesError> {
        let other = || KubernetesError::OtherPassword {
            grant: grant.clone(),
        };
        let place = self.grant_place(grant).ok_or_else(other)?;
        self.cluster
            .change(&place, |found: Option<GrantRow>| {
                let mut row = found.ok_or_else(other)?;
                let turn = Login::from(login.turn);
                if row.logins.get(&turn).map(|stored| stored.serial) != Some(login.serial) {
                    return Err(other());
                }
                if row.active == turn {
                    return Ok(Change::Keep(()));
                }
                row.active = turn;
                row.draining = Some(login.since);
                Ok(Change::Write(row, ()))
            })
            .await
    }

    /// Remembers that a person asks for a password with at least this number. One that is asked for
    /// while an exchange goes on is the one that is under way.
    pub(super) async fn ask_rotation(
        &self,
        grant: &GrantKey,
        at_least: u64,
    ) -> Result<AskedRotation, KubernetesError> {
        let missing = || KubernetesError::NoCredential {
            grant: grant.clone(),
        };
        let place = self.grant_place(grant).ok_or_else(missing)?;
        self.cluster
            .change(&place, |found: Option<GrantRow>| {
                let mut row = found.ok_or_else(missing)?;
                let active = row.logins.get(&row.active).ok_or_else(missing)?.serial;
                if row.draining.is_some() || row.asked > active {
                    return Ok(Change::Keep(AskedRotation::GoesOn));
                }
                let newest = row.logins.values().map(|login| login.serial).max();
                row.asked = at_least.max(1 + newest.unwrap_or(active));
                Ok(Change::Write(row, AskedRotation::Begins))
            })
            .await
    }

    pub(super) async fn release_login(&self, grant: &GrantKey) -> Result<(), KubernetesError> {
        let Some(place) = self.grant_place(grant) else {
            return Ok(());
        };
        self.cluster
            .change(&place, |found: Option<GrantRow>| {
                Ok(match found {
                    Some(mut row) if row.draining.is_some() => {
                        row.draining = None;
                        Change::Write(row, ())
                    }
                    Some(_) | None => Change::Keep(()),
                })
            })
            .await
    }

    pub(super) async fn forget_grant(&self, grant: &GrantKey) -> Result<(), KubernetesError> {
        let Some(place) = self.grant_place(grant) else {
            return Ok(());
        };
        self.cluster
            .change(&place, |_found: Option<GrantRow>| Ok(Change::Remove(())))
            .await
    }
}
