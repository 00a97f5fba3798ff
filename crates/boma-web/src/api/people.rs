//! Who may do what: people and tokens, as far as whoever asks administers them.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json as Answer};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use super::ApiFailure;
use super::asked::Asked;
use super::body::Json;
use super::failure::Problems;
use crate::access::Session;
use crate::failure::Failure;
use crate::letting_in::read;
use crate::people::{
    Assignment, ListedPerson, ListedToken, People, PeopleChange, PersonName, Role,
};
use crate::site::Site;

/// Days that a token is good for at most.
const LONGEST: i64 = 3650;

/// People that whoever asks administers, in the order of their names.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PersonList {
    items: Vec<ListedPerson>,
}

/// Tokens that whoever asks administers, in the order of their names.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TokenList {
    items: Vec<ListedToken>,
}

/// Somebody new.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewPerson {
    /// What they sign in with: small letters, digits, and `. _ - + @`.
    name: String,
    /// Their address, for commits.
    #[serde(default)]
    email: String,
    /// What they may do: `viewer`, `developer` or `admin`, and `:SCOPE` behind it for less than everything.
    roles: Vec<String>,
}

/// A new token.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewToken {
    /// What people call it: small letters, digits, and `. _ - + @`.
    name: String,
    /// What the program may do: `viewer`, `developer` or `admin`, and `:SCOPE` behind it for less than
    /// everything.
    roles: Vec<String>,
    /// Days that it is good for, 1 to 3650.
    #[serde(default = "usual_days")]
    #[schemars(range(min = 1, max = 3650))]
    days: i64,
}

fn usual_days() -> i64 {
    90
}

/// What somebody may do from now on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Roles {
    /// `viewer`, `developer` or `admin`, and `:SCOPE` behind it for less than everything.
    roles: Vec<String>,
}

/// Somebody who is invited.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Invitation {
    /// By which they choose a password, once, within three days. It is not shown again.
    link: String,
}

/// A token that was made.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct MadeToken {
    /// What the program sends, as `Authorization: Bearer TOKEN`. It is not shown again.
    token: String,
    /// Until when it is good.
    until: Option<Timestamp>,
}

/// Which person or token.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct Named {
    /// Its name.
    name: String,
}

impl Named {
    fn read(&self) -> Result<PersonName, Failure> {
        read(&self.name)
    }
}

/// That somebody is admin of anything at all. Of what, each change is asked again.
fn admin(session: &Session) -> Result<(), Failure> {
    if session.who.rights.has_somewhere(Role::Admin) {
        return Ok(());
    }
    Err(Failure::NotAllowed {
        role: Role::Admin,
        scope: String::new(),
    })
}

fn assignments(roles: &[String]) -> Result<Vec<Assignment>, Failure> {
    roles.iter().map(|one| read(one)).collect()
}

/// An answer that holds what lets somebody in.
fn once(answer: impl Serialize) -> Response {
    let headers = [(CACHE_CONTROL, "no-store")];
    (StatusCode::CREATED, headers, Answer(answer)).into_response()
}

/// Lists the people that one administers.
#[utoipa::path(
    get,
    path = "/api/v1/people",
    operation_id = "listPeople",
    responses(
        (status = 200, description = "Everybody.", body = ref("#/components/schemas/PersonList")),
        Problems,
    ),
)]
pub(super) async fn people(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
) -> Result<Answer<PersonList>, ApiFailure> {
    admin(&session)?;
    let people = site.access.people().await?;
    let rights = &session.who.rights;
    let shown = rights.administered(&people.people, |one| &one.roles);
    Ok(Answer(PersonList {
        items: shown.map(Into::into).collect(),
    }))
}

/// Invites somebody new.
#[utoipa::path(
    post,
    path = "/api/v1/people",
    operation_id = "invitePerson",
    params(("Idempotency-Key" = Option<String>, Header, description = "Whoever sends the same again with the same key is answered as before, for a day.")),
    request_body(content = ref("#/components/schemas/NewPerson"), content_type = "application/json"),
    responses(
        (status = 201, description = "The invitation.", body = ref("#/components/schemas/Invitation")),
        Problems,
    ),
)]
pub(super) async fn invite(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Json(new): Json<NewPerson>,
) -> Result<Response, ApiFailure> {
    admin(&session)?;
    let name: PersonName = read(&new.name)?;
    let change = PeopleChange::Invite {
        name: name.clone(),
        email: new.email,
        roles: assignments(&new.roles)?,
    };
    let people = site.change_people(&session, change).await?;
    invited(&site, &people, &name)
}

