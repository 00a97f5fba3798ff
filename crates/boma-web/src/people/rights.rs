//! Roles, what they are given on, and what follows from them.

use std::fmt;
use std::str::FromStr;

use boma_engine::catalog::Subject;
use serde::{Deserialize, Serialize};

/// Names of a project's identity.
const NAMES: usize = 4;

/// What somebody may do; each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees resources, plans and events; no secret.
    Viewer,
    /// Changes manifests, rotates, backs up, stops and starts, restores, and may have a password shown.
    Developer,
    /// Sees the audit trail, destroys what is retired, and says who may do what.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Developer, Self::Admin];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Developer => "developer",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a role is given on: an organization, one of its units, an environment of that, a project; or
/// everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(String);

/// A text names nothing that a role can be given on.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is neither `everything` nor organization, organization/unit, organization/unit/environment or organization/unit/environment/project"
)]
pub struct NotAScope(String);

impl Scope {
    /// All projects.
    pub fn everything() -> Self {
        Self(String::new())
    }

    /// Whether it is all projects.
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a project, or another scope, is within it.
    pub fn covers(&self, inner: &str) -> bool {
        let rest = inner.strip_prefix(&*self.0);
        self.is_everything() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromStr for Scope {
    type Err = NotAScope;

    fn from_str(text: &str) -> Result<Self, NotAScope> {
        if text == "everything" {
            return Ok(Self::everything());
        }
        let is_letter = |one: char| one.is_ascii_alphanumeric() || "._-".contains(one);
        let is_name = |name: &str| !name.is_empty() && name.chars().all(is_letter);
        let is_scope = text.split('/').count() <= NAMES && text.split('/').all(is_name);
        is_scope
            .then(|| Self(text.to_owned()))
            .ok_or_else(|| NotAScope(text.to_owned()))
    }
}

impl TryFrom<String> for Scope {
    type Error = NotAScope;

    fn try_from(text: String) -> Result<Self, NotAScope> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_everything() {
            "everything"
        } else {
            &self.0
        })
    }
}

/// A role on a scope, written `developer:fincorp/retail-banking`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Assignment {
    /// What may be done.
    pub role: Role,
    /// With what.
    pub scope: Scope,
}

/// A text is no role on a scope.
#[derive(Debug, thiserror::Error)]
pub enum NotAnAssignment {
    /// It begins with no role.
    #[error("`{0}` is no role: viewer, developer or admin, alone or with `:` and what it is on")]
    Role(String),
    /// It names no scope.
    #[error(transparent)]
    Scope(#[from] NotAScope),
}

impl FromStr for Assignment {
    type Err = NotAnAssignment;

    fn from_str(text: &str) -> Result<Self, NotAnAssignment> {
        let (role, scope) = text.split_once(':').unwrap_or((text, "everything"));
        let mut roles = Role::ALL.into_iter();
        let role = roles.find(|one| one.name() == role);
        Ok(Self {
            role: role.ok_or_else(|| NotAnAssignment::Role(text.to_owned()))?,
            scope: scope.parse()?,
        })
    }
}

impl fmt::Display for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.role, self.scope)
    }
}

/// What somebody may do where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights(Vec<Assignment>);

impl Rights {
    /// What these roles allow.
    pub fn new(roles: Vec<Assignment>) -> Self {
        Self(roles)
    }

    /// Whatever can be done: of whoever runs the installation.
    pub fn of_owner() -> Self {
        Self(vec![Assignment {
            role: Role::Admin,
            scope: Scope::everything(),
        }])
    }

    /// The roles.
    pub fn roles(&self) -> &[Assignment] {
        &self.0
    }

    /// Whether they have a role in a project or on a scope, or one that may do more.
    pub fn has(&self, role: Role, project: &str) -> bool {
        let mut roles = self.0.iter();
        roles.any(|one| one.role >= role && one.scope.covers(project))
    }

    /// Whether they have a role everywhere.
    pub fn has_everywhere(&self, role: Role) -> bool {
        let mut roles = self.0.iter();
        roles.any(|one| one.role >= role && one.scope.is_everything())
    }

    /// Whether they have a role anywhere.
    pub fn has_somewhere(&self, role: Role) -> bool {
        self.0.iter().any(|one| one.role >= role)
    }

    /// Whether they say who has these roles: whether they are admin wherever one of them is given.
    pub fn administers(&self, roles: &[Assignment]) -> bool {
        let is_own = |one: &Assignment| {
            let mut own = self.0.iter().filter(|mine| mine.role == Role::Admin);
            own.any(|mine| mine.scope.is_everything() || mine.scope.covers(&one.scope.0))
        };
        self.has_somewhere(Role::Admin) && roles.iter().all(is_own)
    }

