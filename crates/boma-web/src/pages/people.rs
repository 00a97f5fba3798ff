//! Who may do what: people, tokens of programs, and one's own password.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use super::layout::{Place, page, secret};
use super::parts::{badge, moment};
use super::session::password_field;
use crate::access::Session;
use crate::failure::Failure;
use crate::fields::Fields;
use crate::letting_in::read;
use crate::people::{Assignment, People, PeopleChange, Person, PersonName, Role, SignsIn, Token};
use crate::site::Site;
use crate::world::Health;

/// How long a token is good when nobody says how long.
const DAYS: i64 = 90;

/// Shows who there is, as far as somebody administers them, and what they themselves may do.
pub(crate) async fn people(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
) -> Result<Markup, Failure> {
    let people = site.access.people().await?;
    let rights = &session.who.rights;
    let content = html! {
        h1 { "People" }
        (own(&session, &people))
        @if rights.has_somewhere(Role::Admin) {
            (list(&session, &people))
            (invite_form(&session))
            (tokens(&session, &people))
            (token_form(&session))
        }
    };
    Ok(page(&site, &session, ("People", Place::People), &content))
}

fn own(session: &Session, people: &People) -> Markup {
    let name = session.who.person.as_ref();
    let person = name.and_then(|name| people.person(name));
    let has_password = person.is_some_and(|one| one.password.is_some());
    html! {
        section class="card" aria-labelledby="own" {
            h2 id="own" { "You" }
            @match &session.who.person {
                None => p { "You run this installation, and may do everything." },
                Some(name) => {
                    p { "You are " strong { (name) } ": " (roles(session.who.rights.roles())) "." }
                }
            }
            @if has_password {
                details {
                    summary { "Change your password" }
                    form method="post" action="/password" class="form" {
                        (secret(session))
                        div {
                            label for="current" { "Current password" }
                            input id="current" name="current" type="password" required autocomplete="current-password";
                        }
                        div { (password_field("New password", false)) }
                        p class="help" { "You stay signed in here, and nowhere else. If you do not know the current one, ask an admin for another invitation." }
                        p class="actions" { button { "Change it" } }
                    }
                }
            }
            details {
                summary { "What the roles are" }
                ul {
                    li { strong { "viewer" } " sees resources, plans and events; no password." }
                    li { strong { "developer" } " changes manifests as well, rotates, backs up, stops and starts, restores, and may have a password shown." }
                    li { strong { "admin" } " sees the audit trail as well, destroys what is retired, and says who may do what." }
                }
                p { "A role is given on everything, an organization, a unit, an environment or a project: " code { "developer:organization/unit" } "." }
            }
        }
    }
}

fn roles(all: &[Assignment]) -> Markup {
    html! {
        @if all.is_empty() { span class="muted" { "no role" } }
        @for (index, one) in all.iter().enumerate() {
            @if index > 0 { ", " }
            (one)
        }
    }
}

/// A form of one button, about somebody or something.
fn button(session: &Session, act: &str, name: &PersonName, word: &str) -> Markup {
    html! {
        form method="post" action="/people" {
            (secret(session))
            input type="hidden" name="name" value=(name);
            button name="act" value=(act) aria-label={ (word) ": " (name) } { (word) }
        }
    }
}

fn list(session: &Session, people: &People) -> Markup {
    let rights = &session.who.rights;
    let shown = rights.administered(&people.people, |one| &one.roles);
    let shown: Vec<&Person> = shown.collect();
    html! {
        section class="card" aria-labelledby="everybody" {
            h2 id="everybody" { "People that you administer" }
            @if shown.is_empty() { p class="muted" { "Nobody yet." } } @else {
                div class="wide" tabindex="0" role="region" aria-label="People" {
                    table {
                        thead { tr { th scope="col" { "Name" } th scope="col" { "Signs in" } th scope="col" { "Is" } th scope="col" { span class="hidden" { "Actions" } } } }
                        tbody { @for one in shown { (row(session, one)) } }
                    }
                }
            }
        }
    }
}

fn row(session: &Session, one: &Person) -> Markup {
    let way = SignsIn::from(one);
    let health = match way {
        SignsIn::Provider | SignsIn::Password => Health::Well,
        SignsIn::Invited => Health::Busy,
    };
    let list: Vec<String> = one.roles.iter().map(ToString::to_string).collect();
    html! {
        tr {
            th scope="row" { (one.name) @if !one.email.is_empty() { br; span class="muted" { (one.email) } } }
            td { (badge(health, way.words())) }
            td {
                form method="post" action="/people" class="row" {
                    (secret(session))
                    input type="hidden" name="name" value=(one.name);
                    input name="roles" value=(list.join(" ")) spellcheck="false" aria-label={ "Roles of " (one.name) };
                    button name="act" value="assign" aria-label={ "Change what " (one.name) " is" } { "Change" }
                }
            }
            td class="actions" {
                @if one.provider.is_none() { (button(session, "again", &one.name, "Invite again")) }
                (button(session, "remove", &one.name, "Remove"))
            }
        }
    }
}

/// Role and scope, as two fields.
fn assignment(of: &str) -> Markup {
    html! {
        div {
            label for={ "role-" (of) } { "Role" }
            select id={ "role-" (of) } name="role" { @for role in Role::ALL { option { (role) } } }
        }
        div {
            label for={ "scope-" (of) } { "On" }
            input id={ "scope-" (of) } name="scope" required value="everything" spellcheck="false"
                aria-describedby={ "scope-help-" (of) };
            p id={ "scope-help-" (of) } class="help" { "everything, or organization/unit/environment/project or a beginning of that." }
        }
    }
}

