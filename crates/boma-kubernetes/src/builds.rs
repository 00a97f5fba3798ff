//! What the PostgreSQL in the official images can do.
//!
//! Nodes pull images, and none may be there when a manifest is checked. So what they can do is
//! written down here: settings and extensions of PostgreSQL with its contrib modules, which is what
//! the official images hold. `scripts/describe-postgres.sh` writes a table for another build.

use std::collections::BTreeSet;

use boma_engine::observed::ServerBuild;
use boma_instance::MajorVersion;
use boma_instance::settings::{ParameterContext, ServerParameter, ServerParameters};

/// Every version that is known, oldest first.
pub fn known() -> Vec<ServerBuild> {
    MajorVersion::ALL.into_iter().map(build).collect()
}

fn build(major: MajorVersion) -> ServerBuild {
    let table = match major {
        MajorVersion::V15 => include_str!("builds/15.tsv"),
        MajorVersion::V16 => include_str!("builds/16.tsv"),
        MajorVersion::V17 => include_str!("builds/17.tsv"),
        MajorVersion::V18 => include_str!("builds/18.tsv"),
    };
    let mut parameters = ServerParameters::new();
    let mut extensions = BTreeSet::new();
    for line in table.lines() {
        match line.split('\t').collect::<Vec<_>>().as_slice() {
            ["setting", name, effect, vartype, min, max] => {
                let parameter = ServerParameter {
                    context: context(effect),
                    vartype: (*vartype).to_owned(),
                    min: min.parse().ok(),
                    max: max.parse().ok(),
                };
                parameters.insert((*name).to_owned(), parameter);
            }
            ["extension", name] => {
                extensions.insert((*name).to_owned());
            }
            _ => {}
        }
    }
    ServerBuild {
        major,
        version: major.to_string(),
        parameters,
        extensions,
    }
}

fn context(word: &str) -> ParameterContext {
    match word {
        "postmaster" => ParameterContext::Postmaster,
        "reload" => ParameterContext::Reload,
        "session" => ParameterContext::Session,
        _ => ParameterContext::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_has_settings_with_limits_and_the_usual_extensions() {
        let known = known();
        assert_eq!(known.len(), MajorVersion::ALL.len());
        for build in known {
            assert!(build.parameters.len() > 300, "{}", build.major);
            let limit = &build.parameters["max_connections"];
            assert_eq!(limit.context, ParameterContext::Postmaster);
            assert_eq!((limit.min, limit.vartype.as_str()), (Some(1.0), "INTEGER"));
            for name in ["pg_stat_statements", "pgcrypto", "uuid-ossp"] {
                assert!(build.extensions.contains(name), "{} {name}", build.major);
            }
        }
    }
}
