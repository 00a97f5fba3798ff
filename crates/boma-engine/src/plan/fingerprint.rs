//! Fingerprints: the same for the same environment and commands, different for different ones,
//! stable across releases and machines, and without any secret in them.

use std::collections::BTreeMap;

use boma_instance::names::Turn;

use crate::keys::{DatabaseKey, GrantKey};
use crate::platform::Program;

/// Everything that a run of an application is made of, but for what only acting can know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Plain variables.
    pub plain: BTreeMap<String, String>,
    /// Variables that take the value of a secret of the platform, by the secret's name.
    pub secrets: BTreeMap<String, String>,
    /// Connection strings.
    pub bindings: Vec<PlannedBinding>,
    /// What runs.
    pub run: Option<Program>,
    /// What runs before it.
    pub pre_deploy: Option<Program>,
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

/// A fingerprint of an environment, and of a deployment with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprints {
    /// Of the environment alone.
    pub environment: String,
    /// Of environment and commands.
    pub deployment: String,
}

impl Deployment {
    /// Where a binding leads, with what acting has learnt; none while it is not known.
    pub fn reach<'a>(
        binding: &'a PlannedBinding,
        placed: &'a impl Fn(&DatabaseKey) -> Option<Reach>,
    ) -> Option<Reach> {
        placed(&binding.grant.database).or_else(|| binding.reach.clone())
    }

    /// The fingerprints, once every host is known; none while one is not.
    pub fn fingerprints(
        &self,
        placed: impl Fn(&DatabaseKey) -> Option<Reach>,
    ) -> Option<Fingerprints> {
        let mut hash = Fnv128::new();
        hash.map(&self.plain);
        hash.map(&self.secrets);
        for binding in &self.bindings {
            let reach = Self::reach(binding, &placed)?;
            hash.text(&binding.env_var);
            hash.text(&binding.role);
            hash.number(binding.serial);
            hash.text(&reach.host);
            hash.number(u64::from(reach.port));
            hash.text(&binding.database);
        }
        let environment = hash.finish();
        for program in [&self.run, &self.pre_deploy] {
            hash.program(program.as_ref());
        }
        Some(Fingerprints {
            environment,
            deployment: hash.finish(),
        })
    }
}

/// FNV-1a, 128 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>). Nobody gains by a collision
/// in their own environment, so a cryptographic hash would buy nothing.
#[derive(Clone, Copy)]
struct Fnv128(u128);

impl Fnv128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

    fn new() -> Self {
        Self(Self::OFFSET)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(Self::PRIME);
        }
    }

    fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    /// The length goes first, so that no two lists of texts read the same.
    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.bytes(text.as_bytes());
    }

    fn map(&mut self, map: &BTreeMap<String, String>) {
        self.number(map.len() as u64);
        for (name, value) in map {
            self.text(name);
            self.text(value);
        }
    }

    fn program(&mut self, program: Option<&Program>) {
        let Some(program) = program else {
            return self.number(0);
        };
        self.number(program.command.len() as u64);
        for word in &program.command {
            self.text(word);
        }
        self.text(program.working_directory.as_deref().unwrap_or_default());
    }

    fn finish(self) -> String {
        format!("{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv1a_of_128_bits() {
        // Test vectors of the reference page.
        assert_eq!(Fnv128::new().finish(), "6c62272e07bb014262b821756295c58d");
        let mut hash = Fnv128::new();
        hash.bytes(b"foobar");
        assert_eq!(hash.finish(), "343e1662793c64bf6f0d3597ba446f18");
    }

    #[test]
    fn what_moves_between_fields_changes_the_fingerprint() {
        let of = |plain: &[(&str, &str)]| {
            let deployment = Deployment {
                plain: plain
                    .iter()
                    .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                    .collect(),
                secrets: BTreeMap::new(),
                bindings: Vec::new(),
                run: None,
                pre_deploy: None,
            };
            deployment.fingerprints(|_| None).unwrap().environment
        };
        assert_ne!(of(&[("A", "BC")]), of(&[("AB", "C")]));
        assert_ne!(of(&[("A", "")]), of(&[]));
        assert_eq!(of(&[("A", "1")]), of(&[("A", "1")]));
    }
}
