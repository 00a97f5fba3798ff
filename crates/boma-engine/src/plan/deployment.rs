//! What an application is run with.

use std::sync::Arc;

use boma_instance::Listen;
use boma_instance::names::Turn;

use crate::catalog::{Commands, Variables};
use crate::fingerprint::{Connection, Digests, Fingerprints};
use crate::keys::{DatabaseKey, GrantKey};

/// Everything that a run of an application is made of, but for what only acting can know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Its own variables.
    pub variables: Arc<Variables>,
    /// What runs.
    pub commands: Arc<Commands>,
    /// Connection strings.
    pub bindings: Vec<PlannedBinding>,
    /// The part of the fingerprints that follows from variables and commands.
    pub digests: Digests,
}

/// A connection string whose host may not be known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedBinding {
    /// The variable that receives it.
    pub env_var: String,
    /// Which grant.
    pub grant: GrantKey,
    /// Which of its logins.
    pub turn: Turn,
    /// The login's role name.
    pub role: String,
    /// Stands for the password.
    pub serial: u64,
    /// Name inside PostgreSQL.
    pub database: String,
    /// Where it listens; none: known when the platform has placed it, earlier in the plan.
    pub reach: Option<Reach>,
}

/// Where a database is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl From<&Listen> for Reach {
    fn from(listen: &Listen) -> Self {
        Self {
            host: listen.host(),
            port: listen.port,
        }
    }
}

impl Deployment {
    /// Where each binding leads, with what acting has learnt; none while one is not known.
    pub fn reached(
        &self,
        placed: impl Fn(&DatabaseKey) -> Option<Reach>,
    ) -> Option<Vec<(&PlannedBinding, Reach)>> {
        let reached = self.bindings.iter().map(|binding| {
            let reach = placed(&binding.grant.database).or_else(|| binding.reach.clone())?;
            Some((binding, reach))
        });
        reached.collect()
    }

    /// The fingerprints, once every host is known; none while one is not.
    pub fn fingerprints(
        &self,
        placed: impl Fn(&DatabaseKey) -> Option<Reach>,
    ) -> Option<Fingerprints> {
        let reached = self.reached(placed)?;
        Some(
            self.digests
                .with(reached.iter().map(|(binding, reach)| Connection {
                    env_var: &binding.env_var,
                    role: &binding.role,
                    serial: binding.serial,
                    host: &reach.host,
                    port: reach.port,
                    database: &binding.database,
                })),
        )
    }
}
