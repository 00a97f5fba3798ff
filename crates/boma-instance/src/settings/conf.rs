//! `postgresql.conf`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::archive;
use super::derive::derive;
use super::owned::owned;
use super::parameters::{Name, is_safe_value};
use super::preload::preload_libraries;
use crate::statements::EXTENSION;
use crate::{Assignment, InstanceSpec, MajorVersion};

/// Where things of one instance are; text, since it goes into configuration files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The data directory; `pg_hba.conf` and `pg_ident.conf` are in it.
    pub data: String,
    /// Directory of the Unix sockets.
    pub sockets: String,
    /// Directory of `server.crt` and `server.key`.
    pub tls: String,
    /// The `boma` program, which carries WAL files between the server and its agent.
    pub boma: String,
}

/// Settings of a server without those that the platform owns: derived ones, changed by the user's
/// `parameters`, with the libraries that its extensions need. Names are in lower case.
///
/// A parameter whose name is not one, whose value is not text, or which the platform owns is left
/// out: it was refused at plan time, and must not take effect if it ever gets past that.
pub fn effective(spec: &InstanceSpec) -> BTreeMap<String, String> {
    let mut settings: BTreeMap<_, _> = derive(spec)
        .into_iter()
        .map(|(name, derived)| (name.to_owned(), derived.value))
        .collect();
    for (name, value) in &spec.parameters {
        let name = name.to_ascii_lowercase();
        if Name::parse(&name).is_some() && is_safe_value(value) && owned(&name).is_none() {
            settings.insert(name, value.clone());
        }
    }
    let libraries = preload_libraries(spec);
    if !libraries.is_empty() {
        settings.insert("shared_preload_libraries".to_owned(), libraries.join(", "));
    }
    if libraries.iter().any(|library| library == EXTENSION) {
        // It keeps the constants of statements that are no queries: passwords among them.
        let name = "pg_stat_statements.track_utility".to_owned();
        settings.entry(name).or_insert_with(|| "off".to_owned());
    }
    settings
}

/// File in the data directory of a server that is being recovered, with the settings for that.
pub const RECOVERY_FILE: &str = "boma.recovery.conf";

/// Writes `postgresql.conf`. What the platform owns comes last, so that it wins in any case.
pub fn render_conf(want: &Assignment, paths: &Paths) -> String {
    let mut text = String::from(
        "# Written by Boma from manifests and overwritten at the next change: to change a setting,\n\
         # change `spec.parameters` or `spec.plan` in the manifest of the database.\n\n",
    );
    for (name, value) in effective(&want.spec) {
        line(&mut text, &name, &value);
    }
    text.push_str("\n# The platform's own.\n");
    for (name, value) in platform(want, paths) {
        line(&mut text, name, &value);
    }
    if want.spec.origin.is_some() {
        // Last, so that it wins while it is there.
        line(&mut text, "include_if_exists", RECOVERY_FILE);
    }
    text
}

/// The settings that the platform owns.
fn platform(want: &Assignment, paths: &Paths) -> Vec<(&'static str, String)> {
    let bound = want.placement.bound();
    let fixed = |value: &str| value.to_owned();
    let mut settings = vec![
        ("listen_addresses", bound.ip().to_string()),
        ("port", bound.port().to_string()),
        ("unix_socket_directories", socket_directory(&paths.sockets)),
        ("unix_socket_permissions", fixed("0700")),
        ("hba_file", format!("{}/pg_hba.conf", paths.data)),
        ("ident_file", format!("{}/pg_ident.conf", paths.data)),
        ("cluster_name", cluster_name(&want.spec)),
        ("password_encryption", fixed("scram-sha-256")),
        ("superuser_reserved_connections", fixed("5")),
        ("fsync", fixed("on")),
        ("full_page_writes", fixed("on")),
        ("wal_log_hints", fixed("on")),
        ("archive_mode", fixed("on")),
        (
            "archive_command",
            archive::archive_command(&want.spec, paths),
        ),
        ("archive_timeout", archive::archive_timeout(&want.spec)),
        ("logging_collector", fixed("off")),
        ("log_destination", fixed("stderr")),
    ];
    if want.placement.tls.is_some() {
        settings.extend([
            ("ssl", fixed("on")),
            ("ssl_cert_file", format!("{}/server.crt", paths.tls)),
            ("ssl_key_file", format!("{}/server.key", paths.tls)),
            ("ssl_min_protocol_version", fixed("TLSv1.2")),
            ("ssl_ciphers", fixed("ECDHE+AESGCM:ECDHE+CHACHA20")),
        ]);
    } else {
        settings.push(("ssl", fixed("off")));
    }
    if want.spec.version >= MajorVersion::V17 {
        settings.push(("allow_alter_system", fixed("off")));
    }
    settings
}

/// The setting is a list: a path with a comma or a space is one entry only between double quotes.
fn socket_directory(path: &str) -> String {
    format!("\"{}\"", path.replace('"', "\"\""))
}

/// What `ps` shows in front of each process; PostgreSQL allows 63 bytes of printable ASCII.
fn cluster_name(spec: &InstanceSpec) -> String {
    let mut name = format!("{}-{}", spec.database, spec.id.short());
    name.retain(|letter| letter.is_ascii_graphic());
    name.truncate(63);
    name
}

fn line(text: &mut String, name: &str, value: &str) {
    // Writing to a string does not fail.
    let _infallible = writeln!(text, "{name} = {}", quoted(value));
}

/// Quotes a value as `guc-file.l` reads it: between single quotes, on one line.
pub fn quoted(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    text.push('\'');
    for letter in value.chars() {
        match letter {
            '\'' => text.push_str("''"),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            other => text.push(other),
        }
    }
    text.push('\'');
    text
}
