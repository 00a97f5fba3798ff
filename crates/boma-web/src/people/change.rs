//! Changes of who there is. Pure: whoever keeps the document reads, changes and writes it in one step.

use boma_problem::{Class, IntoProblem, Problem};

use super::password::{PasswordHash, UnfitPassword};
use super::{Assignment, People, Person, PersonName, ProviderIdentity, Rights, Token};

/// A change of who there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeopleChange {
    /// Somebody new, who chooses a password by the link that they are given.
    Invite {
        /// What they sign in with.
        name: PersonName,
        /// Their address, for commits; may be empty.
        email: String,
        /// What they may do.
        roles: Vec<Assignment>,
    },
    /// Another link to choose a password; the one before and all sessions are over.
    InviteAgain {
        /// Who.
        name: PersonName,
    },
    /// Somebody may do other things from now on.
    Assign {
        /// Who.
        name: PersonName,
        /// What, in place of what they may now.
        roles: Vec<Assignment>,
    },
    /// Nobody of that name signs in any more.
    Remove {
        /// Who.
        name: PersonName,
    },
    /// A person's own choice of a password; sessions that there are end.
    ChoosePassword {
        /// Who.
        name: PersonName,
        /// The count that their link or session is of.
        serial: u32,
        /// What is kept of it.
        password: PasswordHash,
    },
    /// A provider says who somebody is, and which groups' roles they have.
    SignIn(Somebody),
    /// A new token.
    AddToken(Token),
    /// A token lets nobody in any more.
    RemoveToken {
        /// Which.
        name: PersonName,
    },
}

/// Who somebody is, as a provider says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Somebody {
    /// What they are called here, if they are new.
    pub name: PersonName,
    /// Their address; may be empty.
    pub email: String,
    /// Who they are to the provider.
    pub identity: ProviderIdentity,
    /// What their groups may do; none: the provider does not say, and they keep what they have.
    pub roles: Option<Vec<Assignment>>,
}

/// Why somebody is not changed; everything is as it was.
#[derive(Debug, thiserror::Error)]
pub enum PeopleError {
    /// There is a person of that name.
    #[error("there is a person `{0}` already")]
    PersonExists(PersonName),
    /// There is a token of that name.
    #[error("there is a token `{0}` already")]
    TokenExists(PersonName),
    /// There is none of that name.
    #[error("there is no person `{0}`")]
    NoSuchPerson(PersonName),
    /// There is none of that name.
    #[error("there is no token `{0}`")]
    NoSuchToken(PersonName),
    /// A role is not theirs to give, or was not theirs to take.
    #[error("`{name}` has or gets a role where you are no admin")]
    NotYours {
        /// Who would be changed.
        name: PersonName,
    },
    /// Another link was made, or this one was followed.
    #[error("this link was followed already, or another one was made")]
    LinkSpent,
    /// A provider's person has no password here.
    #[error("`{0}` signs in with the provider and has no password here")]
    OfProvider(PersonName),
    /// Somebody who would choose another password does not know the one that they have.
    #[error("the current password is another one")]
    PasswordWrong,
    /// The password is not taken.
    #[error(transparent)]
    Unfit(#[from] UnfitPassword),
}

impl IntoProblem for PeopleError {
    fn problem(&self) -> Problem {
        let (code, hint) = match self {
            Self::PersonExists(_) => (
                "person-exists",
                "Take another name, or change what that one may do.",
            ),
            Self::TokenExists(_) => (
                "token-exists",
                "Take another name, or remove that one first.",
            ),
            Self::NoSuchPerson(_) => ("person-missing", "`boma people list` names everybody."),
            Self::NoSuchToken(_) => ("token-missing", "`boma token list` names them all."),
            Self::NotYours { .. } => (
                "role-not-yours",
                "Ask somebody who is admin of all that this is about; whoever runs `boma serve` is.",
            ),
            Self::LinkSpent => (
                "link-spent",
                "Ask whoever invited you for another link: `boma people invite NAME` prints one.",
            ),
            Self::OfProvider(_) => ("person-of-provider", "Change the password there."),
            Self::PasswordWrong => (
                "password-wrong",
                "Nothing was changed. Try again, or ask an admin for another invitation.",
            ),
            Self::Unfit(UnfitPassword::Short | UnfitPassword::Long) => (
                "password-unfit",
                "Four or five words that do not belong together make a good one.",
            ),
            Self::Unfit(UnfitPassword::Hash(_)) => ("password-unfit", "Try again."),
        };
        Problem::from_error(Class::User, code, self).hint(hint)
    }
}

impl PeopleChange {
    /// What the audit trail says of it.
    pub fn words(&self) -> String {
        let list = |roles: &[Assignment]| {
            let roles: Vec<String> = roles.iter().map(ToString::to_string).collect();
            roles.join(", ")
        };
        match self {
            Self::Invite { name, roles, .. } => format!("invite {name} as {}", list(roles)),
            Self::InviteAgain { name } => format!("invite {name} again"),
            Self::Assign { name, roles } => format!("let {name} be {}", list(roles)),
            Self::Remove { name } => format!("remove {name}"),
            Self::ChoosePassword { name, .. } => format!("{name} chooses a password"),
            Self::SignIn(one) => format!("{} signs in with the provider", one.name),
            Self::AddToken(token) => format!("token {} for {}", token.name, list(&token.roles)),
            Self::RemoveToken { name } => format!("remove token {name}"),
        }
    }

