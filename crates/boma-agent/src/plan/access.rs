//! Plans roles, privileges, the database and its extensions.
//!
//! ```text
//!   groups ─► logins that go, or change what they may do: locked, connections ended, stripped
//!          ─► the database, its privileges, what is in it
//!          ─► extensions ─► logins
//! ```
//!
//! Taking away comes before giving. A login whose rights change is locked until it has no
//! connection left, then changed, then opened again: a session keeps the role that it has set, so
//! changing memberships under it would leave it what it had. Whatever step is the last before a
//! crash, what is left to do shows in the next observation.

use std::collections::{BTreeMap, BTreeSet};

use boma_instance::{Access, InstanceSpec, LoginSpec};
use boma_postgres::sql::{
    AccessStep, DefaultPrivileges, Groups, ObjectKind, Password, Privilege, SeenDatabase,
    SeenMembership, SeenObject, SeenObjects, SeenRole, login_comment,
};

/// Plans access. Empty: it is as the spec says.
///
/// # Guarantees
/// - A role that Boma did not make and the spec does not name is left alone.
/// - No extension is dropped, and no object: what a login owned goes to the owner group first.
/// - A login's rights shrink only while it is locked and has no connection.
pub fn plan(want: &InstanceSpec, seen: &SeenDatabase) -> Vec<AccessStep> {
    let planner = Planner {
        want,
        seen,
        groups: Groups::of(&want.database),
    };
    let mut steps = Vec::new();
    planner.groups(&mut steps);
    planner.removals(&mut steps);
    planner.database(&mut steps);
    planner.objects(&mut steps);
    planner.logins(&mut steps);
    steps
}

/// What of [`plan`] is done even where changes by hand are left: who may connect, that groups and
/// database are there, and what a login has made.
pub fn enforced(want: &InstanceSpec, seen: &SeenDatabase) -> Vec<AccessStep> {
    let planner = Planner {
        want,
        seen,
        groups: Groups::of(&want.database),
    };
    plan(want, &planner.overlooked())
}

/// Whether a step follows from ordinary use, such as a pool that resets the role of its sessions.
pub fn is_upkeep(step: &AccessStep) -> bool {
    matches!(step, AccessStep::EndOrphans | AccessStep::Reassign { .. })
}

/// What a spec says of access, in one line that is the same for the same: who may do what, and
/// extensions; not by which of its two logins.
pub fn outline(want: &InstanceSpec) -> String {
    let grants = want.logins.iter().map(|login| {
        let access = match login.access {
            Access::ReadOnly => "reads",
            Access::ReadWrite => "writes",
        };
        format!("{} {access}", login.comment)
    });
    let extensions = want.extensions.iter().map(|name| format!("with {name}"));
    let words: BTreeSet<String> = grants.chain(extensions).collect();
    let words: Vec<String> = words.into_iter().collect();
    format!("{}: {}", want.database, words.join(", "))
}

struct Planner<'a> {
    want: &'a InstanceSpec,
    seen: &'a SeenDatabase,
    groups: Groups,
}

