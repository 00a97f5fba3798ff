//! A change of a manifest: shown with what it would do, then written.
//!
//! ```text
//!   form ─► Proposal ─► page: difference, plan, problems ─► the same text and what it was made of
//!                                                              └─► judged again, written, shown
//! ```
//!
//! Nothing is kept between the two on the server. The second request carries the whole text, and a
//! digest of the file that it was made of: of two people who change one file, the second is told.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use boma_engine::plan::{self, Asked, Plan};
use boma_engine::source::{Committed, Onto, Proposal, Snapshot, WriteError};
use boma_manifest::SourceFile;
use boma_problem::{Class, Problem};
use jiff::Timestamp;
use maud::{Markup, html};
use ring::digest::{SHA256, digest};

use super::layout::{Place, page, secret};
use super::parts::{difference, plan_text, problems};
use crate::access::{Permit, Session};
use crate::failure::Failure;
use crate::fields::Fields;
use crate::people::Role;
use crate::sight::{Sight, projects_of};
use crate::site::{Repository, Site, Target, Writing};

/// What a person is asked to agree to.
pub(crate) struct Question<'q> {
    /// What is changed, for the page's title.
    pub(crate) title: &'q str,
    /// What the button says.
    pub(crate) yes: &'q str,
    /// Where to go afterwards, or when it is not wanted.
    pub(crate) back: &'q str,
    /// What a commit of it says.
    pub(crate) about: &'q str,
}

/// Shows what a change would write and do, to somebody who may have it done.
pub(crate) fn ask(
    site: &Site,
    session: &Session,
    proposal: &Proposal,
    question: &Question<'_>,
) -> Result<Markup, Failure> {
    permit(session, proposal)?;
    let snapshot = site.snapshot();
    let judged = Judged::of(site, proposal, &Sight::of(&session.who, &snapshot));
    let content = html! {
        h1 { (question.title) }
        @if proposal.is_empty() {
            p { "Nothing changes: the manifest says so already." }
        } @else {
            h2 { "What is written to " code { (proposal.name()) } }
            (difference(proposal))
        }
        (problems(&judged.problems))
        @if let Some(plan) = &judged.plan {
            h2 { "What is done then" }
            (plan_text(plan))
        }
        (decision(site, session, (proposal, &judged), question))
    };
    Ok(page(site, session, (question.title, Place::New), &content))
}

/// That somebody may change a file: they are developers of all that it says and is to say.
fn permit(session: &Session, proposal: &Proposal) -> Result<Permit, Failure> {
    match projects_of(proposal) {
        Some(projects) => session
            .who
            .permit_all(Role::Developer, projects.iter().map(String::as_str)),
        None => session.who.permit(Role::Developer, ""),
    }
}

fn decision(
    site: &Site,
    session: &Session,
    (proposal, judged): (&Proposal, &Judged),
    question: &Question<'_>,
) -> Markup {
    let back = html! { a class="button" href=(question.back) { "Back" } };
    if proposal.is_empty() || judged.plan.is_none() {
        return html! { p class="actions" { (back) } };
    }
    html! {
        form method="post" action="/changes" {
            (secret(session))
            input type="hidden" name="file" value=(proposal.name());
            input type="hidden" name="former" value=(mark(proposal.former()));
            input type="hidden" name="text" value=(proposal.text());
            input type="hidden" name="back" value=(question.back);
            @if let Some((Target { writing: Writing::Repository(repository), .. }, _)) = site.target(proposal.name()) {
                (commit(repository, session, question))
            }
            p class="actions" { button class="primary" { (question.yes) } (back) }
        }
    }
}

/// What is asked about a commit.
fn commit(repository: &Repository, session: &Session, question: &Question<'_>) -> Markup {
    html! {
        fieldset {
            legend { "Commit by " (repository.author(&session.who).0) }
            label for="about" { "Message" }
            input id="about" name="about" required value=(question.about);
            label { input type="radio" name="onto" value="branch" checked; "To " code { (repository.branch) } ": it is applied" }
            label { input type="radio" name="onto" value="review"; "To a new branch, for review" }
        }
    }
}

/// What a change comes to.
struct Judged {
    problems: Vec<Problem>,
    /// None: the manifests have errors then, and nothing would be done.
    plan: Option<Plan>,
}

