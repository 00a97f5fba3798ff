//! Looking at what is in the instance's database.
//!
//! An application may make thousands of objects: what is as it should be is sorted out by the
//! server and never sent.

use std::collections::{BTreeMap, BTreeSet};

use boma_instance::{Access, InstanceSpec};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::control::{Control, Parameters};
use super::error::SqlError;
use super::observe::privilege;
use super::seen::{DefaultPrivileges, ObjectKind, SeenObject, SeenObjects};
use super::step::Groups;

/// How many objects one plan mends; the next pass goes on.
const AT_A_TIME: i64 = 1000;

const EXTENSIONS: &str = "SELECT extname::text, extversion FROM pg_extension";

const PUBLIC_AND_LARGE_OBJECTS: &str = "
    SELECT (SELECT r.rolname::text FROM pg_namespace n JOIN pg_authid r ON r.oid = n.nspowner
            WHERE n.nspname = 'public'),
           EXISTS (SELECT FROM pg_proc p
                   CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
                   WHERE a.grantee = 0 AND p.pronamespace = 'pg_catalog'::regnamespace
                     AND p.proname IN ('lo_creat', 'lo_create', 'lo_from_bytea'))";

/// Default privileges of the whole database for tables (`r`), sequences (`S`) and schemas (`n`), of
/// the groups and everybody. A role without an entry has PostgreSQL's defaults: nothing for them.
const DEFAULT_PRIVILEGES: &str = "
    SELECT g.rolname::text, a.privilege_type, a.is_grantable, m.rolname::text,
           d.defaclobjtype::text
    FROM pg_default_acl d
         JOIN pg_authid m ON m.oid = d.defaclrole
         CROSS JOIN LATERAL aclexplode(d.defaclacl) a
         LEFT JOIN pg_authid g ON g.oid = a.grantee
    WHERE d.defaclnamespace = 0 AND d.defaclobjtype IN ('r', 'S', 'n')
      AND a.grantee <> d.defaclrole
      AND (a.grantee = 0 OR g.rolname = ANY ($1))";