    /// Those of whom they say who has which roles.
    pub(crate) fn administered<'a, T>(
        &self,
        all: &'a [T],
        roles: impl Fn(&T) -> &[Assignment],
    ) -> impl Iterator<Item = &'a T> {
        all.iter().filter(move |one| self.administers(roles(one)))
    }

    /// Whether they may know of a resource.
    pub fn sees(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Installation => self.has_everywhere(Role::Viewer),
            Subject::Database(key) => self.has(Role::Viewer, &key.project),
            Subject::Application(key) => self.has(Role::Viewer, &key.project),
        }
    }

    /// Whether they have a role in what an entry of the journal is about, by its words.
    pub fn has_in(&self, role: Role, subject: &str) -> bool {
        let key = subject.split_once(' ').map(|(_, key)| key);
        let project = key.and_then(|key| key.rsplit_once('/')).map(|(one, _)| one);
        match project {
            Some(project) => self.has(role, project),
            None => self.has_everywhere(role),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(roles: &[&str]) -> Rights {
        Rights::new(roles.iter().map(|one| one.parse().unwrap()).collect())
    }

    #[test]
    fn a_scope_covers_what_is_below_it_and_nothing_beside_it() {
        let scope: Scope = "acme/login".parse().unwrap();
        for inner in ["acme/login", "acme/login/production/auth"] {
            assert!(scope.covers(inner), "{inner}");
        }
        for outer in [
            "acme",
            "acme/login2/production/auth",
            "acme/log",
            "",
            "other/login",
        ] {
            assert!(!scope.covers(outer), "{outer}");
        }
        assert!(Scope::everything().covers("acme"));
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["viewer:everything", "developer:acme/login", "admin:a/b/c/d"] {
            assert_eq!(text.parse::<Assignment>().unwrap().to_string(), text);
        }
        assert_eq!(
            "admin".parse::<Assignment>().unwrap().to_string(),
            "admin:everything"
        );
        for (text, part) in [
            ("", "no role"),
            ("root:acme", "no role"),
            ("admin:", "neither"),
            ("admin:a//b", "neither"),
            ("admin:a/b/c/d/e", "neither"),
            ("admin:a b", "neither"),
        ] {
            let refused = text.parse::<Assignment>().unwrap_err().to_string();
            assert!(refused.contains(part), "{text}: {refused}");
        }
    }

    #[test]
    fn a_role_may_do_what_lesser_ones_may_within_its_scope() {
        let rights = rights(&["viewer:acme", "developer:acme/login/development/auth"]);
        let (own, other) = ("acme/login/development/auth", "acme/login/production/auth");
        assert!(rights.has(Role::Viewer, own) && rights.has(Role::Developer, own));
        assert!(rights.has(Role::Viewer, other) && !rights.has(Role::Developer, other));
        assert!(!rights.has(Role::Viewer, "other/unit/e/p"));
        assert!(!rights.has_everywhere(Role::Viewer) && rights.has_somewhere(Role::Developer));
        assert!(!rights.has_somewhere(Role::Admin) && Rights::of_owner().has(Role::Admin, own));
    }

    #[test]
    fn only_who_is_admin_of_all_of_it_gives_a_role() {
        let admin = rights(&["admin:acme/login", "developer:acme"]);
        let roles = |text: &str| vec![text.parse::<Assignment>().unwrap()];
        assert!(admin.administers(&roles("admin:acme/login")));
        assert!(admin.administers(&roles("viewer:acme/login/production")));
        assert!(!admin.administers(&roles("viewer:acme")));
        assert!(!admin.administers(&roles("viewer")));
        assert!(!rights(&["developer"]).administers(&[]));
        assert!(Rights::of_owner().administers(&roles("admin")));
    }

    #[test]
    fn an_entry_is_seen_by_who_sees_what_it_is_about() {
        let rights = rights(&["viewer:acme/login"]);
        assert!(rights.has_in(
            Role::Viewer,
            "Database acme/login/production/auth/accounts-db"
        ));
        assert!(!rights.has_in(
            Role::Viewer,
            "Database acme/pay/production/auth/accounts-db"
        ));
        assert!(!rights.has_in(Role::Viewer, "Installation"));
        assert!(Rights::of_owner().has_in(Role::Admin, "Installation"));
    }
}
