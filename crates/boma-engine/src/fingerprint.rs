//! Fingerprints: the same for the same environment and commands, different for different ones,
//! stable across releases and machines, and without any password in them.

use std::collections::BTreeMap;
use std::fmt;

use crate::catalog::{Commands, Variables};
use crate::platform::{Program, Workload};

/// A fingerprint of 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u128);

impl Fingerprint {
    /// Of some texts in their order.
    pub(crate) fn of_texts(texts: &[&str]) -> Self {
        let mut hash = Fnv128::new();
        for text in texts {
            hash.text(text);
        }
        Self(hash.0)
    }

    /// Whether a text is this fingerprint. Asked for every application in every pass, so nothing
    /// is written to memory for it.
    pub fn is(self, text: &str) -> bool {
        let digits = (0..32).rev().map(|place| (self.0 >> (place * 4)) & 0xf);
        let digits = digits.map(|digit| b"0123456789abcdef"[digit as usize & 0xf]);
        text.len() == 32 && digits.eq(text.bytes())
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Fingerprints of an environment, and of a deployment with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprints {
    /// Of the environment alone.
    pub environment: Fingerprint,
    /// Of environment and commands.
    pub deployment: Fingerprint,
}

/// The part of a fingerprint that follows from the manifest alone; made once for each manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digests {
    variables: Fnv128,
    commands: u128,
}

impl Digests {
    /// Digests variables, secrets by name, and commands.
    pub(crate) fn of(variables: &Variables, commands: &Commands) -> Self {
        let mut environment = Fnv128::new();
        environment.map(&variables.plain);
        environment.map(&variables.secrets);
        let mut hash = Fnv128::new();
        hash.workload(commands.run.as_ref());
        hash.program(commands.pre_deploy.as_ref());
        Self {
            variables: environment,
            commands: hash.0,
        }
    }

    /// With the secrets that are named being those of these revisions. Without any, what it was.
    pub(crate) fn revised<'r>(mut self, revisions: impl IntoIterator<Item = &'r str>) -> Self {
        for revision in revisions {
            self.variables.text(revision);
        }
        self
    }

    /// The whole fingerprints, with the connection strings.
    pub(crate) fn with<'b>(
        &self,
        connections: impl IntoIterator<Item = Connection<'b>>,
    ) -> Fingerprints {
        let mut hash = self.variables;
        for one in connections {
            hash.text(one.env_var);
            hash.text(one.role);
            hash.number(one.serial);
            hash.text(one.host);
            hash.number(u64::from(one.port));
            hash.text(one.database);
        }
        let environment = Fingerprint(hash.0);
        hash.bytes(&self.commands.to_le_bytes());
        Fingerprints {
            environment,
            deployment: Fingerprint(hash.0),
        }
    }
}

/// What a connection string is made of; a serial stands for the password.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection<'b> {
    pub(crate) env_var: &'b str,
    pub(crate) role: &'b str,
    pub(crate) serial: u64,
    pub(crate) host: &'b str,
    pub(crate) port: u16,
    pub(crate) database: &'b str,
}

/// FNV-1a, 128 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>). Nobody gains by a collision
/// in their own environment, so a cryptographic hash would buy nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

    /// A process is hashed as its program, as it was before there was anything else to run.
    fn workload(&mut self, workload: Option<&Workload>) {
        match workload {
            None => self.program(None),
            Some(Workload::Process(program)) => self.program(Some(program)),
            Some(Workload::Containers {
                image,
                port,
                replicas,
            }) => {
                self.number(u64::MAX);
                self.text(image);
                self.number(port.map_or(0, u64::from));
                self.number(u64::from(*replicas));
            }
            Some(Workload::Attached { kind, name }) => {
                self.number(u64::MAX - 1);
                self.text(&kind.to_string());
                self.text(name);
            }
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv1a_of_128_bits() {
        // Test vectors of the reference page.
        let mut hash = Fnv128::new();
        assert_eq!(
            Fingerprint(hash.0).to_string(),
            "6c62272e07bb014262b821756295c58d"
        );
        hash.bytes(b"foobar");
        assert_eq!(
            Fingerprint(hash.0).to_string(),
            "343e1662793c64bf6f0d3597ba446f18"
        );
    }

    #[test]
    fn a_fingerprint_is_its_own_text_and_no_other() {
        let print = Fingerprint(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert!(print.is(&print.to_string()));
        assert!(!print.is("0123456789abcdef0123456789abcdee"));
        assert!(!print.is("0123456789abcdef"));
    }

    #[test]
    fn what_moves_between_fields_changes_the_fingerprint() {
        let of = |plain: &[(&str, &str)], word: &str| {
            let texts = plain
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            let variables = Variables {
                plain: texts.collect(),
                ..Variables::default()
            };
            let program = Program {
                command: vec![word.to_owned()],
                working_directory: None,
            };
            let commands = Commands {
                run: Some(Workload::Process(program)),
                pre_deploy: None,
            };
            Digests::of(&variables, &commands).with([])
        };
        let base = of(&[("A", "BC")], "run");
        assert_ne!(base.environment, of(&[("AB", "C")], "run").environment);
        assert_ne!(
            of(&[("A", "")], "run").environment,
            of(&[], "run").environment
        );
        assert_eq!(base.environment, of(&[("A", "BC")], "walk").environment);
        assert_ne!(base.deployment, of(&[("A", "BC")], "walk").deployment);
        assert_eq!(base, of(&[("A", "BC")], "run"));
        let digests = Digests::of(&Variables::default(), &Commands::default());
        assert_eq!(digests.revised([]), digests);
        let [one, other] = ["1", "2"].map(|revision| digests.revised([revision]).with([]));
        assert_ne!(one.environment, other.environment);
        assert_ne!(one.environment, digests.with([]).environment);
    }
}
