//! What changes of people come to.

use boma_instance::Secret;
use jiff::Timestamp;

use super::*;

fn name(text: &str) -> PersonName {
    text.parse().unwrap()
}

fn roles(text: &str) -> Vec<Assignment> {
    text.split(' ').map(|one| one.parse().unwrap()).collect()
}

fn invite(who: &str, as_what: &str) -> PeopleChange {
    PeopleChange::Invite {
        name: name(who),
        email: String::new(),
        roles: roles(as_what),
    }
}

fn token(who: &str, as_what: &str) -> PeopleChange {
    PeopleChange::AddToken(Token {
        name: name(who),
        digest: "digest".to_owned(),
        roles: roles(as_what),
        until: None,
        made_by: "owner".to_owned(),
        made_at: Timestamp::UNIX_EPOCH,
    })
}

fn done(people: &mut People, change: PeopleChange) {
    change.apply(people, &Rights::of_owner()).unwrap();
}

fn refused(people: &People, change: PeopleChange, by: &str) -> Problem {
    let mut changed = people.clone();
    let error = change.apply(&mut changed, &Rights::new(roles(by)));
    let error = error.unwrap_err();
    assert_eq!(changed, *people, "nothing is changed");
    error.problem()
}

fn password() -> PasswordHash {
    PasswordHash::of(&Secret::new("correct horse battery".to_owned())).unwrap()
}

#[test]
fn a_link_is_good_for_one_password() {
    let mut people = People::default();
    done(&mut people, invite("ana", "developer:acme"));
    let choose = |serial| PeopleChange::ChoosePassword {
        name: name("ana"),
        serial,
        password: password(),
    };
    // Whoever has the link needs no role for it.
    choose(1).apply(&mut people, &Rights::default()).unwrap();
    assert_eq!(people.person(&name("ana")).unwrap().serial, 2);
    let again = refused(&people, choose(1), "viewer");
    assert_eq!(again.code, "link-spent");
    assert!(again.to_string().contains("followed already"));
    done(&mut people, PeopleChange::InviteAgain { name: name("ana") });
    let ana = people.person(&name("ana")).unwrap();
    assert_eq!((ana.serial, &ana.password), (3, &None));
}

#[test]
fn an_admin_changes_nobody_who_may_do_more() {
    let mut people = People::default();
    done(&mut people, invite("ana", "admin"));
    done(
        &mut people,
        invite("ben", "developer:acme/login viewer:acme"),
    );
    done(&mut people, token("ci", "viewer"));
    let by = "admin:acme/login";
    for (change, code) in [
        (invite("eve", "viewer"), "role-not-yours"),
        (invite("ana", "viewer:acme/login"), "person-exists"),
        (
            PeopleChange::InviteAgain { name: name("ana") },
            "role-not-yours",
        ),
        (PeopleChange::Remove { name: name("ben") }, "role-not-yours"),
        (
            PeopleChange::Assign {
                name: name("ben"),
                roles: roles("viewer:acme/login"),
            },
            "role-not-yours",
        ),
        (PeopleChange::Remove { name: name("eve") }, "person-missing"),
        (
            PeopleChange::RemoveToken { name: name("ci") },
            "role-not-yours",
        ),
        (
            PeopleChange::RemoveToken { name: name("cd") },
            "token-missing",
        ),
        (token("cd", "developer:acme"), "role-not-yours"),
        (token("ci", "viewer:acme/login"), "token-exists"),
    ] {
        let problem = refused(&people, change.clone(), by);
        assert_eq!(problem.code, code, "{change:?}: {problem}");
        assert!(!problem.hints.is_empty());
    }
    let scoped = Rights::new(roles(by));
    invite("eve", "admin:acme/login/production")
        .apply(&mut people, &scoped)
        .unwrap();
    token("cd", "developer:acme/login")
        .apply(&mut people, &scoped)
        .unwrap();
    let names: Vec<&str> = people.people.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["ana", "ben", "eve"]);
    PeopleChange::Remove { name: name("eve") }
        .apply(&mut people, &scoped)
        .unwrap();
    assert_eq!(people.people.len(), 2);
}

#[test]
fn a_provider_names_people_and_takes_over_none() {
    let mut people = People::default();
    done(&mut people, invite("ana", "admin"));
    let sign_in = |who: &str, subject: &str, groups: Option<&str>| {
        PeopleChange::SignIn(Somebody {
            name: name(who),
            email: format!("{who}@shop.example"),
            identity: ProviderIdentity {
                issuer: "https://login.example".to_owned(),
                subject: subject.to_owned(),
            },
            roles: groups.map(roles),
        })
    };
    let taken = refused(&people, sign_in("ana", "1", None), "viewer");
    assert_eq!(taken.code, "person-exists");
    let nobody = Rights::default();
    sign_in("ben", "2", Some("viewer:acme"))
        .apply(&mut people, &nobody)
        .unwrap();
    // Another name at the provider is the same person still.
    sign_in("benjamin", "2", Some("developer:acme"))
        .apply(&mut people, &nobody)
        .unwrap();
    sign_in("ben", "2", None)
        .apply(&mut people, &nobody)
        .unwrap();
    let ben = people.person(&name("ben")).unwrap();
    assert_eq!(ben.roles, roles("developer:acme"));
    assert_eq!(people.people.len(), 2);
    for change in [
        PeopleChange::InviteAgain { name: name("ben") },
        PeopleChange::ChoosePassword {
            name: name("ben"),
            serial: 1,
            password: password(),
        },
    ] {
        let problem = refused(&people, change, "admin");
        assert!(["person-of-provider", "link-spent"].contains(&&*problem.code));
    }
}

#[test]
fn an_unfit_password_is_said() {
    let short = UnfitPassword::Short;
    let problem = PeopleError::from(short).problem();
    assert_eq!(problem.code, "password-unfit");
    assert!(problem.to_string().contains("fewer than 15"), "{problem}");
    let of_provider = PeopleError::OfProvider(name("ben")).problem();
    assert!(
        of_provider
            .to_string()
            .contains("signs in with the provider")
    );
}
