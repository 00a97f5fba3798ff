//! Names inside PostgreSQL that follow from names in manifests.
//!
//! Manifest names are RFC 1123 labels (`a-z`, `0-9`, `-`); inside PostgreSQL the hyphen becomes an
//! underscore, so that nobody has to quote. An instance holds one database, so only names of roles
//! must differ from each other there. All results fit PostgreSQL's 63 bytes.

/// Role that the agent works with; the cluster's bootstrap superuser, reachable over the Unix
/// socket by the instance's own system user only.
pub const SUPERUSER: &str = "postgres";

/// Longest name of a manifest that these rules are made for.
pub const LONGEST: usize = 40;

/// Name of the database inside PostgreSQL.
///
/// Names that PostgreSQL keeps for itself are moved out of the way: `postgres` becomes
/// `postgres_db`, `pg-x` becomes `db_pg_x`.
pub fn database(manifest_name: &str) -> String {
    let name = underscored(manifest_name);
    match name.as_str() {
        "postgres" | "template0" | "template1" => format!("{name}_db"),
        _ if name.starts_with("pg_") || starts_with_digit(&name) => format!("db_{name}"),
        _ => name,
    }
}

/// Group that owns the database and everything that migrations make in it.
pub fn owner_group(database: &str) -> String {
    format!("{database}_owner")
}

/// Group that reads and writes, without the right to change objects.
pub fn writer_group(database: &str) -> String {
    format!("{database}_writer")
}

/// Group that sees every table and writes nothing.
pub fn reader_group(database: &str) -> String {
    format!("{database}_reader")
}

/// Which of a grant's two logins.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Turn {
    /// The first login.
    First,
    /// The second login.
    Second,
}

impl Turn {
    /// Both, the first one first.
    pub const BOTH: [Self; 2] = [Self::First, Self::Second];

    /// The one whose turn is next.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    fn digit(self) -> char {
        match self {
            Self::First => '1',
            Self::Second => '2',
        }
    }
}

/// Login role of a grant.
///
/// `auth-api` of the database's own project becomes `auth_api_1` and `auth_api_2`. An application
/// of another project (`foreign_project`, its full identity) gets eight digits of a hash of that
/// identity in between, so that two projects with an `auth-api` each do not meet. A group name
/// never ends in `_1` or `_2`, so logins and groups do not meet either.
pub fn login(application: &str, foreign_project: Option<&str>, turn: Turn) -> String {
    let name = underscored(application);
    let reserved = name.starts_with("pg_") || starts_with_digit(&name);
    let name = if reserved {
        format!("app_{name}")
    } else {
        name
    };
    let digit = turn.digit();
    match foreign_project {
        None if !reserved => format!("{name}_{digit}"),
        project => {
            let hash = fnv1a(project.unwrap_or_default().as_bytes());
            format!("{name}_{hash:08x}_{digit}")
        }
    }
}

fn underscored(name: &str) -> String {
    name.replace('-', "_")
}

fn starts_with_digit(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_digit())
}

/// FNV-1a, 32 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>): stable across releases, which
/// the standard library's hasher is not.
pub fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_moved_out_of_the_way_of_postgresql() {
        for (manifest, sql) in [
            ("accounts-db", "accounts_db"),
            ("postgres", "postgres_db"),
            ("template1", "template1_db"),
            ("pg-x", "db_pg_x"),
            ("1st", "db_1st"),
        ] {
            assert_eq!(database(manifest), sql);
        }
    }

    #[test]
    fn logins_of_two_projects_differ() {
        assert_eq!(login("auth-api", None, Turn::First), "auth_api_1");
        let one = login("auth-api", Some("a/b/c/d"), Turn::First);
        let other = login("auth-api", Some("a/b/c/e"), Turn::First);
        assert_ne!(one, other);
        assert_ne!(
            login("pg-x", None, Turn::First),
            login("app-pg-x", None, Turn::First)
        );
    }

    #[test]
    fn the_longest_names_fit() {
        let long = "p".repeat(LONGEST);
        assert!(owner_group(&database(&long)).len() <= 63);
        assert!(login(&format!("pg-{}", &long[3..]), Some("x"), Turn::Second).len() <= 63);
    }

    #[test]
    fn the_hash_is_fnv1a() {
        // Test vectors of the reference page.
        assert_eq!(fnv1a(b""), 0x811c_9dc5);
        assert_eq!(fnv1a(b"foobar"), 0xbf9c_f968);
    }
}
