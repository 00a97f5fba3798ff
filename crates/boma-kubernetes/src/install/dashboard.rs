//! What leads people to the dashboard.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};

use super::{InstallOptions, NAME, Right};
use crate::definitions::GROUP;

/// What Boma may do besides where there is a dashboard: the last of it where it reads custom
/// resources.
pub(super) const RIGHTS: [Right; 2] = [
    Right {
        group: "",
        resources: &["pods/log"],
        verbs: &["get"],
        why: "what applications print, shown in the dashboard",
    },
    Right {
        group: GROUP,
        resources: &["databases", "applications"],
        verbs: &["create", "patch", "delete"],
        why: "changes that people make in the dashboard",
    },
];

/// How the dashboard of an installed Boma is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstalledDashboard {
    /// By `kubectl port-forward`, which comes from within the pod: nobody else reaches it.
    Forwarded,
    /// By its Service, from something that encrypts.
    BehindProxy,
}

impl InstalledDashboard {
    /// The port of the pod.
    pub const PORT: u16 = 9480;

    /// Where it listens.
    pub(super) fn address(self) -> String {
        let address = match self {
            Self::Forwarded => Ipv4Addr::LOCALHOST,
            Self::BehindProxy => Ipv4Addr::UNSPECIFIED,
        };
        SocketAddr::from((address, Self::PORT)).to_string()
    }

    /// Whether the Service should lead to a pod; none: it leads there by no other way than from
    /// within. Not whether everything was measured: what is wrong has to be seen.
    pub(super) fn probe(self) -> Option<Value> {
        match self {
            Self::Forwarded => None,
            Self::BehindProxy => Some(json!({
                "httpGet": {
                    "path": "/healthz", "port": Self::PORT,
                    // Requests for hosts that it does not know are refused.
                    "httpHeaders": [{"name": "Host", "value": "localhost"}],
                },
                "periodSeconds": 5,
            })),
        }
    }
}

/// What Boma may do besides.
pub(super) fn rights(reads_resources: bool) -> &'static [Right] {
    if reads_resources {
        &RIGHTS
    } else {
        &RIGHTS[..1]
    }
}

/// The Service.
pub(super) fn service(options: &InstallOptions) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": options.metadata(&format!("{NAME}-dashboard")),
        "spec": {
            "type": "ClusterIP",
            "selector": options.selector(),
            "ports": [{
                "name": "http", "port": 80, "targetPort": InstalledDashboard::PORT,
                "protocol": "TCP",
            }],
        },
    })
}
