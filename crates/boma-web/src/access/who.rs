//! Who asks, and that they may.

use boma_engine::catalog::Subject;

use crate::failure::Failure;
use crate::people::{PersonName, Rights, Role};

/// Somebody, or a program, that was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    /// As the audit trail names them.
    pub(crate) actor: String,
    /// The person; none: whoever runs the installation, or a program.
    pub(crate) person: Option<PersonName>,
    /// Their address, for commits; empty: none is known.
    pub(crate) email: String,
    /// What they may do.
    pub(crate) rights: Rights,
}

impl Who {
    /// That they may know of a resource; who may not is told that there is none.
    pub(crate) fn sees_or_not_there(&self, subject: &Subject, what: &str) -> Result<(), Failure> {
        if self.rights.sees(subject) {
            return Ok(());
        }
        Err(Failure::NotThere(format!("{what} of that name")))
    }

    /// That they have a role in a project.
    pub(crate) fn permit(&self, role: Role, project: &str) -> Result<Permit, Failure> {
        if self.rights.has(role, project) {
            return Ok(Permit {
                actor: self.actor.clone(),
            });
        }
        Err(Failure::NotAllowed {
            role,
            scope: project.to_owned(),
        })
    }

    /// That they have a role in all of several projects.
    pub(crate) fn permit_all<'p>(
        &self,
        role: Role,
        projects: impl IntoIterator<Item = &'p str>,
    ) -> Result<Permit, Failure> {
        for project in projects {
            self.permit(role, project)?;
        }
        Ok(Permit {
            actor: self.actor.clone(),
        })
    }
}

/// Somebody may do what they ask for. Only `Who` makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    actor: String,
}

impl Permit {
    /// As the audit trail names them.
    pub fn actor(&self) -> &str {
        &self.actor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_permitted_beyond_their_roles() {
        let who = Who {
            actor: "ana".to_owned(),
            person: None,
            email: String::new(),
            rights: Rights::new(vec!["developer:acme/login".parse().unwrap()]),
        };
        let (own, other) = ("acme/login/production/auth", "acme/pay/production/auth");
        assert_eq!(who.permit(Role::Developer, own).unwrap().actor(), "ana");
        assert!(who.permit(Role::Admin, own).is_err());
        assert!(who.permit_all(Role::Developer, [own]).is_ok());
        let Err(Failure::NotAllowed { role, scope }) = who.permit_all(Role::Viewer, [own, other])
        else {
            panic!("the other project is not theirs");
        };
        assert_eq!((role, &*scope), (Role::Viewer, other));
    }
}
