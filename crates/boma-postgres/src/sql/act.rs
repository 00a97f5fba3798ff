//! Doing one step.

use boma_instance::{Access, LoginSpec};
use tokio_postgres::types::Type;

use crate::cluster::SPARE_DATABASE;

use super::control::{Control, Controls, Parameters};
use super::error::SqlError;
use super::quote::{identifier, list, literal};
use super::roles;
use super::seen::{ObjectKind, SeenMembership, SeenObject};
use super::step::{AccessStep, Groups, login_comment};

/// What a role of Boma's is, whatever it was before.
const PLAIN: &str = "NOSUPERUSER NOCREATEDB NOCREATEROLE INHERIT NOREPLICATION NOBYPASSRLS \
                     CONNECTION LIMIT -1 VALID UNTIL 'infinity'";

/// How many objects one transaction changes: each is locked until its end, with its indexes and
/// sequences, and a small server has room for a few thousand locks.
const AT_A_TIME: usize = 100;

impl Controls {
    /// Does one step. What a step does and why it can be repeated is said at [`AccessStep`].
    pub async fn act(&mut self, step: &AccessStep) -> Result<(), SqlError> {
        let doing = step.to_string();
        let groups = self.groups().clone();
        match step {
            AccessStep::EndOrphans => roles::end_orphans(self.cluster().await?).await,
            AccessStep::LockLogin { role } => roles::lock(self.cluster().await?, role).await,
            AccessStep::DropLogin { role } => roles::drop_login(self, role).await,
            AccessStep::SetGroups => set_groups(self.cluster().await?, &doing, &groups).await,
            AccessStep::MakeDatabase => make_database(self.cluster().await?, &doing, &groups).await,
            AccessStep::SetLogin(login) => {
                set_login(self.cluster().await?, &doing, &groups, login).await
            }
            AccessStep::Revoke(membership) => {
                let statements = [revoke(membership)];
                self.cluster().await?.transaction(&doing, &statements).await
            }
            AccessStep::SetDatabase { revoke_from } => {
                let statements = set_database(&groups, revoke_from);
                self.cluster().await?.transaction(&doing, &statements).await
            }
            AccessStep::Reassign { role } => self.inside(&doing, reassign(role, &groups)).await,
            AccessStep::CloseLargeObjects => {
                self.inside(&doing, close_large_objects(&groups)).await
            }
            AccessStep::OwnPublic => self.inside(&doing, own_public()).await,
            AccessStep::SetDefaultPrivileges { maker } => {
                self.inside(&doing, default_privileges(&groups, maker))
                    .await
            }
            AccessStep::OwnObjects(objects) => {
                self.for_objects(&doing, objects, |object| own(object, &groups.owner))
                    .await
            }
            AccessStep::SetPrivileges { objects, readers } => {
                let set = |object: &_| privileges(object, &groups, readers);
                self.for_objects(&doing, objects, set).await
            }
            AccessStep::CreateExtension { name } => {
                self.inside(&doing, create_extension(name)).await
            }
        }
    }

    /// Does it in the instance's database, all or nothing.
    async fn inside(&mut self, doing: &str, statements: Vec<String>) -> Result<(), SqlError> {
        self.the_database()
            .await?
            .transaction(doing, &statements)
            .await
    }

    /// Does it in the instance's database, for some objects at a time.
    async fn for_objects(
        &mut self,
        doing: &str,
        objects: &[SeenObject],
        statements: impl Fn(&SeenObject) -> Vec<String>,
    ) -> Result<(), SqlError> {
        for some in objects.chunks(AT_A_TIME) {
            self.inside(doing, some.iter().flat_map(&statements).collect())
                .await?;
        }
        Ok(())
    }
}

/// Making roles and marking them as Boma's is one transaction, so that none is forgotten. These
/// are the statements that make those that are missing.
async fn make_roles(control: &Control, roles: &[&str]) -> Result<Vec<String>, SqlError> {
    let there = roles::existing(control, roles).await?;
    let missing = roles.iter().filter(|role| !there.contains(**role));
    Ok(missing
        .map(|role| format!("CREATE ROLE {} NOLOGIN", identifier(role)))
        .collect())
}

async fn set_groups(control: &Control, doing: &str, groups: &Groups) -> Result<(), SqlError> {
    let statements = groups_statements(control, groups).await?;
    control.transaction(doing, &statements).await
}

pub(super) async fn groups_statements(
    control: &Control,
    groups: &Groups,
) -> Result<Vec<String>, SqlError> {
    let mut statements = make_roles(control, &groups.names()).await?;
    for (group, comment) in groups.names().into_iter().zip(groups.comments()) {
        let name = identifier(group);
        let comment = literal(&comment);
        statements.push(format!("ALTER ROLE {name} NOLOGIN PASSWORD NULL {PLAIN}"));
        statements.push(format!("COMMENT ON ROLE {name} IS {comment}"));
    }
    Ok(statements)
}

