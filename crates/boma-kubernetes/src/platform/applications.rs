//! What applications are given.

use std::collections::BTreeMap;
use std::net::IpAddr;

use boma_engine::keys::{ApplicationKey, DatabaseKey};
use boma_engine::observed::{DeliveredEnvironment, ObservedApplication};
use boma_engine::platform::{Binding, Environment};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::Inner;
use crate::cluster::Change;
use crate::desired::{Desired, secret_data};
use crate::error::KubernetesError;
use crate::kinds::Kind;
use crate::names::{self, Part};
use crate::records::{ApplicationRow, Variable};

impl Inner {
    pub(super) fn application_place(&self, namespace: &str, key: &ApplicationKey) -> Desired {
        self.record_place(namespace, names::application_record(key))
            .part(Part::Application)
            .label(names::APPLICATION, &*key.name)
            .annotation(names::IDENTITY, key.to_string())
    }

    /// Writes the Secrets first and the record last: what was cut off in between is delivered
    /// again by the next pass.
    pub(super) async fn deliver(
        &self,
        key: &ApplicationKey,
        environment: &Environment,
    ) -> Result<(), KubernetesError> {
        let namespace = self.namespace(&key.project).await?;
        // Nothing is taken away before it is known that all can be given.
        let given = self.given(&namespace, key, environment)?;
        let mut bindings = BTreeMap::new();
        let mut kept = Vec::new();
        let mut copies = None;
        if let Some(secret) = given.copies {
            let found = self.cluster.apply(&secret).await?;
            copies = Some(data_digest(&found.data));
            kept.push(secret.name);
        }
        for binding in &environment.bindings {
            let secret = binding_secret(&self.config.namespace, binding, &namespace);
            let found = self.cluster.apply(&secret).await?;
            bindings.insert(binding.grant.database.clone(), data_digest(&found.data));
            kept.push(secret.name);
        }
        self.remove_bindings(&namespace, key, &kept).await?;
        let mut variables = variables(environment);
        variables.extend(given.variables);
        let aliases = self.aliases(environment.bindings.iter().map(|one| &one.grant.database));
        let place = self.application_place(&namespace, key);
        let fingerprint = &environment.fingerprint;
        self.cluster
            .change(&place, |found: Option<ApplicationRow>| {
                let mut row = found.unwrap_or_else(|| ApplicationRow::new(key.clone()));
                let before = row.delivered.take();
                let serial = before.as_ref().map_or(0, |before| before.serial);
                let is_other =
                    before.is_none_or(|before| before.fingerprint != environment.fingerprint);
                row.delivered = Some(DeliveredEnvironment {
                    fingerprint: fingerprint.clone(),
                    serial: serial + u64::from(is_other),
                });
                row.bindings.clone_from(&bindings);
                row.secrets.clone_from(&given.revisions);
                row.copies.clone_from(&copies);
                row.variables.clone_from(&variables);
                row.aliases.clone_from(&aliases);
                Ok(Change::Write(row, ()))
            })
            .await
    }

    pub(super) async fn forget_application(
        &self,
        key: &ApplicationKey,
    ) -> Result<(), KubernetesError> {
        let Some(namespace) = self.known_namespace(&key.project) else {
            return Ok(());
        };
        self.stop(key).await?;
        self.remove_jobs(&namespace, key, None).await?;
        self.remove_bindings(&namespace, key, &[]).await?;
        let place = self.application_place(&namespace, key);
        self.cluster
            .change(&place, |_found: Option<ApplicationRow>| {
                Ok(Change::Remove(()))
            })
            .await
    }