fn invite_form(session: &Session) -> Markup {
    html! {
        section class="card" aria-labelledby="invite" {
            h2 id="invite" { "Invite somebody" }
            form method="post" action="/people" class="form" {
                (secret(session))
                div {
                    label for="name" { "Name" }
                    input id="name" name="name" required maxlength="100" autocomplete="off" pattern="[a-z0-9._\\-+@]+" aria-describedby="name-help";
                    p id="name-help" class="help" { "What they sign in with: small letters, digits, and . _ - + @" }
                }
                div {
                    label for="email" { "Mail address, for commits" }
                    input id="email" name="email" type="email" autocomplete="off";
                }
                (assignment("person"))
                p class="actions" { button class="primary" name="act" value="invite" { "Invite" } }
            }
        }
    }
}

fn tokens(session: &Session, people: &People) -> Markup {
    let rights = &session.who.rights;
    let shown = rights.administered(&people.tokens, |one| &one.roles);
    let shown: Vec<&Token> = shown.collect();
    html! {
        section class="card" aria-labelledby="tokens" {
            h2 id="tokens" { "Tokens of programs" }
            @if shown.is_empty() { p class="muted" { "None." } } @else {
                div class="wide" tabindex="0" role="region" aria-label="Tokens" {
                    table {
                        thead { tr { th scope="col" { "Name" } th scope="col" { "Is" } th scope="col" { "Until" } th scope="col" { "Made by" } th scope="col" { span class="hidden" { "Actions" } } } }
                        tbody {
                            @for one in shown {
                                tr {
                                    th scope="row" { (one.name) }
                                    td { (roles(&one.roles)) }
                                    td { @match one.until { Some(until) => (moment(until)), None => "it is removed" } }
                                    td { (one.made_by) " " (moment(one.made_at)) }
                                    td class="actions" { (button(session, "remove-token", &one.name, "Remove")) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn token_form(session: &Session) -> Markup {
    html! {
        section class="card" aria-labelledby="new-token" {
            h2 id="new-token" { "Make a token" }
            form method="post" action="/people" class="form" {
                (secret(session))
                div {
                    label for="token-name" { "Name" }
                    input id="token-name" name="name" required maxlength="100" autocomplete="off" pattern="[a-z0-9._\\-+@]+";
                }
                (assignment("token"))
                div {
                    label for="days" { "Good for days" }
                    input id="days" name="days" type="number" min="1" max="3650" value=(DAYS);
                }
                p class="actions" { button class="primary" name="act" value="add-token" { "Make it" } }
            }
        }
    }
}

/// Changes who there is.
pub(crate) async fn change_people(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    fields: Fields,
) -> Result<Response, Failure> {
    let name: PersonName = read(fields.get("name"))?;
    let assigned = || read(&format!("{}:{}", fields.get("role"), fields.get("scope")));
    let back = || Ok(Redirect::to("/people").into_response());
    match fields.get("act") {
        "invite" => {
            let change = PeopleChange::Invite {
                name: name.clone(),
                email: fields.get("email").to_owned(),
                roles: vec![assigned()?],
            };
            let people = site.change_people(&session, change).await?;
            invited(&site, &session, &people, &name)
        }
        "again" => {
            let change = PeopleChange::InviteAgain { name: name.clone() };
            let people = site.change_people(&session, change).await?;
            invited(&site, &session, &people, &name)
        }
        "assign" => {
            let roles = fields.get("roles").split([' ', ',']);
            let roles = roles.filter(|one| !one.is_empty()).map(read);
            let roles = roles.collect::<Result<Vec<Assignment>, Failure>>()?;
            let change = PeopleChange::Assign { name, roles };
            site.change_people(&session, change).await?;
            back()
        }
        "remove" => {
            let change = PeopleChange::Remove { name };
            site.change_people(&session, change).await?;
            back()
        }
        "remove-token" => {
            let change = PeopleChange::RemoveToken { name };
            site.change_people(&session, change).await?;
            back()
        }
        "add-token" => {
            let days = fields.get("days").parse().unwrap_or(DAYS).clamp(1, 3650);
            add_token(&site, &session, name, (assigned()?, days)).await
        }
        _ => Err(Failure::NotThere("such a change of people".to_owned())),
    }
}

/// Shows the link that somebody chooses a password by, once.
fn invited(
    site: &Site,
    session: &Session,
    people: &People,
    name: &PersonName,
) -> Result<Response, Failure> {
    let link = site.invitation_link(people, name)?;
    let content = html! {
        h1 { (name) " is invited" }
        p { "Give them this link. It is good for three days, until they have chosen a password; it is not shown again." }
        pre tabindex="0" { code { (link) } }
        p class="actions" { a class="button" href="/people" { "Back" } }
    };
    Ok(page(site, session, ("Invited", Place::People), &content).into_response())
}

async fn add_token(
    site: &Site,
    session: &Session,
    name: PersonName,
    (role, days): (Assignment, i64),
) -> Result<Response, Failure> {
    let asked = (vec![role], days);
    let (sent, _until) = site.new_token(session, name.clone(), asked).await?;
    let content = html! {
        h1 { "Token " (name) }
        p { "A program sends it as " code { "Authorization: Bearer TOKEN" } ". It is not shown again." }
        pre tabindex="0" { code { (sent.expose()) } }
        p class="actions" { a class="button" href="/people" { "Back" } }
    };
    Ok(page(site, session, ("Token", Place::People), &content).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_said() {
        let Err(Failure::Problem(problem)) = read::<PersonName>("Ana B") else {
            panic!("that is no name");
        };
        assert_eq!(problem.code, "people-unreadable");
        assert!(problem.to_string().contains("is no name"), "{problem}");
    }
}
