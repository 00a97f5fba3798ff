//! What was seen of one server: plain data, for a pure plan.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

/// The running server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenServer {
    /// Full version: `15.18`.
    pub version: String,
    /// `system_identifier` of the cluster.
    pub system_identifier: u64,
    /// When it was started.
    pub started_at: Timestamp,
    /// Whether it replays WAL and takes no writes.
    pub in_recovery: bool,
    /// The value of the setting `boma.configuration` that is in force; none: it has none.
    pub configuration: Option<String>,
    /// Settings in the files that take effect at the next restart only.
    pub pending_restart: Vec<String>,
    /// Lines of the configuration files that the server does not take: setting (or file and line)
    /// and reason.
    pub refused: Vec<(String, String)>,
    /// Settings that somebody has set by `ALTER SYSTEM`.
    pub overridden: Vec<Override>,
}

/// A setting in `postgresql.auto.conf`, which goes before all other files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// Its name.
    pub name: String,
    /// What it would take to be rid of it.
    pub undone_by: UndoneBy,
}

/// What it takes until a setting by `ALTER SYSTEM` is as if it had never been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UndoneBy {
    /// `ALTER SYSTEM RESET`, at most with a reload.
    Reset,
    /// A restart besides: it came into force at one.
    Restart,
    /// A person, who takes it out of the file: the server takes no `ALTER SYSTEM`.
    Hand,
}

/// Roles, privileges, objects and extensions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenDatabase {
    /// The instance's database; none: it is not there.
    pub database: Option<TheDatabase>,
    /// All roles by name, but for PostgreSQL's own and the superuser.
    pub roles: BTreeMap<String, SeenRole>,
    /// Who is a member of whom, as far as Boma's roles or the spec's are concerned.
    pub memberships: Vec<SeenMembership>,
    /// Connections of roles that are not there any more.
    pub orphans: u32,
    /// What is in the database; none: it is not there, or lets nobody in.
    pub objects: Option<SeenObjects>,
}

impl SeenDatabase {
    /// Roles that can log in, were not made by Boma and are not in the spec: reported, never
    /// touched. `pg_hba.conf` rejects them.
    pub fn foreign_logins(&self) -> impl Iterator<Item = &str> {
        self.roles
            .iter()
            .filter(|(_, role)| role.can_login && !role.is_ours())
            .map(|(name, _)| name.as_str())
    }

    /// Open connections by role.
    pub fn connections(&self) -> BTreeMap<String, u32> {
        self.roles
            .iter()
            .map(|(name, role)| (name.clone(), role.connections))
            .collect()
    }

    /// Extensions of the database and their versions; empty where nothing could be seen.
    pub fn extensions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.objects
            .iter()
            .flat_map(|objects| &objects.extensions)
            .map(|(name, version)| (name.as_str(), version.as_str()))
    }
}

/// The instance's database as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TheDatabase {
    /// Its owner.
    pub owner: String,
    /// Whether it takes connections, without a limit of its own, and is not a template.
    pub is_open: bool,
    /// Who may do what with it; defaults of PostgreSQL are spelled out.
    pub privileges: BTreeSet<Privilege>,
}

/// One privilege.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Privilege {
    /// Role that has it; none: everybody (`PUBLIC`).
    pub grantee: Option<String>,
    /// `CONNECT`, `SELECT`, …
    pub kind: String,
    /// Whether it may be passed on.
    pub grantable: bool,
}

/// Whether a login's stored verifier is the one of the spec. The verifiers themselves are compared
/// where they are read and kept nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Password {
    /// It has none.
    None,
    /// It has the one that the spec says.
    AsWanted,
    /// It has another one.
    Other,
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenRole {
    /// Whether it can log in.
    pub can_login: bool,
    /// Attributes that a role of Boma's never has, as they are spelled: `SUPERUSER`.
    pub powers: Vec<String>,
    /// Its comment.
    pub comment: Option<String>,
    /// Its password.
    pub password: Password,
    /// What `ALTER ROLE … IN DATABASE …` sets for its sessions in the instance's database.
    pub settings: BTreeMap<String, String>,
    /// Open connections.
    pub connections: u32,
    /// Whether it owns something in the database, temporary things aside. Not looked at for the owner
    /// group.
    pub owns_objects: bool,
}

impl SeenRole {
    /// Whether Boma made it.
    pub fn is_ours(&self) -> bool {
        self.comment
            .as_ref()
            .is_some_and(|comment| comment.starts_with(super::MARK))
    }
}

/// A role's membership in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenMembership {
    /// The group.
    pub group: String,
    /// The member.
    pub member: String,
    /// Who granted it.
    pub grantor: String,
    /// Whether it is a plain one: inherits, may `SET ROLE`, may not pass it on.
    pub is_plain: bool,
}

/// What is in the database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenObjects {
    /// Extensions and their versions.
    pub extensions: BTreeMap<String, String>,
    /// Owner of the schema `public`; none: it was dropped.
    pub public_owner: Option<String>,
    /// Default privileges for the whole database, by the role whose new objects they are for.
    pub default_privileges: BTreeMap<String, DefaultPrivileges>,
    /// Schemas, tables, views and sequences whose privileges are not what the groups need; the
    /// first thousand.
    pub wrong_privileges: Vec<SeenObject>,
    /// Schemas, tables, views, sequences and types that the superuser made, members of extensions
    /// aside; the first thousand.
    pub superusers: Vec<SeenObject>,
    /// Whether everybody can make large objects.
    pub large_objects_open: bool,
}

/// Default privileges of one role: letter of the kind of object (`r`, `S`, `n`) and what its new
/// objects of that kind grant to the groups and to everybody. Its own are left out.
pub type DefaultPrivileges = BTreeMap<char, BTreeSet<Privilege>>;

/// An object of the database.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeenObject {
    /// What it is.
    pub kind: ObjectKind,
    /// Its schema; none: it is one.
    pub schema: Option<String>,
    /// Its name.
    pub name: String,
}

/// Kinds of objects, as far as they are treated differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectKind {
    /// A schema.
    Schema,
    /// A table, view, materialized view, foreign or partitioned table.
    Table,
    /// A sequence.
    Sequence,
    /// A type or domain.
    Type,
}