    /// The names of databases in applications that Boma runs, and the addresses of their Services.
    fn aliases<'d>(
        &self,
        databases: impl Iterator<Item = &'d DatabaseKey>,
    ) -> BTreeMap<String, IpAddr> {
        let found = databases.filter_map(|database| {
            let namespace = self.known_namespace(&database.project)?;
            let name = names::service(database);
            let service = self.cluster.get(Kind::Service, &namespace, &name)?;
            let address = service.data.pointer("/spec/clusterIP")?.as_str()?;
            Some((names::internal(database), address.parse().ok()?))
        });
        found.collect()
    }

    /// Removes the Secrets of grants that the application does not have any more.
    async fn remove_bindings(
        &self,
        namespace: &str,
        key: &ApplicationKey,
        kept: &[String],
    ) -> Result<(), KubernetesError> {
        for secret in self.secrets(Part::Binding) {
            let labels = secret.labels();
            let is_its = secret.namespace().as_deref() == Some(namespace)
                && labels.get(names::APPLICATION).map(String::as_str) == Some(&*key.name);
            if is_its && !kept.contains(&secret.name_any()) {
                self.cluster.delete(Kind::Secret, &secret).await?;
            }
        }
        Ok(())
    }

    /// What is known of an application. An environment whose Secrets are not as they were
    /// delivered counts as not delivered.
    pub(super) fn observed_application(
        &self,
        namespace: &str,
        row: ApplicationRow,
    ) -> ObservedApplication {
        let is_whole =
            row.bindings.iter().all(|(database, digest)| {
                self.holds_binding(namespace, &row.key, database, digest)
            }) && self.holds_copies(namespace, &row)
                && self.aliases(row.bindings.keys()) == row.aliases;
        let (process, conditions) = self.process_of(namespace, &row);
        ObservedApplication {
            delivered: row.delivered.filter(|_| is_whole),
            pre_deploy: row.pre_deploy,
            process,
            held: row.held,
            conditions,
        }
    }

    fn holds_copies(&self, namespace: &str, row: &ApplicationRow) -> bool {
        let name = names::environment(&row.key);
        let found = self.cluster.get(Kind::Secret, namespace, &name);
        found.map(|found| data_digest(&found.data)) == row.copies
    }

    fn holds_binding(
        &self,
        namespace: &str,
        application: &ApplicationKey,
        database: &DatabaseKey,
        digest: &str,
    ) -> bool {
        let grant = boma_engine::keys::GrantKey {
            application: application.clone(),
            database: database.clone(),
        };
        let name = names::binding(&grant);
        let found = self.cluster.get(Kind::Secret, namespace, &name);
        found.is_some_and(|found| data_digest(&found.data) == digest)
    }
}

/// The variables of what runs, each of a grant out of the grant's Secret.
fn variables(environment: &Environment) -> BTreeMap<String, Variable> {
    let plain = environment.plain.iter();
    let plain = plain.map(|(name, text)| (name.clone(), Variable::Text(text.clone())));
    let bound = environment.bindings.iter().map(|binding| {
        let variable = Variable::Secret {
            name: names::binding(&binding.grant),
            key: binding.env_var.clone(),
        };
        (binding.env_var.clone(), variable)
    });
    plain.chain(bound).collect()
}

fn data_digest(object: &Value) -> String {
    let data = object.get("data").map(ToString::to_string);
    names::digest_of(data.unwrap_or_default().as_bytes())
}

/// The Secret of one grant: the variable that was asked for, the keys that CloudNativePG has, and
/// those of servicebinding.io.
fn binding_secret(home: &str, binding: &Binding, namespace: &str) -> Desired {
    let Binding {
        env_var,
        grant,
        host,
        port,
        database,
        credential,
        uri,
    } = binding;
    let (username, password) = (&credential.role, credential.password.expose());
    let port = port.to_string();
    let jdbc =
        format!("jdbc:postgresql://{host}:{port}/{database}?user={username}&password={password}");
    let pgpass = format!("{host}:{port}:{database}:{username}:{password}\n");
    let mut entries = BTreeMap::from([
        ("type", "postgresql"),
        ("provider", "boma"),
        ("username", username.as_str()),
        ("user", username.as_str()),
        ("password", password.as_str()),
        ("dbname", database.as_str()),
        ("database", database.as_str()),
        ("host", host.as_str()),
        ("port", port.as_str()),
        ("uri", uri.expose().as_str()),
        ("jdbc-uri", jdbc.as_str()),
        ("pgpass", pgpass.as_str()),
    ]);
    entries.insert(env_var.as_str(), uri.expose().as_str());
    let entries = entries
        .into_iter()
        .map(|(name, value)| (name, value.as_bytes()));
    let body = json!({
        "type": "servicebinding.io/postgresql",
        "data": secret_data(entries),
    });
    Desired::new(home, Kind::Secret, namespace, names::binding(grant), body)
        .part(Part::Binding)
        .label(names::APPLICATION, &*grant.application.name)
        .annotation(names::IDENTITY, grant.to_string())
}