impl Judged {
    fn of(site: &Site, proposal: &Proposal, sight: &Sight<'_>) -> Self {
        let (catalog, all) = proposal.judge(&site.snapshot(), &site.basis);
        let errors = all.iter().filter(|one| one.is_error()).count();
        // What is proposed is seen by whoever proposes it, wherever else they may look.
        let (own, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|problem| {
            let place = problem.place.as_ref();
            place.is_some_and(|place| *place.file == **proposal.name())
        });
        let mut problems = own;
        problems.extend(sight.problems(others));
        if errors > problems.iter().filter(|one| one.is_error()).count() {
            problems.push(errors_elsewhere());
        }
        if errors > 0 {
            return Self {
                problems,
                plan: None,
            };
        }
        let asked = Asked {
            source: Some(site.source_name.clone()),
            ..Asked::default()
        };
        let (state, mut ids) = (site.state(), site.ids);
        let now = Timestamp::now();
        let plan = plan::plan(&catalog, &state.observed, &asked, now, &mut ids);
        Self {
            problems,
            plan: Some(sight.plan(&plan).into_owned()),
        }
    }
}

/// Manifests of others have errors, which whoever asks may not see.
fn errors_elsewhere() -> Problem {
    let message = "manifests of projects that you may not see have errors";
    Problem::new(Class::User, "errors-elsewhere", message)
        .hint("Nothing is applied before they are mended. Ask whoever runs Boma.")
}

/// What tells a text from others; of no file, nothing.
fn mark(bytes: Option<&[u8]>) -> String {
    let hash = bytes.map(|bytes| BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, bytes)));
    hash.unwrap_or_default()
}

/// Line ends as the file has them: a browser sends its own.
fn with_ends_of(former: &[u8], text: &str) -> String {
    let plain = text.replace("\r\n", "\n");
    if former.windows(2).any(|two| two == b"\r\n") {
        plain.replace('\n', "\r\n")
    } else {
        plain
    }
}

/// The text of a form for a file: that of the source, if it still is the one that the form was made of.
fn proposed(snapshot: &Snapshot, fields: &Fields) -> Result<Proposal, Failure> {
    let (name, former) = (fields.get("file"), fields.get("former"));
    let text = |former: &[u8]| with_ends_of(former, fields.raw("text"));
    let found = snapshot.files.iter();
    let mut found = found.filter(|file| *file.source.name == *name);
    match found.next() {
        None if former.is_empty() => Ok(Proposal::new_file(name, text(b""))),
        Some(file) if mark(Some(&file.source.bytes)) == former => {
            let source: &SourceFile = &file.source;
            Ok(Proposal::replacing(source.clone(), text(&source.bytes)))
        }
        Some(_) | None => Err(Failure::of(&WriteError::Changed(name.into()))),
    }
}

/// Shows what another text of a manifest's file would do.
pub(crate) async fn edit(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    fields: Fields,
) -> Result<Markup, Failure> {
    let proposal = proposed(&site.snapshot(), &fields)?;
    let question = Question {
        title: "Change the manifest",
        yes: "Write it",
        back: way_back(&fields),
        about: &format!("Change {}", proposal.name()),
    };
    ask(&site, &session, &proposal, &question)
}

/// Writes what was shown.
pub(crate) async fn write(
    State(site): State<Arc<Site>>,
    Extension(session): Extension<Session>,
    fields: Fields,
) -> Result<Response, Failure> {
    let proposal = proposed(&site.snapshot(), &fields)?;
    let permit = permit(&session, &proposal)?;
    let snapshot = site.snapshot();
    let judged = Judged::of(&site, &proposal, &Sight::of(&session.who, &snapshot));
    if let Some(error) = judged.problems.into_iter().find(Problem::is_error) {
        return Err(error.into());
    }
    let back = way_back(&fields);
    let name = proposal.name().clone();
    let Some((target, own_name)) = site.target(&name) else {
        return Err(Failure::of(&WriteError::Outside(name)));
    };
    let own = proposal.clone().called(own_name);
    match &target.writing {
        Writing::Directory(root) => {
            let root = root.clone();
            let written = tokio::task::spawn_blocking(move || own.write(&root)).await;
            let written = written
                .map_err(|error| Problem::from_error(Class::Internal, "not-written", &error))?;
            written.map_err(|error| Failure::of(&error))?;
            site.operations.wrote(&permit, &name).await?;
        }
        Writing::Repository(repository) => {
            let onto = match fields.get("onto") {
                "review" => Onto::Review(branch_of(fields.get("about"), Timestamp::now())),
                _ => Onto::Branch,
            };
            let message = match fields.get("about") {
                "" => &name,
                about => about,
            };
            let note = repository.note(&session.who, message);
            let written = repository.writer.lock().await;
            let written = written.write(&own, &note, &onto).await;
            let written = written.map_err(|error| Failure::of(&error))?;
            repository.told.notify_one();
            let what = format!("{name}, commit {} on {}", written.commit, written.branch);
            site.operations.wrote(&permit, &what).await?;
            if matches!(onto, Onto::Review(_)) {
                return Ok(for_review(&site, &session, &written, back).into_response());
            }
        }
    }
    site.until_read(&proposal).await;
    Ok(Redirect::to(back).into_response())
}

