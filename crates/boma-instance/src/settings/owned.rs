//! Settings that only the platform sets.

/// Why a setting is the platform's alone; none: a manifest may set it.
///
/// Names are compared as PostgreSQL does, without regard to case.
pub fn owned(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    OWNED
        .iter()
        .find(|(pattern, _)| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == *pattern,
        })
        .map(|(_, reason)| *reason)
}

/// Names, or beginnings of names before a `*`, and the reason.
pub(super) const OWNED: &[(&str, &str)] = &[
    ("listen_addresses", ADDRESS),
    ("port", ADDRESS),
    ("bonjour*", "the server is announced by the platform only"),
    (
        "unix_socket_*",
        "the agent works through the Unix socket, and nobody else may",
    ),
    ("config_file", PLACES),
    ("data_directory", PLACES),
    ("hba_file", PLACES),
    ("ident_file", PLACES),
    ("external_pid_file", PLACES),
    ("dynamic_library_path", CODE),
    ("extension_control_path", CODE),
    ("jit_provider", CODE),
    ("local_preload_libraries", CODE),
    ("oauth_validator_libraries", CODE),
    (
        "ssl*",
        "the platform issues the certificate and decides how connections are encrypted",
    ),
    ("krb_*", ACCESS),
    ("gss_*", ACCESS),
    ("db_user_namespace", ACCESS),
    (
        "password_encryption",
        "passwords are stored as SCRAM-SHA-256 verifiers only",
    ),
    (
        "lo_compat_privileges",
        "it would open large objects to everyone",
    ),
    (
        "session_replication_role",
        "it would switch off foreign keys and triggers",
    ),
    (
        "superuser_reserved_connections",
        "the agent must get in when the server is full",
    ),
    ("archive_*", BACKUP),
    ("restore_command", BACKUP),
    ("recovery_*", BACKUP),
    ("summarize_wal", BACKUP),
    ("wal_log_hints", REJOIN),
    ("primary_*", REPLICATION),
    ("hot_standby", REPLICATION),
    ("promote_trigger_file", REPLICATION),
    ("synchronous_standby_names", REPLICATION),
    ("synchronized_standby_slots", REPLICATION),
    ("sync_replication_slots", REPLICATION),
    ("fsync", DATA),
    ("full_page_writes", DATA),
    ("data_sync_retry", DATA),
    ("ignore_checksum_failure", DATA),
    ("zero_damaged_pages", DATA),
    (
        "restart_after_crash",
        "who restarts a crashed server is decided by the platform",
    ),
    (
        "allow_alter_system",
        "settings come from manifests, so that they can be reviewed",
    ),
    ("cluster_name", "it names the server in process lists"),
    ("event_source", LOG),
    ("logging_collector", LOG),
    ("log_destination", LOG),
    ("log_directory", LOG),
    ("log_file*", LOG),
    ("log_rotation_*", LOG),
    ("log_truncate_on_rotation", LOG),
    ("syslog_*", LOG),
    ("boma.*", "names that begin with `boma.` are the platform's"),
];

const ADDRESS: &str = "the platform decides where a server listens";
const PLACES: &str = "the platform decides where files are";
const CODE: &str = "the platform decides which code a server loads and from where";
const ACCESS: &str = "who may connect follows from grants only";
const BACKUP: &str = "the platform archives, backs up and restores";
const REPLICATION: &str = "the platform decides which server is the primary";
const REJOIN: &str = "a former primary can rejoin only if hint bits were logged";
const DATA: &str = "without it, a crash can destroy data";
const LOG: &str = "the platform collects and rotates the log";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_owned_in_any_case() {
        for name in [
            "fsync",
            "FSync",
            "ssl_key_file",
            "archive_command",
            "boma.configuration",
        ] {
            assert!(owned(name).is_some(), "{name}");
        }
        for name in [
            "work_mem",
            "log_statement",
            "shared_preload_libraries",
            "sslx.y",
            "wal_level",
        ] {
            assert_eq!(owned(name).is_some(), name.starts_with("ssl"), "{name}");
        }
    }
}
