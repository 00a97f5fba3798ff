//! The configuration files of one server: what they should say.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use boma_instance::settings::{self, render_conf, render_hba, render_ident};
use boma_instance::{Assignment, Secret};

/// Where things of one instance are; text, since it goes into configuration files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Directories that settings name.
    pub conf: settings::Paths,
    /// System user that the server runs as.
    pub system_user: String,
}

/// A file that Boma writes for the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileName {
    /// Certificate of the installation's authority.
    Authority,
    /// The server's certificate.
    Certificate,
    /// Its private key.
    Key,
    /// Who may connect.
    Hba,
    /// Which system users are which roles.
    Ident,
    /// Settings. Written last: its fingerprint line speaks for all the others.
    Conf,
}

impl FileName {
    /// All of them, in the order in which they are written.
    pub const ALL: [Self; 6] = [
        Self::Authority,
        Self::Certificate,
        Self::Key,
        Self::Hba,
        Self::Ident,
        Self::Conf,
    ];

    /// Its name on disk.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Authority => "ca.crt",
            Self::Certificate => "server.crt",
            Self::Key => "server.key",
            Self::Hba => "pg_hba.conf",
            Self::Ident => "pg_ident.conf",
            Self::Conf => "postgresql.conf",
        }
    }

    /// Whether it lies in the data directory, and not with the TLS material.
    pub fn is_in_data(self) -> bool {
        match self {
            Self::Authority | Self::Certificate | Self::Key => false,
            Self::Hba | Self::Ident | Self::Conf => true,
        }
    }
}

/// A file and what it should say. The content may be a key and is never shown.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// Which.
    pub name: FileName,
    /// What it should say.
    pub content: Secret<String>,
}

/// A set of configuration files.
#[derive(Clone, Debug, Default)]
pub struct Files {
    contents: BTreeMap<FileName, Secret<String>>,
    fingerprint: String,
}

/// Setting that carries the fingerprint of all files, so that the server itself says which
/// configuration it has loaded ([`boma_postgres::sql::SeenServer::configuration`]). PostgreSQL
/// accepts any setting with a dot in its name.
pub const FINGERPRINT_SETTING: &str = "boma.configuration";

impl Files {
    /// Files as they were read from disk.
    pub fn read(contents: BTreeMap<FileName, Secret<String>>) -> Self {
        Self {
            contents,
            fingerprint: String::new(),
        }
    }

    /// Says the same for the same contents.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Those of these files that are missing or different in `seen`, in writing order.
    pub fn stale(&self, seen: &Self) -> Vec<ConfigFile> {
        self.contents
            .iter()
            .filter(|(name, content)| seen.contents.get(name) != Some(content))
            .map(|(name, content)| ConfigFile {
                name: *name,
                content: content.clone(),
            })
            .collect()
    }
}

/// The files that an assignment asks for.
pub fn wanted(want: &Assignment, paths: &Paths) -> Files {
    let mut contents = BTreeMap::new();
    if let Some(tls) = &want.placement.tls {
        contents.insert(FileName::Authority, Secret::new(tls.authority.clone()));
        contents.insert(FileName::Certificate, Secret::new(tls.certificate.clone()));
        contents.insert(FileName::Key, tls.key.clone());
    }
    contents.insert(FileName::Hba, Secret::new(render_hba(want)));
    contents.insert(
        FileName::Ident,
        Secret::new(render_ident(&paths.system_user)),
    );
    let mut conf = render_conf(want, &paths.conf);
    let mut hash = Fnv64::new();
    for content in contents.values() {
        hash.add(content.expose().as_bytes());
    }
    hash.add(conf.as_bytes());
    let fingerprint = format!("{:016x}", hash.0);
    // Writing to a string does not fail.
    let _infallible = writeln!(conf, "{FINGERPRINT_SETTING} = '{fingerprint}'");
    contents.insert(FileName::Conf, Secret::new(conf));
    Files {
        contents,
        fingerprint,
    }
}

/// FNV-1a, 64 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>), with a separator after each part.
struct Fnv64(u64);

impl Fnv64 {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().chain(&[0]) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