/// How the database comes to be.
pub(super) enum Making {
    /// It is there.
    Made,
    /// These statements rename the spare one.
    Rename(Vec<String>),
    /// This one cannot be part of a transaction.
    Create(String),
}

pub(super) async fn making(control: &Control, groups: &Groups) -> Result<Making, SqlError> {
    let query = "SELECT datname::text FROM pg_database WHERE datname IN ($1, $2)";
    let parameters: &Parameters<'_> = &[
        (&groups.database, Type::TEXT),
        (&SPARE_DATABASE, Type::TEXT),
    ];
    let rows = control
        .rows("look for the database", query, parameters)
        .await?;
    let has = |name: &str| rows.iter().any(|row| row.get::<_, &str>(0) == name);
    let (database, owner) = (identifier(&groups.database), identifier(&groups.owner));
    if has(&groups.database) {
        return Ok(Making::Made);
    }
    if has(SPARE_DATABASE) {
        let spare = identifier(SPARE_DATABASE);
        return Ok(Making::Rename(vec![
            format!("ALTER DATABASE {spare} RENAME TO {database}"),
            format!("ALTER DATABASE {database} OWNER TO {owner}"),
        ]));
    }
    Ok(Making::Create(format!(
        "CREATE DATABASE {database} OWNER {owner} TEMPLATE template0"
    )))
}

async fn make_database(control: &Control, doing: &str, groups: &Groups) -> Result<(), SqlError> {
    match making(control, groups).await? {
        Making::Made => Ok(()),
        Making::Rename(statements) => control.transaction(doing, &statements).await,
        Making::Create(statement) => control.statement(doing, &statement).await,
    }
}

pub(super) fn set_database(groups: &Groups, revoke_from: &[Option<String>]) -> Vec<String> {
    let (database, owner) = (identifier(&groups.database), identifier(&groups.owner));
    let (writer, reader) = (identifier(&groups.writer), identifier(&groups.reader));
    let mut statements = vec![
        format!("ALTER DATABASE {database} OWNER TO {owner}"),
        format!(
            "ALTER DATABASE {database} ALLOW_CONNECTIONS true CONNECTION LIMIT -1 IS_TEMPLATE false"
        ),
    ];
    for grantee in revoke_from {
        let grantee = grantee
            .as_ref()
            .map_or_else(|| "PUBLIC".to_owned(), |name| identifier(name));
        statements.push(format!(
            "REVOKE ALL ON DATABASE {database} FROM {grantee} CASCADE"
        ));
    }
    statements.extend([
        format!("GRANT ALL ON DATABASE {database} TO {owner}"),
        format!("GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {writer}"),
        format!("GRANT CONNECT ON DATABASE {database} TO {reader}"),
    ]);
    statements
}

pub(super) fn revoke(membership: &SeenMembership) -> String {
    format!(
        "REVOKE {} FROM {} GRANTED BY {} CASCADE",
        identifier(&membership.group),
        identifier(&membership.member),
        identifier(&membership.grantor),
    )
}

/// Sets everything of a login at once, so that nobody meets it half made.
async fn set_login(
    control: &Control,
    doing: &str,
    groups: &Groups,
    login: &LoginSpec,
) -> Result<(), SqlError> {
    let statements = login_statements(control, groups, login).await?;
    control.transaction(doing, &statements).await
}

pub(super) async fn login_statements(
    control: &Control,
    groups: &Groups,
    login: &LoginSpec,
) -> Result<Vec<String>, SqlError> {
    let mut statements = make_roles(control, &[&login.role]).await?;
    let role = identifier(&login.role);
    let comment = literal(&login_comment(login));
    let group = identifier(groups.of_access(login.access));
    let in_database = format!(
        "ALTER ROLE {role} IN DATABASE {}",
        identifier(&groups.database)
    );
    let password = login.verifier.as_ref().map_or_else(
        || "NOLOGIN PASSWORD NULL".to_owned(),
        |verifier| format!("LOGIN PASSWORD {}", literal(verifier.expose())),
    );
    let settings = match login.access {
        Access::ReadWrite => [
            format!("{in_database} SET role = {}", literal(&groups.owner)),
            format!("{in_database} RESET default_transaction_read_only"),
        ],
        Access::ReadOnly => [
            format!("{in_database} RESET role"),
            format!("{in_database} SET default_transaction_read_only = on"),
        ],
    };
    // The attributes come first: a membership inherits only if the role does when it is granted.
    statements.push(format!("ALTER ROLE {role} {password} {PLAIN}"));
    statements.push(format!("COMMENT ON ROLE {role} IS {comment}"));
    statements.push(format!("GRANT {group} TO {role}"));
    statements.extend(settings);
    Ok(statements)
}

