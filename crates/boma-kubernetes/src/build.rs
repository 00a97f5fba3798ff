//! The objects of a database. Pure: from what is recorded to what should be there, and nothing is
//! looked up.

mod application;
mod pod;
mod quantity;

pub(crate) use pod::GOES_WITHIN;

use std::collections::BTreeSet;

use boma_engine::keys::{ApplicationKey, DatabaseKey};
use boma_instance::api::pod as files;
use boma_instance::{Assignment, InstanceSpec};
use serde_json::{Value, json};

use crate::config::Identity;
use crate::desired::{Desired, secret_data};
use crate::kinds::Kind;
use crate::names::{self, Part};
pub(crate) use application::Running;

/// Port of PostgreSQL.
pub(crate) const PORT: u16 = 5432;

/// Annotation of the instance's Secret: until when its certificate is good.
pub(crate) const CERTIFICATE_UNTIL: &str = "lowops.manifests/certificate-until";

/// What the objects of a database are made of, besides its spec.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting<'a> {
    /// Which database.
    pub(crate) key: &'a DatabaseKey,
    /// Name of its instance's objects.
    pub(crate) objects: &'a str,
    /// Namespace of its project.
    pub(crate) namespace: &'a str,
    /// Namespace of Boma itself.
    pub(crate) home: &'a str,
    /// PostgreSQL's image.
    pub(crate) image: &'a str,
    /// The image with this program.
    pub(crate) agent_image: &'a str,
    /// User and group that it runs as.
    pub(crate) user: u32,
    /// Secrets to pull images with.
    pub(crate) pull_secrets: &'a [String],
    /// What its pod is to the cloud.
    pub(crate) identity: Option<&'a Identity>,
}

impl Setting<'_> {
    /// An object about the database.
    fn object(&self, kind: Kind, name: String, body: Value) -> Desired {
        Desired::new(self.home, kind, self.namespace, name, body)
            .label(names::DATABASE, self.label())
            .annotation(names::IDENTITY, self.key.to_string())
    }

    /// An object about its one instance.
    fn of_instance(&self, kind: Kind, spec: &InstanceSpec, body: Value) -> Desired {
        self.object(kind, self.objects.to_owned(), body)
            .label(names::INSTANCE_ID, spec.id.to_string())
    }

    /// What objects and pods are labelled with. What stands beside a database is not taken for it,
    /// and its name may be too long for a label.
    fn label(&self) -> &str {
        if names::is_beside(self.key) {
            self.objects
        } else {
            &self.key.name
        }
    }
}

/// The namespace of a project.
pub(crate) fn namespace(home: &str, name: String, project: &str) -> Desired {
    Desired::new(home, Kind::Namespace, "", name, json!({}))
        .label(names::PROJECT, names::project_digest(project))
        .annotation(names::IDENTITY, project)
}

/// What clients connect to. Its one pod is listed whether ready or not: while there is no other,
/// a server that is just starting says so, and a pod that does not answer says nothing; leaving it
/// out would not make either better. It leads to one instance: of a replaced one that somebody
/// starts by hand, no client ever hears.
pub(crate) fn service(setting: &Setting<'_>, spec: &InstanceSpec) -> Desired {
    let body = json!({"spec": {
        "type": "ClusterIP",
        "selector": {
            names::INSTALLATION: setting.home,
            names::INSTANCE_ID: spec.id.to_string(),
        },
        "publishNotReadyAddresses": true,
        "ports": [{"name": "postgresql", "port": PORT, "targetPort": "postgresql", "protocol": "TCP"}],
    }});
    setting.object(Kind::Service, names::service(setting.key), body)
}

/// What the pods of a project's databases are to the cloud.
pub(crate) fn service_account(setting: &Setting<'_>) -> Option<Desired> {
    let identity = setting.identity?;
    // Clouds mount tokens of their own, for those who are to take them only.
    let body = json!({"automountServiceAccountToken": false});
    let name = identity.service_account.clone();
    let account = Desired::new(
        setting.home,
        Kind::ServiceAccount,
        setting.namespace,
        name,
        body,
    );
    let annotations = identity.annotations.iter();
    Some(annotations.fold(account, |account, (key, value)| {
        account.annotation(key, value)
    }))
}