/// Schemas, tables and sequences whose privileges are not what they should be, whoever owns them.
/// $1 writer group, $2 reader group, $3 logins that only read, $4 limit.
///
/// Reader and writer have exactly theirs. Everybody, and logins that only read, may have been given
/// no more than the reader has, and nothing on schema `public`. Thousands of objects have but a few
/// different lists of privileges, so each list is judged once.
const WRONG_PRIVILEGES: &str = "
    WITH who AS MATERIALIZED (
        SELECT (SELECT oid FROM pg_authid WHERE rolname = $1) AS writer,
               (SELECT oid FROM pg_authid WHERE rolname = $2) AS reader,
               (SELECT coalesce(array_agg(oid), '{}') FROM pg_authid
                WHERE rolname = ANY ($3)) || 0::oid AS others
    ),
    things AS MATERIALIZED (
        SELECT CASE n.nspname WHEN 'public' THEN 'p' ELSE 'n' END AS kind, NULL::text AS schema,
               n.nspname::text AS name, n.nspowner AS owner, n.nspacl AS acl,
               NULL::oid AS relation
        FROM pg_namespace n
        WHERE n.nspname <> 'information_schema' AND NOT starts_with(n.nspname::text, 'pg_')
          AND NOT EXISTS (SELECT FROM pg_depend d
                          WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid
                            AND d.deptype = 'e')
        UNION ALL
        SELECT CASE c.relkind WHEN 'S' THEN 'S' ELSE 'r' END, n.nspname::text, c.relname::text,
               c.relowner, c.relacl, c.oid
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't'
          AND n.nspname <> 'information_schema' AND NOT starts_with(n.nspname::text, 'pg_')
          AND NOT EXISTS (SELECT FROM pg_depend d
                          WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                            AND d.deptype = 'e')
    ),
    kinds (kind, default_kind, for_writer, for_reader, for_others) AS (VALUES
        ('p', 'n'::\"char\", '{USAGE}'::text[], '{USAGE}'::text[], '{}'::text[]),
        ('n', 'n', '{USAGE}', '{USAGE}', '{USAGE}'),
        ('S', 's', '{SELECT,UPDATE,USAGE}', '{SELECT}', '{SELECT}'),
        ('r', 'r', '{DELETE,INSERT,SELECT,TRUNCATE,UPDATE}', '{SELECT}', '{SELECT}')
    ),
    lists AS MATERIALIZED (SELECT kind, owner, acl FROM things GROUP BY kind, owner, acl),
    wrong AS MATERIALIZED (
        SELECT l.kind, l.owner, l.acl
        FROM lists l JOIN kinds k ON k.kind = l.kind CROSS JOIN who
             CROSS JOIN LATERAL (
                 SELECT coalesce(array_agg(a.privilege_type ORDER BY a.privilege_type)
                                 FILTER (WHERE a.grantee = who.writer), '{}') <> k.for_writer
                        OR coalesce(array_agg(a.privilege_type ORDER BY a.privilege_type)
                                    FILTER (WHERE a.grantee = who.reader), '{}') <> k.for_reader
                        OR coalesce(bool_or(a.is_grantable)
                                    FILTER (WHERE a.grantee IN (who.writer, who.reader)
                                               OR a.grantee = ANY (who.others)), false)
                        OR coalesce(bool_or(a.privilege_type <> ALL (k.for_others))
                                    FILTER (WHERE a.grantee = ANY (who.others)), false) AS is_wrong
                 FROM aclexplode(coalesce(l.acl, acldefault(k.default_kind, l.owner))) a
                 WHERE a.grantor = l.owner
             ) judged
        WHERE judged.is_wrong
    )
    SELECT t.kind, t.schema, t.name
    FROM things t
    WHERE EXISTS (SELECT FROM wrong w
                  WHERE w.kind = t.kind AND w.owner = t.owner
                    AND w.acl IS NOT DISTINCT FROM t.acl)
       OR t.relation IN (SELECT c.attrelid
                         FROM pg_attribute c CROSS JOIN LATERAL aclexplode(c.attacl) a
                              CROSS JOIN who
                         WHERE c.attacl IS NOT NULL AND a.privilege_type <> 'SELECT'
                           AND (a.grantee = who.reader OR a.grantee = ANY (who.others)))
    ORDER BY t.kind <> 'p', t.kind <> 'n', t.schema, t.name
    LIMIT $4";

/// What the superuser (oid 10) made, members of extensions and what belongs to tables aside.
/// Functions stay as they are: giving a function away that a superuser's session may call would
/// let the application's code run as the superuser.
const SUPERUSERS: &str = "
    SELECT CASE c.relkind WHEN 'S' THEN 'S' ELSE 'r' END, n.nspname::text, c.relname::text
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relowner = 10 AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      AND c.relpersistence <> 't'
      AND n.nspname <> 'information_schema' AND NOT starts_with(n.nspname::text, 'pg_')
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                        AND (d.deptype = 'e'
                             OR c.relkind = 'S' AND d.deptype IN ('a', 'i')
                                AND d.refclassid = 'pg_class'::regclass))
    UNION ALL
    SELECT 'T', n.nspname::text, t.typname::text
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
         LEFT JOIN pg_class c ON c.oid = t.typrelid
    WHERE t.typowner = 10 AND (t.typtype IN ('d', 'e', 'r') OR c.relkind = 'c')
      AND n.nspname <> 'information_schema' AND NOT starts_with(n.nspname::text, 'pg_')
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid
                        AND d.deptype = 'e')
    UNION ALL
    SELECT 'n', NULL, n.nspname::text
    FROM pg_namespace n
    WHERE n.nspowner = 10 AND n.nspname <> 'public'
      AND n.nspname <> 'information_schema' AND NOT starts_with(n.nspname::text, 'pg_')
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid
                        AND d.deptype = 'e')
    LIMIT $1";

