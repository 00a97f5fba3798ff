//! Looking at roles, memberships and the database. What is inside of it is in [`super::objects`].

use std::collections::{BTreeMap, BTreeSet};

use boma_instance::InstanceSpec;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::control::{Control, Controls, Parameters};
use super::error::SqlError;
use super::objects;
use super::seen::{
    Password, Privilege, SeenDatabase, SeenMembership, SeenRole, SeenServer, TheDatabase,
};
use super::server;

/// Roles but PostgreSQL's own (`pg_…`) and the bootstrap superuser, whose oid is always 10.
const ROLES: &str = "
    SELECT r.rolname::text, r.rolcanlogin, r.rolsuper, r.rolcreaterole, r.rolcreatedb,
           r.rolinherit, r.rolreplication, r.rolbypassrls, r.rolconnlimit,
           coalesce(r.rolvaliduntil < 'infinity', false),
           shobj_description(r.oid, 'pg_authid'),
           r.rolpassword,
           (SELECT s.setconfig
            FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
            WHERE s.setrole = r.oid AND d.datname = $1),
           (SELECT count(*) FROM pg_stat_activity a WHERE a.usesysid = r.oid)::int4
    FROM pg_authid r
    WHERE r.oid <> 10 AND NOT starts_with(r.rolname::text, 'pg_')";

/// Who is a member of what. Older servers than 16 have no options, which makes memberships plain.
const MEMBERSHIPS: &str = "
    SELECT g.rolname::text, m.rolname::text, coalesce(x.rolname::text, 'postgres'),
           NOT a.admin_option
           AND coalesce((to_jsonb(a) ->> 'inherit_option')::bool, true)
           AND coalesce((to_jsonb(a) ->> 'set_option')::bool, true)
    FROM pg_auth_members a
         JOIN pg_authid g ON g.oid = a.roleid
         JOIN pg_authid m ON m.oid = a.member
         LEFT JOIN pg_authid x ON x.oid = a.grantor
    WHERE m.oid <> 10 AND NOT starts_with(m.rolname::text, 'pg_')
    ORDER BY 1, 2, 3";

const DATABASE: &str = "
    SELECT o.rolname::text,
           d.datallowconn AND d.datconnlimit = -1 AND NOT d.datistemplate
    FROM pg_database d JOIN pg_authid o ON o.oid = d.datdba
    WHERE d.datname = $1";

const DATABASE_PRIVILEGES: &str = "
    SELECT r.rolname::text, a.privilege_type, a.is_grantable
    FROM pg_database d
         CROSS JOIN LATERAL aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
         LEFT JOIN pg_authid r ON r.oid = a.grantee
    WHERE d.datname = $1";

const ORPHANS: &str = "
    SELECT count(*)::int4 FROM pg_stat_activity a
    WHERE a.usesysid IS NOT NULL
      AND NOT EXISTS (SELECT FROM pg_authid r WHERE r.oid = a.usesysid)";

impl Controls {
    /// Looks at the server as [`Self::observe_server`] does, and at everything that a plan of access
    /// steps needs to know. Changes nothing.
    ///
    /// With both connections open, what is in the database is looked at beside the rest: where
    /// they are new, most of the time goes into filling their caches.
    pub async fn look(
        &mut self,
        want: &InstanceSpec,
    ) -> Result<(SeenServer, SeenDatabase), SqlError> {
        let groups = self.groups().clone();
        let (outside, inside) = self.both().await?;
        let see_inside = async {
            match inside {
                Some(control) => Ok(Some(objects::see(control, want, &groups).await?)),
                None => Ok(None),
            }
        };
        // Boxed: a dozen queries under way at once are too large for whoever waits for them.
        let (server, mut seen, inside) = tokio::try_join!(
            Box::pin(server::see(outside)),
            Box::pin(see_cluster(outside, want)),
            Box::pin(see_inside)
        )?;
        if let Some((mut objects, owners)) = inside {
            let mut names = groups.names().into_iter();
            if !names.all(|name| seen.roles.contains_key(name)) {
                // Privileges are those of groups that are yet to be made.
                objects.wrong_privileges.clear();
            }
            for owner in owners {
                if let Some(role) = seen.roles.get_mut(&owner) {
                    role.owns_objects = true;
                }
            }
            seen.objects = Some(objects);
        }
        Ok((server, seen))
    }
}