fn reassign(role: &str, groups: &Groups) -> Vec<String> {
    vec![format!(
        "REASSIGN OWNED BY {} TO {}",
        identifier(role),
        identifier(&groups.owner)
    )]
}

pub(super) fn own_public() -> Vec<String> {
    vec!["ALTER SCHEMA public OWNER TO pg_database_owner".to_owned()]
}

pub(super) fn close_large_objects(groups: &Groups) -> Vec<String> {
    let functions = "pg_catalog.lo_creat(integer), pg_catalog.lo_create(oid), \
                     pg_catalog.lo_from_bytea(oid, bytea)";
    let writers = list([groups.owner.as_str(), groups.writer.as_str()]);
    vec![
        format!("REVOKE EXECUTE ON FUNCTION {functions} FROM PUBLIC"),
        format!("GRANT EXECUTE ON FUNCTION {functions} TO {writers}"),
    ]
}

pub(super) fn default_privileges(groups: &Groups, maker: &str) -> Vec<String> {
    let (writer, reader) = (identifier(&groups.writer), identifier(&groups.reader));
    let all = list(groups.names().into_iter().filter(|group| *group != maker));
    let defaults = format!("ALTER DEFAULT PRIVILEGES FOR ROLE {}", identifier(maker));
    let mut statements = Vec::new();
    for (kind, for_owner, for_writer, for_reader) in [
        ("TABLES", WRITE_TABLES, WRITE_TABLES, "SELECT"),
        ("SEQUENCES", WRITE_SEQUENCES, WRITE_SEQUENCES, "SELECT"),
        ("SCHEMAS", "USAGE, CREATE", "USAGE", "USAGE"),
    ] {
        statements.push(format!(
            "{defaults} REVOKE ALL ON {kind} FROM PUBLIC, {all}"
        ));
        statements.push(format!(
            "{defaults} GRANT {for_writer} ON {kind} TO {writer}"
        ));
        statements.push(format!(
            "{defaults} GRANT {for_reader} ON {kind} TO {reader}"
        ));
        if maker != groups.owner {
            let owner = identifier(&groups.owner);
            statements.push(format!("{defaults} GRANT {for_owner} ON {kind} TO {owner}"));
        }
    }
    statements
}

const WRITE_TABLES: &str = "SELECT, INSERT, UPDATE, DELETE, TRUNCATE";
const WRITE_SEQUENCES: &str = "SELECT, UPDATE, USAGE";

pub(super) fn own(object: &SeenObject, owner: &str) -> Vec<String> {
    let kind = match object.kind {
        ObjectKind::Schema => "SCHEMA",
        // Views and foreign tables are taken as well.
        ObjectKind::Table => "TABLE",
        ObjectKind::Sequence => "SEQUENCE",
        ObjectKind::Type => "TYPE",
    };
    let (name, owner) = (qualified(object), identifier(owner));
    vec![format!("ALTER {kind} {name} OWNER TO {owner}")]
}

pub(super) fn privileges(object: &SeenObject, groups: &Groups, readers: &[String]) -> Vec<String> {
    let (kind, for_writer, for_reader) = match object.kind {
        ObjectKind::Schema => ("SCHEMA", "USAGE", "USAGE"),
        ObjectKind::Table => ("TABLE", WRITE_TABLES, "SELECT"),
        ObjectKind::Sequence => ("SEQUENCE", WRITE_SEQUENCES, "SELECT"),
        // Everybody may use types.
        ObjectKind::Type => return Vec::new(),
    };
    let name = qualified(object);
    let (writer, reader) = (identifier(&groups.writer), identifier(&groups.reader));
    let others = list(
        readers
            .iter()
            .map(String::as_str)
            .chain([groups.reader.as_str(), groups.writer.as_str()]),
    );
    vec![
        format!("REVOKE ALL ON {kind} {name} FROM PUBLIC, {others} CASCADE"),
        format!("GRANT {for_writer} ON {kind} {name} TO {writer}"),
        format!("GRANT {for_reader} ON {kind} {name} TO {reader}"),
    ]
}

/// In schema `public`, where frameworks look for types and functions of extensions, unless the
/// extension itself says where. Its script runs with a `search_path` of its own.
fn create_extension(name: &str) -> Vec<String> {
    vec![
        "CREATE SCHEMA IF NOT EXISTS public AUTHORIZATION pg_database_owner".to_owned(),
        "SET LOCAL search_path = public".to_owned(),
        format!(
            "CREATE EXTENSION IF NOT EXISTS {} CASCADE",
            identifier(name)
        ),
    ]
}

fn qualified(object: &SeenObject) -> String {
    match &object.schema {
        Some(schema) => format!("{}.{}", identifier(schema), identifier(&object.name)),
        None => identifier(&object.name),
    }
}
