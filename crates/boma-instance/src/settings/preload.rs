//! Libraries that a server must load when it starts.

use crate::InstanceSpec;

/// Extensions that do nothing, or refuse to be created, unless their library is loaded at start:
/// extension and library.
const NEED_PRELOADING: &[(&str, &str)] = &[
    ("citus", "citus"),
    ("credcheck", "credcheck"),
    ("pg_cron", "pg_cron"),
    ("pg_duckdb", "pg_duckdb"),
    ("pg_net", "pg_net"),
    ("pg_partman_bgw", "pg_partman_bgw"),
    ("pg_qualstats", "pg_qualstats"),
    ("pg_search", "pg_search"),
    ("pg_squeeze", "pg_squeeze"),
    ("pg_stat_kcache", "pg_stat_kcache"),
    ("pg_stat_monitor", "pg_stat_monitor"),
    ("pg_stat_statements", "pg_stat_statements"),
    ("pg_tle", "pg_tle"),
    ("pg_wait_sampling", "pg_wait_sampling"),
    ("pgaudit", "pgaudit"),
    ("pglogical", "pglogical"),
    ("pgsodium", "pgsodium"),
    ("timescaledb", "timescaledb"),
];

/// The libraries for `shared_preload_libraries`: those that the extensions need, then those that
/// the user's `parameters` name, each once.
///
/// Citus insists on being first, which its place in the list gives it unless a user names another.
pub fn preload_libraries(spec: &InstanceSpec) -> Vec<String> {
    let needed = NEED_PRELOADING
        .iter()
        .filter(|(extension, _)| spec.extensions.contains(*extension))
        .map(|(_, library)| (*library).to_owned());
    let asked = spec
        .parameters
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("shared_preload_libraries"))
        .flat_map(|(_, value)| value.split(','))
        .map(|library| library.trim().trim_matches('"').to_owned());
    let mut libraries = Vec::new();
    for library in needed.chain(asked) {
        if !library.is_empty() && !libraries.contains(&library) {
            libraries.push(library);
        }
    }
    libraries
}
