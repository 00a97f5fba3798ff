//! Values that follow from what a server may use.

use std::collections::BTreeMap;

use crate::{InstanceSpec, MajorVersion};

/// A setting's value and why it is that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived {
    /// As it is written to `postgresql.conf`, not quoted.
    pub value: String,
    /// For people: a sentence, the same for all servers.
    pub reason: &'static str,
}

/// Derives the settings that a user's `parameters` may change, from CPU, memory, storage, version.
///
/// # Guarantees
/// - PostgreSQL starts with these settings on any machine that has the resources, whatever it was
///   built with.
/// - All connections together, each sorting once, stay below the memory.
pub fn derive(spec: &InstanceSpec) -> BTreeMap<&'static str, Derived> {
    let size = Size::of(spec);
    let mut settings = Settings(BTreeMap::new());
    memory(&size, &mut settings);
    locks(&mut settings);
    processors(&size, &mut settings);
    storage(&size, &mut settings);
    vacuum(&size, &mut settings);
    log(&mut settings);
    everywhere(&mut settings);
    if spec.version >= MajorVersion::V18 && size.cpus < 4 {
        settings.add(
            "io_method",
            "sync",
            "Three more processes that read ahead do not pay with fewer than four CPUs (only then \
             is it set; PostgreSQL's own is `worker`).",
        );
    }
    settings.0
}

/// What a server may use, in units that settings are made of.
struct Size {
    memory_mb: u64,
    storage_mb: u64,
    cpu_millis: u64,
    /// Whole processors that can be busy at once; at least 1.
    cpus: u64,
}

impl Size {
    fn of(spec: &InstanceSpec) -> Self {
        let resources = spec.resources;
        Self {
            memory_mb: resources.memory_bytes >> 20,
            storage_mb: resources.storage_bytes >> 20,
            cpu_millis: resources.cpu_millis.into(),
            cpus: u64::from(resources.cpu_millis).div_ceil(1000).max(1),
        }
    }

    fn shared_buffers_mb(&self) -> u64 {
        (self.memory_mb / 4).max(16)
    }

    fn max_connections(&self) -> u64 {
        (self.memory_mb / 16).clamp(25, 500)
    }

    fn work_mem_kb(&self) -> u64 {
        let free_kb = self.memory_mb.saturating_sub(self.shared_buffers_mb()) * 1024;
        (free_kb * 4 / 5 / self.max_connections()).max(1024)
    }
}

/// The text of a value: words as they are, numbers in digits.
struct Value(String);

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self(number.to_string())
    }
}