/// A branch's name, for people: what it is about, and when.
fn branch_of(about: &str, now: Timestamp) -> String {
    let letter = |one: char| {
        if one.is_ascii_alphanumeric() {
            one.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let words: String = about.chars().map(letter).take(40).collect();
    let words: Vec<&str> = words.split('-').filter(|word| !word.is_empty()).collect();
    format!("boma/{}-{}", words.join("-"), now.strftime("%Y%m%d%H%M%S"))
}

/// Says where a change waits.
fn for_review(site: &Site, session: &Session, written: &Committed, back: &str) -> Markup {
    let content = html! {
        h1 { "It waits for a review" }
        p {
            "Commit " code { (written.commit) } " is on branch " code { (written.branch) }
            ". Open a pull request or merge request for it: nothing is changed before it is merged."
        }
        p class="actions" { a class="button" href=(back) { "Back" } }
    };
    page(site, session, ("For review", Place::New), &content)
}

/// A path of this server, whatever the form says.
fn way_back(fields: &Fields) -> &str {
    let back = fields.get("back");
    let is_path = back.starts_with('/') && !back.starts_with("//") && !back.contains('\\');
    if is_path { back } else { "/" }
}

/// A manifest as it is written, to be changed by hand.
pub(crate) fn editor(session: &Session, file: &SourceFile, back: &str) -> Markup {
    let text = String::from_utf8_lossy(&file.bytes);
    let rows = text.lines().count().clamp(8, 40);
    html! {
        details {
            summary { "Change the file" }
            form method="post" action="/edit" {
                (secret(session))
                input type="hidden" name="file" value=(file.name);
                input type="hidden" name="former" value=(mark(Some(&file.bytes)));
                input type="hidden" name="back" value=(back);
                label for="text" { "What " code { (file.name) } " says" }
                textarea id="text" name="text" rows=(rows) spellcheck="false" { "\n" (text) }
                p class="actions" { button { "See what that would do" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_stays_on_this_server() {
        for (sent, back) in [
            ("/databases/a", "/databases/a"),
            ("", "/"),
            ("//elsewhere", "/"),
            ("https://elsewhere", "/"),
            ("/\\elsewhere", "/"),
        ] {
            let query = form_urlencoded::Serializer::new(String::new())
                .append_pair("back", sent)
                .finish();
            assert_eq!(way_back(&Fields::of_query(&query)), back, "{sent}");
        }
    }

    #[test]
    fn errors_of_others_are_said_and_not_shown() {
        let problem = errors_elsewhere();
        assert!(problem.is_error());
        let text = problem.to_string();
        assert_eq!(
            text,
            "manifests of projects that you may not see have errors"
        );
    }

    #[test]
    fn line_ends_stay_as_the_file_has_them() {
        let sent = "a: 1\r\nb: 2\r\n";
        assert_eq!(with_ends_of(b"", sent), "a: 1\nb: 2\n");
        assert_eq!(with_ends_of(b"a: 0\n", sent), "a: 1\nb: 2\n");
        assert_eq!(with_ends_of(b"a: 0\r\n", sent), sent);
    }

    #[test]
    fn a_branch_says_what_it_is_about() {
        let at: Timestamp = "2026-11-22T07:30:00Z".parse().unwrap();
        let name = branch_of("orders: more memory, ../../x", at);
        assert_eq!(name, "boma/orders-more-memory-x-20261122073000");
        assert_eq!(branch_of("", at), "boma/-20261122073000");
    }
}
