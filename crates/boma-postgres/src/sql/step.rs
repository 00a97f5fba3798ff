//! The steps that bring access to a spec.

use std::fmt;

use boma_instance::{Access, LoginSpec, names};

use super::MARK;
use super::seen::{SeenMembership, SeenObject};

/// The names that an instance's database brings with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    /// The database.
    pub database: String,
    /// Owns the database and what migrations make in it.
    pub owner: String,
    /// Reads and writes.
    pub writer: String,
    /// Reads.
    pub reader: String,
}

impl Groups {
    /// Those of a database.
    pub fn of(database: &str) -> Self {
        Self {
            database: database.to_owned(),
            owner: names::owner_group(database),
            writer: names::writer_group(database),
            reader: names::reader_group(database),
        }
    }

    /// The three groups.
    pub fn names(&self) -> [&str; 3] {
        [&self.owner, &self.writer, &self.reader]
    }

    /// The comments that mark the groups as Boma's.
    pub fn comments(&self) -> [String; 3] {
        ["owns what is in", "reads and writes", "reads"]
            .map(|what| format!("{MARK}{what} {}", self.database))
    }

    /// The group that a login with this access is a member of.
    pub fn of_access(&self, access: Access) -> &str {
        match access {
            Access::ReadWrite => &self.owner,
            Access::ReadOnly => &self.reader,
        }
    }
}

/// The comment that marks a login as Boma's.
pub fn login_comment(login: &LoginSpec) -> String {
    format!("{MARK}{}", login.comment)
}

/// One step. Each is one transaction, or says why it cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessStep {
    /// Ends connections of roles that are not there any more. Safe to repeat because ending what
    /// has ended does nothing.
    EndOrphans,
    /// Keeps a role from logging in, forgets its password, then ends its connections. Safe to
    /// repeat because each part is; until the last connection has ended, it is seen as not done.
    LockLogin {
        /// The role.
        role: String,
    },
    /// Gives what a role owns in the database to the owner group. Safe to repeat because it then
    /// owns nothing.
    Reassign {
        /// The role.
        role: String,
    },
    /// Ends a role: locked, its connections ended, what it owns given to the owner group, in each
    /// database its privileges revoked, at last dropped. One transaction for each database, since
    /// there is no other way; safe to repeat because a role that is half gone is still locked, and
    /// dropping goes on where it stopped.
    DropLogin {
        /// The role.
        role: String,
    },
    /// Takes a membership away. Safe to repeat because taking away what is not there does nothing.
    Revoke(SeenMembership),
    /// Makes the groups that are missing and takes from all of them what groups do not have. Safe
    /// to repeat because it looks what is there first.
    SetGroups,
    /// Makes the database: renames the spare one, else makes an empty one. Safe to repeat because
    /// a database of that name is made once; a failure leaves none.
    MakeDatabase,
    /// Sets owner and privileges of the database, lets sessions in. Safe to repeat because it says
    /// how things should be.
    SetDatabase {
        /// Whose privileges are taken before those of the groups are given; none: everybody's
        /// (`PUBLIC`).
        revoke_from: Vec<Option<String>>,
    },
    /// Keeps everybody but owner and writer from making large objects. Safe to repeat because it
    /// says how things should be.
    CloseLargeObjects,
    /// Gives `public` back to the database's owner. Safe to repeat because it says how things
    /// should be.
    OwnPublic,
    /// Sets default privileges for what a role makes. Safe to repeat because it says how things
    /// should be.
    SetDefaultPrivileges {
        /// The role that makes things: the owner group, or a login in spite of its `SET role`.
        maker: String,
    },
    /// Gives objects to the owner group, a hundred in a transaction. Safe to repeat because it says how things should be.
    OwnObjects(Vec<SeenObject>),
    /// Sets the groups' privileges on objects, and takes from everybody, and from logins that only
    /// read, what would let them write; a hundred objects in a transaction. Safe to repeat because it says how things should be.
    SetPrivileges {
        /// The objects.
        objects: Vec<SeenObject>,
        /// Logins that only read.
        readers: Vec<String>,
    },
    /// Creates an extension, and those that it needs. Safe to repeat because one that is there is
    /// left as it is.
    CreateExtension {
        /// Its name.
        name: String,
    },
    /// Makes or changes a login: attributes, password, comment, group and settings, all at once.
    /// Safe to repeat because it says how things should be.
    SetLogin(LoginSpec),
}

impl fmt::Display for AccessStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EndOrphans => f.write_str("end connections of roles that are gone"),
            Self::LockLogin { role } => write!(f, "lock login {role} and end its connections"),
            Self::Reassign { role } => write!(f, "give what {role} owns to the owner group"),
            Self::DropLogin { role } => write!(f, "remove login {role}"),
            Self::Revoke(membership) => {
                write!(f, "take {} out of {}", membership.member, membership.group)
            }
            Self::SetGroups => f.write_str("set groups"),
            Self::MakeDatabase => f.write_str("make database"),
            Self::SetDatabase { .. } => f.write_str("set owner and privileges of the database"),
            Self::CloseLargeObjects => f.write_str("close large objects to those who only read"),
            Self::OwnPublic => f.write_str("give schema public to the owner"),
            Self::SetDefaultPrivileges { maker } => {
                write!(f, "set privileges of what {maker} will make")
            }
            Self::OwnObjects(objects) => {
                write!(f, "give {} to the owner group", counted(objects))
            }
            Self::SetPrivileges { objects, .. } => {
                write!(f, "set privileges of {}", counted(objects))
            }
            Self::CreateExtension { name } => write!(f, "create extension {name}"),
            Self::SetLogin(login) => write!(f, "set login {}", login.role),
        }
    }
}

fn counted(objects: &[SeenObject]) -> String {
    match objects.len() {
        1 => "1 object".to_owned(),
        many => format!("{many} objects"),
    }
}