/// The data. It belongs to the database, whether its instance is the one of the database or stands
/// beside it: a mark on the claim says that, and the two change places without another word here.
pub(crate) fn volume_claim(setting: &Setting<'_>, spec: &InstanceSpec) -> Desired {
    let mut body = json!({"spec": {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": quantity::bytes(spec.resources.storage_bytes)}},
    }});
    if let Some(class) = &spec.storage_class {
        body["spec"]["storageClassName"] = class.as_str().into();
    }
    let database = names::base(setting.key);
    setting
        .of_instance(Kind::VolumeClaim, spec, body)
        .label(names::DATABASE, &*database.name)
        .annotation(names::IDENTITY, database.to_string())
}

/// What the instance's pod mounts.
pub(crate) fn secret(
    setting: &Setting<'_>,
    assignment: &[u8],
    given: &Assignment,
    token: &str,
) -> Desired {
    let (certificate, key) = match &given.placement.tls {
        Some(tls) => (tls.certificate.as_str(), tls.key.expose().as_str()),
        None => ("", ""),
    };
    // initdb asks the system what its user is called, and images know users of their own only.
    let user = setting.user;
    let passwd = format!("postgres:x:{user}:{user}:PostgreSQL:/var/lib/boma:/bin/false\n");
    let entries = [
        (files::ASSIGNMENT, assignment),
        (files::CERTIFICATE, certificate.as_bytes()),
        (files::KEY, key.as_bytes()),
        (files::TOKEN, token.as_bytes()),
        (pod::PASSWD, passwd.as_bytes()),
    ];
    let body = json!({"type": "Opaque", "data": secret_data(entries)});
    setting
        .of_instance(Kind::Secret, &given.spec, body)
        .part(Part::Instance)
}

/// The server.
pub(crate) fn stateful_set(setting: &Setting<'_>, spec: &InstanceSpec, replicas: u8) -> Desired {
    let body = json!({"spec": {
        "replicas": replicas,
        "serviceName": names::service(setting.key),
        // Boma restarts servers, and says why; a changed template alone restarts nothing.
        "updateStrategy": {"type": "OnDelete"},
        "podManagementPolicy": "OrderedReady",
        "revisionHistoryLimit": 1,
        "selector": {"matchLabels": {names::INSTANCE_ID: spec.id.to_string()}},
        "template": pod::template(setting, spec),
    }});
    setting.of_instance(Kind::StatefulSet, spec, body)
}

/// Who may reach the server: granted applications its port, and Boma its agent.
pub(crate) fn network_policy(setting: &Setting<'_>, spec: &InstanceSpec) -> Desired {
    let granted: BTreeSet<String> = spec
        .logins
        .iter()
        .filter(|login| login.verifier.is_some())
        .map(|login| login.comment.clone())
        .collect();
    let clients: Vec<Value> = granted
        .iter()
        .filter_map(|comment| comment.parse::<ApplicationKey>().ok())
        .map(|application| {
            json!({
                "namespaceSelector": {"matchLabels": {
                    names::PROJECT: names::project_digest(&application.project),
                }},
                "podSelector": {"matchLabels": {names::APPLICATION: *application.name}},
            })
        })
        .collect();
    let mut ingress = vec![json!({
        "from": [{
            // The namespace is known by what Boma wrote into it, its pods by what runs there.
            "namespaceSelector": {"matchLabels": {names::INSTALLATION: setting.home}},
            "podSelector": {"matchLabels": {names::APP_NAME: "boma"}},
        }],
        "ports": [{"port": files::PORT, "protocol": "TCP"}],
    })];
    // Without a client there is no rule: an empty list of clients would admit everybody.
    if !clients.is_empty() {
        ingress.push(json!({
            "from": clients,
            "ports": [{"port": PORT, "protocol": "TCP"}],
        }));
    }
    let body = json!({"spec": {
        "podSelector": {"matchLabels": {names::INSTANCE_ID: spec.id.to_string()}},
        "policyTypes": ["Ingress"],
        "ingress": ingress,
    }});
    setting
        .object(
            Kind::NetworkPolicy,
            names::network_policy(setting.objects),
            body,
        )
        .label(names::INSTANCE_ID, spec.id.to_string())
}

#[cfg(test)]
mod tests;
