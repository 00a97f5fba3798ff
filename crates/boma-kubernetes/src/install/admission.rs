//! What leads the API server to Boma, so that it asks before it stores a custom resource.

use kube::core::ApiResource;
use serde_json::{Value, json};

use super::{InstallOptions, NAME, Right, labels, resource};
use crate::definitions::{GROUP, VERSION};

/// Name of the webhook.
pub(crate) const WEBHOOK: &str = "resources.lowops.manifests";
/// Where it is asked.
pub(crate) const PATH: &str = "/validate";
/// The port of the pod.
pub(super) const PORT: u16 = 9443;
/// How long the API server waits for an answer, in seconds. It takes milliseconds.
const TIMEOUT: u8 = 5;

const API: &str = "admissionregistration.k8s.io/v1";
const KIND: &str = "ValidatingWebhookConfiguration";

/// What Boma may do to the configuration of its webhook, and to no other.
pub(super) const RIGHT: Right = Right {
    group: "admissionregistration.k8s.io",
    resources: &["validatingwebhookconfigurations"],
    verbs: &["get", "patch"],
    why: "the authority of its webhook's certificate",
};

/// Name and resource of the configuration of an installation.
pub(crate) fn configuration(home: &str) -> (String, ApiResource) {
    (name(home), resource(API, KIND))
}

/// Its name; unlike those of roles, it may have no colon.
pub(super) fn name(home: &str) -> String {
    format!("{NAME}.{home}")
}

/// The names that the API server knows the webhook by.
pub(crate) fn server_names(home: &str) -> Vec<String> {
    vec![format!("{NAME}.{home}.svc")]
}

/// The Service, and the configuration; the authority is added by the Boma that runs.
pub(super) fn objects(options: &InstallOptions) -> [Value; 2] {
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": options.metadata(NAME),
        "spec": {
            "selector": options.selector(),
            "ports": [{"name": "admission", "port": 443, "targetPort": PORT, "protocol": "TCP"}],
        },
    });
    let rule = json!({
        "apiGroups": [GROUP], "apiVersions": [VERSION],
        "resources": ["databases", "applications"],
        "operations": ["CREATE", "UPDATE", "DELETE"], "scope": "Namespaced",
    });
    let webhook = json!({
        "name": WEBHOOK,
        "clientConfig": {"service": {
            "namespace": options.namespace, "name": NAME, "path": PATH, "port": 443,
        }},
        "rules": [rule],
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": TIMEOUT,
        // The engine looks at everything again: without Boma, nothing is held up by its absence.
        "failurePolicy": "Ignore",
    });
    let configuration = json!({
        "apiVersion": API, "kind": KIND,
        "metadata": {"name": name(&options.namespace), "labels": labels()},
        "webhooks": [webhook],
    });
    [service, configuration]
}