async fn see_cluster(control: &Control, want: &InstanceSpec) -> Result<SeenDatabase, SqlError> {
    let (roles, memberships, database, orphans) = tokio::try_join!(
        see_roles(control, want),
        see_memberships(control),
        see_database(control, &want.database),
        control.rows("look for connections without a role", ORPHANS, &[]),
    )?;
    Ok(SeenDatabase {
        database,
        roles,
        memberships,
        orphans: orphans.first().map_or(0, |row| count(row, 0)),
        objects: None,
    })
}

async fn see_roles(
    control: &Control,
    want: &InstanceSpec,
) -> Result<BTreeMap<String, SeenRole>, SqlError> {
    let parameters: &Parameters<'_> = &[(&want.database, Type::TEXT)];
    let rows = control.rows("look at roles", ROLES, parameters).await?;
    Ok(rows.iter().map(|row| see_role(row, want)).collect())
}

fn see_role(row: &Row, want: &InstanceSpec) -> (String, SeenRole) {
    let name: String = row.get(0);
    let stored: Option<&str> = row.get(11);
    let wanted = want
        .logins
        .iter()
        .find(|login| login.role == name)
        .and_then(|login| login.verifier.as_ref());
    let password = match (stored, wanted) {
        (None, _) => Password::None,
        (Some(stored), Some(wanted)) if stored == wanted.expose() => Password::AsWanted,
        (Some(_), _) => Password::Other,
    };
    let settings: Option<Vec<String>> = row.get(12);
    let role = SeenRole {
        can_login: row.get(1),
        powers: powers(row),
        comment: row.get(10),
        password,
        settings: settings
            .unwrap_or_default()
            .iter()
            .filter_map(|setting| setting.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        connections: count(row, 13),
        owns_objects: false,
    };
    (name, role)
}

/// Attributes that no role of Boma's has.
fn powers(row: &Row) -> Vec<String> {
    let inherits: bool = row.get(5);
    let connection_limit: i32 = row.get(8);
    [
        ("SUPERUSER", row.get(2)),
        ("CREATEROLE", row.get(3)),
        ("CREATEDB", row.get(4)),
        ("NOINHERIT", !inherits),
        ("REPLICATION", row.get(6)),
        ("BYPASSRLS", row.get(7)),
        ("CONNECTION LIMIT", connection_limit != -1),
        ("VALID UNTIL", row.get(9)),
    ]
    .into_iter()
    .filter(|(_, has)| *has)
    .map(|(power, _)| power.to_owned())
    .collect()
}

async fn see_memberships(control: &Control) -> Result<Vec<SeenMembership>, SqlError> {
    let rows = control
        .rows("look at memberships", MEMBERSHIPS, &[])
        .await?;
    let membership = |row: &Row| SeenMembership {
        group: row.get(0),
        member: row.get(1),
        grantor: row.get(2),
        is_plain: row.get(3),
    };
    Ok(rows.iter().map(membership).collect())
}

async fn see_database(control: &Control, name: &str) -> Result<Option<TheDatabase>, SqlError> {
    let doing = "look at the database";
    let name = name.to_owned();
    let parameters: &Parameters<'_> = &[(&name, Type::TEXT)];
    let (rows, privileges) = tokio::try_join!(
        control.rows(doing, DATABASE, parameters),
        control.rows(doing, DATABASE_PRIVILEGES, parameters),
    )?;
    Ok(rows.first().map(|row| TheDatabase {
        owner: row.get(0),
        is_open: row.get(1),
        privileges: privileges.iter().map(privilege).collect::<BTreeSet<_>>(),
    }))
}

/// Reads grantee, kind and whether it is grantable.
pub(super) fn privilege(row: &Row) -> Privilege {
    Privilege {
        grantee: row.get(0),
        kind: row.get(1),
        grantable: row.get(2),
    }
}

fn count(row: &Row, column: usize) -> u32 {
    let count: i32 = row.get(column);
    u32::try_from(count).unwrap_or_default()
}
