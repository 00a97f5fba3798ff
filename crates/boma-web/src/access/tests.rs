//! Links, invitations, sessions and tokens.

use async_trait::async_trait;

use super::*;
use crate::people::{PeopleChange, Role};

/// People in memory.
#[derive(Default)]
struct Kept(Mutex<People>);

#[async_trait]
impl Register for Kept {
    async fn people(&self) -> Result<People, Box<Problem>> {
        Ok(self.0.lock().unwrap().clone())
    }

    async fn change_people(
        &self,
        change: PeopleChange,
        rights: &Rights,
        _actor: &str,
    ) -> Result<People, Box<Problem>> {
        let mut people = self.0.lock().unwrap();
        change.apply(&mut people, rights).unwrap();
        Ok(people.clone())
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn access_of(key: u8, run: &str) -> Access {
    let keys = Keys {
        key: SigningKey::new(&[key; 32]),
        run: run.to_owned(),
        owner: "owner".to_owned(),
    };
    Access::new(keys, Arc::new(Kept::default()))
}

async fn session(access: &Access, sent: &str, second: i64) -> Option<Session> {
    access.session(sent, at(second)).await.unwrap()
}

async fn change(access: &Access, change: PeopleChange) -> Arc<People> {
    let owner = Rights::of_owner();
    let changed = access.register().change_people(change, &owner, "owner");
    access.learn(changed.await.unwrap())
}

fn ana() -> PeopleChange {
    PeopleChange::Invite {
        name: "ana".parse().unwrap(),
        email: "ana@shop.example".to_owned(),
        roles: vec!["developer:acme".parse().unwrap()],
    }
}

/// What is in the link of an invitation.
fn invitation(here: &Access, person: &Person) -> String {
    let link = here
        .invitation(person, "https://boma.example", at(0))
        .unwrap();
    let token = link.strip_prefix("https://boma.example/invitation?token=");
    token.unwrap().to_owned()
}

#[tokio::test]
async fn a_link_opens_one_session_within_its_time() {
    let here = access_of(7, "first");
    let link = here.links.token(at(0)).unwrap();
    assert!(here.follow(&link, at(15 * 60)).is_none(), "too late");
    let cookie = here.follow(&link, at(1)).unwrap();
    assert!(here.follow(&link, at(2)).is_none(), "a second time");
    let opened = session(&here, &cookie, 60).await.unwrap();
    assert_eq!(opened.who.actor, "owner");
    assert!(session(&here, &cookie, 12 * 3600 + 2).await.is_none());
}

#[tokio::test]
async fn a_session_outlives_a_restart_and_a_link_does_not() {
    let before = access_of(7, "first");
    let (link, used) = (before.links.token(at(0)), before.links.token(at(0)));
    let cookie = before.follow(&used.unwrap(), at(1)).unwrap();
    let after = access_of(7, "second");
    assert!(session(&after, &cookie, 2).await.is_some());
    assert!(after.follow(&link.unwrap(), at(2)).is_none());
    let other = access_of(8, "first");
    assert!(session(&other, &cookie, 2).await.is_none());
}

#[tokio::test]
async fn a_token_that_was_changed_is_none() {
    let here = access_of(7, "first");
    let people = change(&here, ana()).await;
    let owner = here.key.token(at(0)).unwrap();
    let person = here.open(&people.people[0], at(0)).unwrap();
    for cookie in [&owner, &person] {
        assert!(session(&here, cookie, 1).await.is_some());
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(cookie).unwrap();
        for index in 0..bytes.len() {
            let mut other = bytes.clone();
            other[index] ^= 1;
            let text = BASE64_URL_SAFE_NO_PAD.encode(&other);
            assert!(session(&here, &text, 1).await.is_none(), "byte {index}");
        }
        for text in ["", "a", "!", &cookie[..20], &format!("{cookie}AA")] {
            assert!(session(&here, text, 1).await.is_none(), "{text}");
        }
    }
    // A link is no session, a session no link, and neither is an invitation.
    let link = here.links.token(at(0)).unwrap();
    let invitation = invitation(&here, &people.people[0]);
    assert!(session(&here, &link, 1).await.is_none());
    assert!(session(&here, &invitation, 1).await.is_none());
    assert!(here.follow(&owner, at(1)).is_none());
    assert!(here.invited(&person, at(1)).await.unwrap().is_none());
}

#[tokio::test]
async fn a_session_that_was_ended_is_none() {
    let here = access_of(7, "first");
    let cookie = here.key.token(at(0)).unwrap();
    let opened = session(&here, &cookie, 1).await.unwrap();
    here.end(&opened, at(5));
    assert!(session(&here, &cookie, 6).await.is_none());
}

#[tokio::test]
async fn a_person_is_in_until_their_count_goes_on() {
    let here = access_of(7, "first");
    let people = change(&here, ana()).await;
    let invitation = invitation(&here, &people.people[0]);
    let bearer = here.invited(&invitation, at(1)).await.unwrap().unwrap();
    assert_eq!((bearer.name.as_str(), bearer.serial), ("ana", 1));
    assert!(
        here.invited(&invitation, at(3 * 86400))
            .await
            .unwrap()
            .is_none()
    );
    let cookie = here.open(&people.people[0], at(0)).unwrap();
    let opened = session(&here, &cookie, 1).await.unwrap();
    assert_eq!(opened.who.email, "ana@shop.example");
    assert!(opened.who.permit(Role::Developer, "acme/u/e/p").is_ok());
    let again = PeopleChange::InviteAgain {
        name: bearer.name.clone(),
    };
    change(&here, again).await;
    assert!(session(&here, &cookie, 1).await.is_none(), "another count");
    assert!(here.invited(&invitation, at(1)).await.unwrap().is_none());
    change(&here, PeopleChange::Remove { name: bearer.name }).await;
    assert!(session(&here, &cookie, 1).await.is_none(), "removed");
}

#[tokio::test]
async fn a_program_is_in_by_its_token_until_it_is_removed() {
    let here = access_of(7, "first");
    let name: PersonName = "ci".parse().unwrap();
    let asked = (vec!["viewer:acme".parse().unwrap()], 1);
    let made = Token::generate(name.clone(), asked, "owner".to_owned(), at(0));
    let (token, sent) = made.unwrap();
    change(&here, PeopleChange::AddToken(token)).await;
    let opened = session(&here, sent.expose(), 86399).await.unwrap();
    assert_eq!(opened.who.actor, "token ci");
    assert!(opened.who.permit(Role::Developer, "acme/u/e/p").is_err());
    assert!(session(&here, sent.expose(), 86400).await.is_none(), "over");
    change(&here, PeopleChange::RemoveToken { name }).await;
    assert!(session(&here, sent.expose(), 1).await.is_none(), "removed");
}