struct Settings(BTreeMap<&'static str, Derived>);

impl Settings {
    fn add(&mut self, name: &'static str, value: impl Into<Value>, reason: &'static str) {
        let Value(value) = value.into();
        self.0.insert(name, Derived { value, reason });
    }

    fn mb(&mut self, name: &'static str, value: u64, reason: &'static str) {
        self.add(name, format!("{value}MB"), reason);
    }
}

fn memory(size: &Size, settings: &mut Settings) {
    settings.mb(
        "shared_buffers",
        size.shared_buffers_mb(),
        "A quarter of the memory: the manual's advice for a machine that serves PostgreSQL alone; \
         the rest is connections and the kernel's page cache. Pages are taken from the system only \
         when they are first used.",
    );
    settings.add(
        "wal_buffers",
        format!("{}kB", (size.memory_mb * 2).clamp(1024, 16 * 1024)),
        "A 512th of the memory, 1 MB to 16 MB: PostgreSQL's own choice, 16 MB for most servers, is \
         touched when a server starts, and would be a third of what an idle one takes.",
    );
    settings.mb(
        "effective_cache_size",
        (size.memory_mb * 7 / 10).max(32),
        "What a query may expect to find cached: shared buffers and the page cache, 70 % of the \
         memory together.",
    );
    settings.add(
        "max_connections",
        size.max_connections(),
        "One for each 16 MB of memory: a connection that has run some queries takes about ten; \
         at least 25, so that both logins of a grant can hold a pool during a rotation; at most \
         500, above which a pooler serves better.",
    );
    settings.add(
        "work_mem",
        format!("{}kB", size.work_mem_kb()),
        "80 % of the memory beside shared buffers, divided by all connections: if each of them \
         sorts at the same time, the server still stays within its memory.",
    );
    settings.mb(
        "maintenance_work_mem",
        (size.memory_mb / 20).clamp(16, 1024),
        "5 % of the memory: each vacuum worker may take as much, and they run side by side. Vacuum \
         made no use of more than 1 GB before PostgreSQL 17.",
    );
    settings.add(
        "huge_pages",
        "off",
        "Huge pages are not counted against the memory limit, and where a node has some that a pod \
         may not use, the first touch kills the server. Set `try` on a machine set up for them.",
    );
}

fn locks(settings: &mut Settings) {
    settings.add(
        "max_locks_per_transaction",
        128_u64,
        "Twice PostgreSQL's own: dumping or changing a schema locks each table, and a small server \
         with few connections has room for few locks.",
    );
}

fn processors(size: &Size, settings: &mut Settings) {
    let parallel = (size.cpus / 2).min(4);
    settings.add(
        "max_worker_processes",
        7 + size.cpus,
        "PostgreSQL's own 8 for one CPU, and one more for each further CPU.",
    );
    settings.add(
        "max_parallel_workers",
        size.cpus,
        "No more parallel workers than can run at once.",
    );
    settings.add(
        "max_parallel_workers_per_gather",
        parallel,
        "Half of the CPUs, at most 4, so that one query does not take the whole server; with one \
         CPU a parallel plan only costs.",
    );
    settings.add(
        "max_parallel_maintenance_workers",
        parallel,
        "Half of the CPUs, at most 4: building an index must leave some to the application.",
    );
    settings.add(
        "jit",
        "off",
        "Compiling queries slows down the short ones that applications send, costs each connection \
         tens of megabytes, and not every build has it.",
    );
}

fn storage(size: &Size, settings: &mut Settings) {
    let max_wal_mb = (size.storage_mb / 10).clamp(128, 16 * 1024);
    settings.mb(
        "max_wal_size",
        max_wal_mb,
        "10 % of the storage, between 128 MB and 16 GB: checkpoints come by time and not by volume, \
         and WAL cannot crowd out the data.",
    );
    settings.mb(
        "min_wal_size",
        (max_wal_mb / 4).clamp(32, 1024),
        "A quarter of `max_wal_size`, at most 1 GB: segments kept for reuse are cheaper than new \
         ones.",
    );
    settings.mb(
        "max_slot_wal_keep_size",
        (size.storage_mb / 10).max(128),
        "10 % of the storage: a forgotten replication slot loses its WAL before it fills the disk \
         and stops everything.",
    );
    settings.mb(
        "temp_file_limit",
        (size.storage_mb / 5).max(256),
        "20 % of the storage for one session's temporary files: a runaway query fails by itself \
         instead of filling the disk for all.",
    );
    settings.add(
        "checkpoint_timeout",
        "10min",
        "Half as many full-page images as with 5 minutes, and recovery is still bounded by \
         `max_wal_size`.",
    );
    settings.add(
        "random_page_cost",
        "1.1",
        "Storage has no heads to move: solid state or a network volume.",
    );
}

fn vacuum(size: &Size, settings: &mut Settings) {
    settings.add(
        "autovacuum_max_workers",
        (2 + size.cpus / 2).clamp(2, 6),
        "Two, and one more for each two CPUs, at most 6.",
    );
    settings.add(
        "autovacuum_vacuum_cost_limit",
        (size.cpu_millis * 2 / 5).clamp(200, 2400),
        "400 for each CPU, between PostgreSQL's own 200 and 2400: vacuum keeps up with what that \
         many CPUs can change.",
    );
    settings.add(
        "autovacuum_vacuum_scale_factor",
        "0.1",
        "Half of PostgreSQL's own: a large table is vacuumed before a fifth of it is dead.",
    );
    settings.add(
        "autovacuum_analyze_scale_factor",
        "0.05",
        "Half of PostgreSQL's own, so that plans follow the data.",
    );
}

fn log(settings: &mut Settings) {
    settings.add(
        "log_line_prefix",
        "%m [%p] %q%u@%d %a ",
        "Time, process, and where there is a session: login, database, application.",
    );
    settings.add(
        "log_min_duration_statement",
        "1s",
        "Statements that took longer than a second are worth a look.",
    );
    settings.add(
        "log_parameter_max_length",
        "0",
        "Values that applications bind are their data, not the log's.",
    );
    settings.add(
        "log_lock_waits",
        "on",
        "Sessions that wait for a lock for longer than a second explain most outages.",
    );
    settings.add(
        "log_temp_files",
        "64MB",
        "Queries that spill much to disk want an index or more `work_mem`.",
    );
    settings.add(
        "log_timezone",
        "UTC",
        "One clock for the logs of all servers.",
    );
    settings.add(
        "lc_messages",
        "C",
        "Messages in English: people search for them, and every build has them.",
    );
}

fn everywhere(settings: &mut Settings) {
    settings.add(
        "timezone",
        "UTC",
        "The same on every machine; applications may set their own.",
    );
    settings.add(
        "default_text_search_config",
        "pg_catalog.english",
        "What initdb chooses for the C and English locales; the same on every machine.",
    );
    settings.add(
        "tcp_keepalives_idle",
        "60",
        "A client that vanished is noticed within two minutes, and its locks are released.",
    );
    settings.add(
        "tcp_keepalives_interval",
        "10",
        "See `tcp_keepalives_idle`.",
    );
    settings.add("tcp_keepalives_count", "6", "See `tcp_keepalives_idle`.");
}
