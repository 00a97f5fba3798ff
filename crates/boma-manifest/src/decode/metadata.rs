//! Decoding of `metadata`.

use std::collections::BTreeMap;

use crate::decode::{Decode, Fields, Input};
use crate::metadata::{Metadata, ProjectIdentity};

/// Free text by free name.
struct FreeMap(BTreeMap<String, String>);

impl Decode for FreeMap {
    fn decode(input: Input<'_>) -> Option<Self> {
        input
            .map(|value, name| Some((name.to_owned(), value.free_text()?)))
            .map(Self)
    }
}

impl Decode for Metadata {
    fn decode(input: Input<'_>) -> Option<Self> {
        let mut fields = Fields::of(input)?;
        let name = fields.required("name", "accounts-db");
        let organization = fields.required("organization", "fincorp");
        let organizational_unit = fields.required("organizational-unit", "retail-banking");
        let environment = fields.required("environment", "development");
        let project = fields.required("project", "login-svc");
        let labels = fields.optional("labels");
        let annotations = fields.optional("annotations");
        fields.finish();
        let free = |map: Option<FreeMap>| map.map(|FreeMap(map)| map).unwrap_or_default();
        Some(Self {
            name: name?,
            project: ProjectIdentity {
                organization: organization?,
                organizational_unit: organizational_unit?,
                environment: environment?,
                project: project?,
            },
            labels: free(labels),
            annotations: free(annotations),
        })
    }
}