/// Roles but $1 that own something in this database, temporary tables and default privileges aside.
const OWNERS: &str = "
    SELECT r.rolname::text
    FROM pg_authid r
    WHERE r.rolname <> $1
      AND EXISTS (
          SELECT FROM pg_shdepend s
          WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = r.oid AND s.deptype = 'o'
            AND s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND s.classid <> 'pg_default_acl'::regclass
            AND NOT (s.classid = 'pg_class'::regclass
                     AND EXISTS (SELECT FROM pg_class c
                                 WHERE c.oid = s.objid AND c.relpersistence = 't')))";

/// Looks at everything in the database, and who but the owner group owns something there. Where a
/// group is missing, the privileges of all objects are wrong.
pub(super) async fn see(
    control: &Control,
    want: &InstanceSpec,
    groups: &Groups,
) -> Result<(SeenObjects, Vec<String>), SqlError> {
    let (extensions, rest, default_privileges, superusers, wrong_privileges, owners) = tokio::try_join!(
        control.rows("look at extensions", EXTENSIONS, &[]),
        control.rows("look at the schema public", PUBLIC_AND_LARGE_OBJECTS, &[]),
        see_default_privileges(control, groups),
        see_objects(
            control,
            "look at owners",
            SUPERUSERS,
            &[(&AT_A_TIME, Type::INT8)]
        ),
        see_wrong_privileges(control, want, groups),
        see_owners(control, groups),
    )?;
    let (public_owner, large_objects_open) = rest
        .first()
        .map_or((None, false), |row| (row.get(0), row.get(1)));
    let objects = SeenObjects {
        public_owner,
        large_objects_open,
        extensions: extensions
            .iter()
            .map(|row| (row.get(0), row.get(1)))
            .collect(),
        default_privileges,
        wrong_privileges,
        superusers,
    };
    Ok((objects, owners))
}

/// Looks who but the owner group owns something in the database.
async fn see_owners(control: &Control, groups: &Groups) -> Result<Vec<String>, SqlError> {
    let parameters: &Parameters<'_> = &[(&groups.owner, Type::TEXT)];
    let rows = control.rows("look at owners", OWNERS, parameters).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn see_default_privileges(
    control: &Control,
    groups: &Groups,
) -> Result<BTreeMap<String, DefaultPrivileges>, SqlError> {
    let names = groups.names().map(str::to_owned).to_vec();
    let doing = "look at default privileges";
    let rows = control
        .rows(doing, DEFAULT_PRIVILEGES, &[(&names, Type::TEXT_ARRAY)])
        .await?;
    let mut all = BTreeMap::<String, DefaultPrivileges>::new();
    for row in &rows {
        let (maker, letter): (String, &str) = (row.get(3), row.get(4));
        let kind = letter.chars().next().unwrap_or_default();
        let privileges: &mut BTreeSet<_> = all.entry(maker).or_default().entry(kind).or_default();
        privileges.insert(privilege(row));
    }
    Ok(all)
}

async fn see_wrong_privileges(
    control: &Control,
    want: &InstanceSpec,
    groups: &Groups,
) -> Result<Vec<SeenObject>, SqlError> {
    let readers: Vec<_> = want
        .logins
        .iter()
        .filter(|login| login.access == Access::ReadOnly)
        .map(|login| login.role.clone())
        .collect();
    let parameters: &Parameters<'_> = &[
        (&groups.writer, Type::TEXT),
        (&groups.reader, Type::TEXT),
        (&readers, Type::TEXT_ARRAY),
        (&AT_A_TIME, Type::INT8),
    ];
    see_objects(control, "look at privileges", WRONG_PRIVILEGES, parameters).await
}

async fn see_objects(
    control: &Control,
    doing: &str,
    query: &str,
    parameters: &Parameters<'_>,
) -> Result<Vec<SeenObject>, SqlError> {
    let rows = control.rows(doing, query, parameters).await?;
    Ok(rows.iter().map(object).collect())
}

fn object(row: &Row) -> SeenObject {
    let kind = match row.get(0) {
        "n" | "p" => ObjectKind::Schema,
        "S" => ObjectKind::Sequence,
        "T" => ObjectKind::Type,
        _ => ObjectKind::Table,
    };
    SeenObject {
        kind,
        schema: row.get(1),
        name: row.get(2),
    }
}
