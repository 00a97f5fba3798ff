//! What lets people and programs in, shown once to whoever asks for it.

use boma_instance::Secret;
use boma_problem::{Class, Problem};
use jiff::Timestamp;

use crate::access::Session;
use crate::failure::Failure;
use crate::people::{Assignment, People, PeopleChange, PersonName, Token};
use crate::site::Site;

impl Site {
    /// Where somebody who is invited chooses a password.
    pub(crate) fn invitation_link(
        &self,
        people: &People,
        name: &PersonName,
    ) -> Result<String, Failure> {
        let person = people.person(name);
        let origin = self.origin_for_people();
        let link =
            person.and_then(|person| self.access.invitation(person, &origin, Timestamp::now()));
        link.ok_or(Failure::SignedOut)
    }

    /// Makes a token that is good for some days, for somebody; what a program sends, and until when.
    pub(crate) async fn new_token(
        &self,
        session: &Session,
        name: PersonName,
        asked: (Vec<Assignment>, i64),
    ) -> Result<(Secret<String>, Option<Timestamp>), Failure> {
        let made_by = session.who.actor.clone();
        let made = Token::generate(name, asked, made_by, Timestamp::now());
        let (token, sent) = made.ok_or(Failure::SignedOut)?;
        let until = token.until;
        let change = PeopleChange::AddToken(token);
        self.change_people(session, change).await?;
        Ok((sent, until))
    }
}

/// A name or a role as somebody has written it.
pub(crate) fn read<T: std::str::FromStr<Err: std::error::Error>>(text: &str) -> Result<T, Failure> {
    let read = text.parse();
    read.map_err(|error: T::Err| {
        Problem::new(Class::User, "people-unreadable", error.to_string()).into()
    })
}