impl Planner<'_> {
    /// What is seen, as if nobody had changed by hand what roles may do.
    fn overlooked(&self) -> SeenDatabase {
        let mut seen = self.seen.clone();
        seen.memberships.retain(|one| !self.is_unwanted(one));
        for (login, _) in self.seen_logins() {
            if !seen.memberships.iter().any(|one| one.member == login.role) {
                seen.memberships.push(SeenMembership {
                    group: self.groups.of_access(login.access).to_owned(),
                    member: login.role.clone(),
                    grantor: String::new(),
                    is_plain: true,
                });
            }
            if let Some(role) = seen.roles.get_mut(&login.role) {
                role.powers = Vec::new();
                role.comment = Some(login_comment(login));
                role.settings = self.settings(login);
            }
        }
        for (name, comment) in self.groups.names().into_iter().zip(self.groups.comments()) {
            if let Some(role) = seen.roles.get_mut(name) {
                role.powers = Vec::new();
                role.comment = Some(comment);
                role.password = Password::None;
            }
        }
        if let Some(database) = &mut seen.database {
            database.owner.clone_from(&self.groups.owner);
            database.is_open = true;
            database.privileges = self.database_privileges();
        }
        if let Some(objects) = &mut seen.objects {
            *objects = self.objects_as_wanted();
        }
        seen
    }

    /// What is in the database when all is as the spec says.
    fn objects_as_wanted(&self) -> SeenObjects {
        let writers = self.want.logins.iter();
        let writers = writers.filter(|login| login.access == Access::ReadWrite);
        let makers = writers.map(|login| login.role.as_str());
        let makers = makers.chain([self.groups.owner.as_str()]);
        let extensions = self.want.extensions.iter();
        SeenObjects {
            extensions: extensions
                .map(|name| (name.clone(), String::new()))
                .collect(),
            public_owner: Some(self.groups.owner.clone()),
            default_privileges: makers
                .map(|maker| (maker.to_owned(), default_privileges(&self.groups, maker)))
                .collect(),
            ..SeenObjects::default()
        }
    }

    fn wanted(&self, role: &str) -> Option<&LoginSpec> {
        self.want.logins.iter().find(|login| login.role == role)
    }

    /// Roles that Boma made and nobody asks for any more.
    fn leftovers(&self) -> impl Iterator<Item = &str> {
        self.seen
            .roles
            .iter()
            .filter(|(name, role)| {
                role.is_ours()
                    && self.wanted(name).is_none()
                    && !self.groups.names().contains(&name.as_str())
            })
            .map(|(name, _)| name.as_str())
    }

    fn is_leftover(&self, role: &str) -> bool {
        self.leftovers().any(|leftover| leftover == role)
    }

    /// The groups come first, because what a removed login owned goes to one of them.
    fn groups(&self, steps: &mut Vec<AccessStep>) {
        let mut wrong = false;
        for (name, comment) in self.groups.names().into_iter().zip(self.groups.comments()) {
            let Some(role) = self.seen.roles.get(name) else {
                wrong = true;
                continue;
            };
            if role.can_login || role.connections > 0 {
                steps.push(AccessStep::LockLogin {
                    role: name.to_owned(),
                });
            }
            wrong |= !role.powers.is_empty()
                || role.password != Password::None
                || role.comment.as_deref() != Some(comment.as_str());
        }
        if wrong {
            steps.push(AccessStep::SetGroups);
        }
    }

    fn removals(&self, steps: &mut Vec<AccessStep>) {
        if self.seen.orphans > 0 {
            steps.push(AccessStep::EndOrphans);
        }
        for role in self.leftovers() {
            steps.push(AccessStep::DropLogin {
                role: role.to_owned(),
            });
        }
        for (login, role) in self.seen_logins() {
            if self.must_be_locked(login, role) {
                steps.push(AccessStep::LockLogin {
                    role: login.role.clone(),
                });
            }
        }
        for name in self.groups.names().into_iter().chain(self.login_names()) {
            let owns = self
                .seen
                .roles
                .get(name)
                .is_some_and(|role| role.owns_objects);
            if owns && name != self.groups.owner {
                steps.push(AccessStep::Reassign {
                    role: name.to_owned(),
                });
            }
        }
        for membership in self
            .seen
            .memberships
            .iter()
            .filter(|one| self.is_unwanted(one))
        {
            steps.push(AccessStep::Revoke(membership.clone()));
        }
    }

    /// Memberships that the groups and logins must not have, in either direction.
    fn is_unwanted(&self, membership: &SeenMembership) -> bool {
        let is_group = |name: &String| self.groups.names().contains(&name.as_str());
        if self.is_leftover(&membership.member) {
            return false;
        }
        match self.wanted(&membership.member) {
            Some(login) => {
                membership.group != self.groups.of_access(login.access) || !membership.is_plain
            }
            None => is_group(&membership.group) || is_group(&membership.member),
        }
    }

    fn database(&self, steps: &mut Vec<AccessStep>) {
        let wanted = self.database_privileges();
        let Some(database) = &self.seen.database else {
            steps.push(AccessStep::MakeDatabase);
            steps.push(AccessStep::SetDatabase {
                revoke_from: vec![None],
            });
            return;
        };
        let found: BTreeSet<_> = database
            .privileges
            .iter()
            .filter(|privilege| self.is_concern(privilege))
            .cloned()
            .collect();
        if database.owner != self.groups.owner || !database.is_open || found != wanted {
            let excess = found
                .difference(&wanted)
                .map(|privilege| privilege.grantee.clone());
            let revoke_from: BTreeSet<_> = excess.chain([None]).collect();
            let revoke_from = revoke_from.into_iter().collect();
            steps.push(AccessStep::SetDatabase { revoke_from });
        }
    }

    /// Whether a privilege is one of everybody's, of a group's or of a login's that stays.
    fn is_concern(&self, privilege: &Privilege) -> bool {
        privilege.grantee.as_ref().is_none_or(|grantee| {
            self.groups.names().contains(&grantee.as_str()) || self.wanted(grantee).is_some()
        })
    }

    fn database_privileges(&self) -> BTreeSet<Privilege> {
        let mut all = privileges(&self.groups.owner, &["CONNECT", "CREATE", "TEMPORARY"]);
        all.extend(privileges(&self.groups.writer, &["CONNECT", "TEMPORARY"]));
        all.extend(privileges(&self.groups.reader, &["CONNECT"]));
        all
    }

    fn objects(&self, steps: &mut Vec<AccessStep>) {
        let new = new_database();
        let objects = match (&self.seen.database, &self.seen.objects) {
            (_, Some(objects)) => objects,
            (None, None) => &new,
            // It lets nobody in; it is looked at when it does.
            (Some(_), None) => return,
        };
        let strange = |owner: &String| *owner != self.groups.owner && owner != "pg_database_owner";
        if objects.public_owner.as_ref().is_some_and(strange) {
            steps.push(AccessStep::OwnPublic);
        }
        if objects.large_objects_open {
            steps.push(AccessStep::CloseLargeObjects);
        }
        self.default_privileges(&self.groups.owner, objects, steps);
        if !objects.superusers.is_empty() {
            steps.push(AccessStep::OwnObjects(objects.superusers.clone()));
        }
        if !objects.wrong_privileges.is_empty() {
            let readers = self
                .seen_logins()
                .filter(|(login, _)| login.access == Access::ReadOnly)
                .map(|(login, _)| login.role.clone())
                .collect();
            let objects = objects.wrong_privileges.clone();
            steps.push(AccessStep::SetPrivileges { objects, readers });
        }
        for name in &self.want.extensions {
            if !objects.extensions.contains_key(name) {
                steps.push(AccessStep::CreateExtension { name: name.clone() });
            }
        }
    }

    fn logins(&self, steps: &mut Vec<AccessStep>) {
        for login in &self.want.logins {
            let role = self.seen.roles.get(&login.role);
            if role.is_none_or(|role| self.differs(login, role)) {
                steps.push(AccessStep::SetLogin(login.clone()));
            }
        }
        let new = new_database();
        let objects = self.seen.objects.as_ref().unwrap_or(&new);
        for login in &self.want.logins {
            if login.access == Access::ReadWrite {
                self.default_privileges(&login.role, objects, steps);
            }
        }
    }

    /// Default privileges, so that the groups reach what is made next. A login makes things of its
    /// own when a pool resets its sessions and with them the role; until those are given to the
    /// owner group, the others can use them all the same.
    fn default_privileges(&self, maker: &str, objects: &SeenObjects, steps: &mut Vec<AccessStep>) {
        let none = DefaultPrivileges::new();
        let found = objects.default_privileges.get(maker).unwrap_or(&none);
        if *found != default_privileges(&self.groups, maker) {
            steps.push(AccessStep::SetDefaultPrivileges {
                maker: maker.to_owned(),
            });
        }
    }

    fn login_names(&self) -> impl Iterator<Item = &str> {
        self.want.logins.iter().map(|login| login.role.as_str())
    }

    fn seen_logins(&self) -> impl Iterator<Item = (&LoginSpec, &SeenRole)> {
        self.want
            .logins
            .iter()
            .filter_map(|login| Some((login, self.seen.roles.get(&login.role)?)))
    }

    /// Whether a login must have no session: it is to be locked, or what its sessions may do, or
    /// begin with, is not what it should be.
    fn must_be_locked(&self, login: &LoginSpec, role: &SeenRole) -> bool {
        let is_open = role.can_login || role.connections > 0;
        let changes = !role.powers.is_empty()
            || !self.has_settings(login, role)
            || self
                .seen
                .memberships
                .iter()
                .any(|one| one.member == login.role && self.is_unwanted(one));
        is_open && (login.verifier.is_none() || changes)
    }

    fn differs(&self, login: &LoginSpec, role: &SeenRole) -> bool {
        let password = match login.verifier {
            Some(_) => Password::AsWanted,
            None => Password::None,
        };
        let is_member = self
            .seen
            .memberships
            .iter()
            .any(|one| one.member == login.role && !self.is_unwanted(one));
        role.can_login != login.verifier.is_some()
            || role.password != password
            || !role.powers.is_empty()
            || role.comment != Some(login_comment(login))
            || !is_member
            || !self.has_settings(login, role)
            || self.must_be_locked(login, role)
    }

    /// Whether its sessions begin as they should; other settings are the login's own.
    fn has_settings(&self, login: &LoginSpec, role: &SeenRole) -> bool {
        let wanted = self.settings(login);
        ["role", "default_transaction_read_only"]
            .into_iter()
            .all(|name| role.settings.get(name) == wanted.get(name))
    }

    /// How its sessions should begin.
    fn settings(&self, login: &LoginSpec) -> BTreeMap<String, String> {
        let (name, value) = match login.access {
            Access::ReadWrite => ("role", self.groups.owner.as_str()),
            Access::ReadOnly => ("default_transaction_read_only", "on"),
        };
        BTreeMap::from([(name.to_owned(), value.to_owned())])
    }
}