/// Invites somebody again; the password that they have, and all their sessions, are over.
#[utoipa::path(
    post,
    path = "/api/v1/people/{name}/invitations",
    operation_id = "invitePersonAgain",
    params(Named, ("Idempotency-Key" = Option<String>, Header, description = "Whoever sends the same again with the same key is answered as before, for a day.")),
    responses(
        (status = 201, description = "The invitation.", body = ref("#/components/schemas/Invitation")),
        Problems,
    ),
)]
pub(super) async fn invite_again(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(named)): Asked<Path<Named>>,
) -> Result<Response, ApiFailure> {
    admin(&session)?;
    let name = named.read()?;
    let change = PeopleChange::InviteAgain { name: name.clone() };
    let people = site.change_people(&session, change).await?;
    invited(&site, &people, &name)
}

fn invited(site: &Site, people: &People, name: &PersonName) -> Result<Response, ApiFailure> {
    let link = site.invitation_link(people, name)?;
    Ok(once(Invitation { link }))
}

/// Says what somebody may do, in place of what they may now.
#[utoipa::path(
    put,
    path = "/api/v1/people/{name}/roles",
    operation_id = "assignRoles",
    params(Named),
    request_body(content = ref("#/components/schemas/Roles"), content_type = "application/json"),
    responses((status = 204, description = "They may."), Problems),
)]
pub(super) async fn assign(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(named)): Asked<Path<Named>>,
    Json(wanted): Json<Roles>,
) -> Result<StatusCode, ApiFailure> {
    admin(&session)?;
    let roles = assignments(&wanted.roles)?;
    let name = named.read()?;
    changed(&site, &session, PeopleChange::Assign { name, roles }).await
}

/// Lets somebody in no more.
#[utoipa::path(
    delete,
    path = "/api/v1/people/{name}",
    operation_id = "removePerson",
    params(Named),
    responses((status = 204, description = "They are out."), Problems),
)]
pub(super) async fn remove(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(named)): Asked<Path<Named>>,
) -> Result<StatusCode, ApiFailure> {
    admin(&session)?;
    let name = named.read()?;
    changed(&site, &session, PeopleChange::Remove { name }).await
}

async fn changed(
    site: &Site,
    session: &Session,
    change: PeopleChange,
) -> Result<StatusCode, ApiFailure> {
    site.change_people(session, change).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the tokens of programs that one administers.
#[utoipa::path(
    get,
    path = "/api/v1/tokens",
    operation_id = "listTokens",
    responses(
        (status = 200, description = "All of them.", body = ref("#/components/schemas/TokenList")),
        Problems,
    ),
)]
pub(super) async fn tokens(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
) -> Result<Answer<TokenList>, ApiFailure> {
    admin(&session)?;
    let people = site.access.people().await?;
    let rights = &session.who.rights;
    let shown = rights.administered(&people.tokens, |one| &one.roles);
    Ok(Answer(TokenList {
        items: shown.map(Into::into).collect(),
    }))
}

/// Makes a token for a program.
#[utoipa::path(
    post,
    path = "/api/v1/tokens",
    operation_id = "createToken",
    params(("Idempotency-Key" = Option<String>, Header, description = "Whoever sends the same again with the same key is answered as before, for a day.")),
    request_body(content = ref("#/components/schemas/NewToken"), content_type = "application/json"),
    responses(
        (status = 201, description = "What the program sends.", body = ref("#/components/schemas/MadeToken")),
        Problems,
    ),
)]
pub(super) async fn create_token(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Json(new): Json<NewToken>,
) -> Result<Response, ApiFailure> {
    admin(&session)?;
    if !(1..=LONGEST).contains(&new.days) {
        return Err(ApiFailure::unreadable(&"days: 1 to 3650"));
    }
    let asked = (assignments(&new.roles)?, new.days);
    let (sent, until) = site.new_token(&session, read(&new.name)?, asked).await?;
    Ok(once(MadeToken {
        token: sent.expose().clone(),
        until,
    }))
}

/// Lets a program in no more.
#[utoipa::path(
    delete,
    path = "/api/v1/tokens/{name}",
    operation_id = "removeToken",
    params(Named),
    responses((status = 204, description = "It is out."), Problems),
)]
pub(super) async fn remove_token(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    Asked(Path(named)): Asked<Path<Named>>,
) -> Result<StatusCode, ApiFailure> {
    admin(&session)?;
    let name = named.read()?;
    changed(&site, &session, PeopleChange::RemoveToken { name }).await
}