    /// Whether it would change anything that needs no right of anybody.
    pub(crate) fn changes(&self, people: &People) -> bool {
        let mut changed = people.clone();
        let applied = self.clone().apply(&mut changed, &Rights::default());
        applied.is_err() || changed != *people
    }

    /// Changes who there is, if whoever asks may.
    ///
    /// # Errors
    /// When they may not, or it does not fit; nothing is changed then.
    pub fn apply(self, people: &mut People, by: &Rights) -> Result<(), PeopleError> {
        match self {
            Self::Invite { name, email, roles } => people.invite(name, email, roles, by),
            Self::InviteAgain { name } => {
                let person = people.administered(&name, by)?;
                if person.provider.is_some() {
                    return Err(PeopleError::OfProvider(name));
                }
                person.serial += 1;
                person.password = None;
                Ok(())
            }
            Self::Assign { name, roles } => {
                if !by.administers(&roles) {
                    return Err(PeopleError::NotYours { name });
                }
                people.administered(&name, by)?.roles = roles;
                Ok(())
            }
            Self::Remove { name } => {
                people.administered(&name, by)?;
                people.people.retain(|one| one.name != name);
                Ok(())
            }
            Self::ChoosePassword {
                name,
                serial,
                password,
            } => {
                let person = people.known(&name)?;
                if person.serial != serial || person.provider.is_some() {
                    return Err(PeopleError::LinkSpent);
                }
                person.serial += 1;
                person.password = Some(password);
                Ok(())
            }
            Self::SignIn(somebody) => people.sign_in(somebody),
            Self::AddToken(token) => people.add_token(token, by),
            Self::RemoveToken { name } => people.remove_token(name, by),
        }
    }
}

impl People {
    fn known(&mut self, name: &PersonName) -> Result<&mut Person, PeopleError> {
        let found = self.people.iter_mut().find(|one| one.name == *name);
        found.ok_or_else(|| PeopleError::NoSuchPerson(name.clone()))
    }

    fn administered(&mut self, name: &PersonName, by: &Rights) -> Result<&mut Person, PeopleError> {
        let person = self.known(name)?;
        if by.administers(&person.roles) {
            return Ok(person);
        }
        Err(PeopleError::NotYours { name: name.clone() })
    }

    fn insert(&mut self, person: Person) {
        let at = self.people.partition_point(|one| one.name < person.name);
        self.people.insert(at, person);
    }

    fn invite(
        &mut self,
        name: PersonName,
        email: String,
        roles: Vec<Assignment>,
        by: &Rights,
    ) -> Result<(), PeopleError> {
        if self.person(&name).is_some() {
            return Err(PeopleError::PersonExists(name));
        }
        if !by.administers(&roles) {
            return Err(PeopleError::NotYours { name });
        }
        self.insert(Person {
            name,
            email,
            password: None,
            serial: 1,
            roles,
            provider: None,
        });
        Ok(())
    }

    /// Who has an identity keeps the name that they have here; who is new takes no name of others.
    fn sign_in(&mut self, somebody: Somebody) -> Result<(), PeopleError> {
        let Somebody {
            name,
            email,
            identity,
            roles,
        } = somebody;
        let is_it = |one: &&mut Person| one.provider.as_ref() == Some(&identity);
        if let Some(person) = self.people.iter_mut().find(is_it) {
            person.email = email;
            person.roles = roles.unwrap_or_else(|| std::mem::take(&mut person.roles));
            return Ok(());
        }
        if self.person(&name).is_some() {
            return Err(PeopleError::PersonExists(name));
        }
        self.insert(Person {
            name,
            email,
            password: None,
            serial: 1,
            roles: roles.unwrap_or_default(),
            provider: Some(identity),
        });
        Ok(())
    }

    fn add_token(&mut self, token: Token, by: &Rights) -> Result<(), PeopleError> {
        if self.tokens.iter().any(|one| one.name == token.name) {
            return Err(PeopleError::TokenExists(token.name));
        }
        if !by.administers(&token.roles) {
            return Err(PeopleError::NotYours { name: token.name });
        }
        let at = self.tokens.partition_point(|one| one.name < token.name);
        self.tokens.insert(at, token);
        Ok(())
    }

    fn remove_token(&mut self, name: PersonName, by: &Rights) -> Result<(), PeopleError> {
        let found = self.tokens.iter().position(|one| one.name == name);
        let at = found.ok_or_else(|| PeopleError::NoSuchToken(name.clone()))?;
        if !by.administers(&self.tokens[at].roles) {
            return Err(PeopleError::NotYours { name });
        }
        self.tokens.remove(at);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