/// What is in a database that was just made out of `template0`.
fn new_database() -> SeenObjects {
    SeenObjects {
        public_owner: Some("pg_database_owner".to_owned()),
        large_objects_open: true,
        wrong_privileges: vec![SeenObject {
            kind: ObjectKind::Schema,
            schema: None,
            name: "public".to_owned(),
        }],
        ..SeenObjects::default()
    }
}

/// What new objects of a role should grant, see [`AccessStep::SetDefaultPrivileges`].
fn default_privileges(groups: &Groups, maker: &str) -> DefaultPrivileges {
    const WRITE: &[&str] = &["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"];
    const ADVANCE: &[&str] = &["SELECT", "UPDATE", "USAGE"];
    let mut all = BTreeMap::new();
    for (kind, for_owner, for_writer, for_reader) in [
        ('r', WRITE, WRITE, &["SELECT"]),
        ('S', ADVANCE, ADVANCE, &["SELECT"]),
        ('n', &["USAGE", "CREATE"], &["USAGE"], &["USAGE"]),
    ] {
        let mut those = privileges(&groups.writer, for_writer);
        those.extend(privileges(&groups.reader, for_reader));
        if maker != groups.owner {
            those.extend(privileges(&groups.owner, for_owner));
        }
        all.insert(kind, those);
    }
    all
}

fn privileges(grantee: &str, kinds: &[&str]) -> BTreeSet<Privilege> {
    kinds
        .iter()
        .map(|kind| Privilege {
            grantee: Some(grantee.to_owned()),
            kind: (*kind).to_owned(),
            grantable: false,
        })
        .collect()
}

#[cfg(test)]
mod tests;
